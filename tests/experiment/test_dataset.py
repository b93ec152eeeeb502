"""The prepared crops' folder: the same for the same content, never another's; a full disk."""

import dataclasses
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from etils import epath
from PIL import Image

from dermjax.data.builder import Crop
from dermjax.data.pipeline import Order
from dermjax.experiment import dataset as prepare
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training.writer import Writer
from tests.experiment.clinic import tiny_config, tiny_settings, write_clinic

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def key(*crops, max_side=64, records="jpeg"):
    content = pd.Series([f"sha{i}" for i in range(len(crops))])
    settings = SimpleNamespace(max_side=max_side, records=records)
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


def sorted_anew(manifest, seed=None):
    """Writes the rows in another order: reversed, or drawn with the seed."""
    header, *rows = manifest.read_text().splitlines()
    rows = rows[::-1] if seed is None else np.random.default_rng(seed).permutation(rows).tolist()
    manifest.write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    return write_clinic(tmp_path / "clinic")


def test_no_order_of_the_rows_changes_what_is_drawn(clinic):
    config = tiny_config("FS", clinic, data__alpha=0.3)
    first = prepare.prepare(RunSettings.from_config(config), Writer())
    assert 0 < first.labelled[first.split == "train"].mean() < 0.5
    batch = next(first.training_batches(first.rows("train", labelled=True), ORDER))
    for seed in (None, 1, 2):
        sorted_anew(clinic, seed)
        again = prepare.prepare(RunSettings.from_config(config), Writer())
        assert again.fingerprint == first.fingerprint
        assert again.frame.drop(columns="row").equals(first.frame.drop(columns="row"))
        assert np.array_equal(again.split, first.split)
        assert np.array_equal(again.labelled, first.labelled)
        assert np.array_equal(again.pixels(5), first.pixels(5))
        drawn = next(again.training_batches(again.rows("train", labelled=True), ORDER))
        assert np.array_equal(drawn["image"], batch["image"])


ORDER = Order(8, seed=0, start=3)


def test_a_run_goes_by_the_subset_that_it_has_written_down(clinic, tmp_path):
    """As an older version drew it, by the places of the rows."""
    dataset = prepare.prepare(tiny_settings("FS", clinic, data__alpha=0.3), Writer())
    folder = RunFolder(epath.Path(tmp_path))
    assert prepare.as_recorded(dataset, folder) is dataset
    train = dataset.rows("train", labelled=False)
    other = dataset.labelled.copy()
    other[train] = other[train][::-1]
    assert not np.array_equal(other, dataset.labelled)
    prepare.write_splits(dataclasses.replace(dataset, labelled=other), folder)
    found = prepare.as_recorded(dataset, folder)
    assert np.array_equal(found.labelled, other) and np.array_equal(found.split, dataset.split)
    assert np.array_equal(
        prepare.as_recorded(dataset, folder, labelled=False).labelled, dataset.labelled
    )
    prepare.write_splits(found, folder)  # and is not refused
    with pytest.raises(ValueError, match="not those that the run"):
        prepare.write_splits(dataset, folder)
    for changed in (
        dataclasses.replace(dataset, fingerprint="other"),
        dataclasses.replace(dataset, frame=dataset.frame.assign(name=dataset.frame["name"] + "x")),
    ):
        with pytest.raises(ValueError, match="not those that the run"):
            prepare.as_recorded(changed, folder)


def test_near_duplicates_in_two_given_sets_are_refused_or_allowed_by_name(clinic):
    """A recompressed copy of half the size of a training photograph, in test."""
    folder = clinic.parent
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    whole = Image.fromarray(noise).resize((192, 144))
    whole.save(folder / "whole.png")
    whole.resize((96, 72)).save(folder / "half.jpg", quality=50)
    header, *rows = clinic.read_text().splitlines()
    sets = ["train", "train", "train", "validation", "test", "test"]
    rows = [f"{row},{sets[i // 2 % 6]}" for i, row in enumerate(rows)]
    rows += ["whole.png,acne,x1,train", "half.jpg,acne,x2,test"]
    clinic.write_text("\n".join([f"{header},split", *rows]) + "\n")
    config = tiny_config("FS", clinic)
    with pytest.raises(ValueError, match="near duplicate 'half.jpg' in train and test") as refused:
        prepare.prepare(RunSettings.from_config(config), Writer())
    assert "rows 56, 57" in str(refused.value) and "near_duplicate:half.jpg" in str(refused.value)
    config.data.allow = ("near_duplicate:whole.png",)  # by either of its names
    dataset = prepare.prepare(RunSettings.from_config(config), Writer())
    assert dataset.allowed == {"near_duplicates": ["half.jpg"]}
