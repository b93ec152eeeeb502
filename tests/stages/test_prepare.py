"""The prepared crops' folder: the same for the same content, never another's; a full disk."""

import os
import pathlib
import subprocess
import sys

import pandas as pd
from ml_collections import ConfigDict

from dermjax.data.builder import Crop
from dermjax.stages import prepare
from tests.stages.clinic import write_clinic

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def key(*crops, max_side=64, records="jpeg"):
    content = pd.Series([f"sha{i}" for i in range(len(crops))])
    settings = ConfigDict({"max_side": max_side, "records": records})
    return prepare._crops_key(content, list(crops), settings)


def test_prepared_crops_have_a_folder_of_their_own_for_all_that_changes_them():
    whole, lesion = Crop("a.jpg", None), Crop("a.jpg", (1.0, 2.0, 3.0, 4.0))
    hidden = [
        Crop("a.jpg", None, areas)
        for areas in (((1, 2, 3, 4),), ((1, 2, 3, 4), (5, 6, 7, 8)), ((1, 2, 3, 5),))
    ]
    keys = [
        key(whole),
        key(lesion),
        key(whole, lesion),
        key(lesion, whole),
        key(whole, max_side=32),
        key(whole, records="pixels"),
        *(key(crop) for crop in hidden),
    ]
    assert len(set(keys)) == len(keys)
    assert key(Crop("elsewhere/b.jpg", None)) == key(whole)  # named by content, not by path


def test_crops_made_before_there_was_anything_to_redact_are_found():
    assert key(Crop("a.jpg", None), Crop("a.jpg", (1.0, 2.0, 3.0, 4.0))) == "50e7a630652ad4d5-64px"


def test_a_full_disk_ends_a_run_in_one_line(tmp_path):
    manifest = write_clinic(tmp_path / "clinic")
    limited = """if True:
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    """
    process = subprocess.run(
        [
            *(sys.executable, "-c", limited, "-m", "dermjax.main"),
            *(f"--config=configs/fs.py:scale=demo,data={manifest}", f"--workdir={tmp_path}/run"),
            *("--config.data.workers=1", "--config.data.records=pixels"),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"DERMJAX_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    (told,) = process.stderr.strip().splitlines()
    assert told.startswith("dermjax: preparing images: File too large: ")
    assert "has 0 of 54 images and needs about 1 MB" in told and "same command continues" in told
