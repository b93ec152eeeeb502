"""Pretraining asks for no labels; whatever uses labels asks for them in one line."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermjax.cli import task
from dermjax.configs import probe as probe_config
from dermjax.data.manifest import ManifestError
from dermjax.experiment import dataset as prepare
from dermjax.settings import RunSettings
from dermjax.training.writer import Writer
from tests.experiment.clinic import tiny_config

COUNT = 20


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """A folder of photographs, some of them deeper, and nothing else."""
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    folder, rng = tmp_path / "clinic [1]", np.random.default_rng(0)
    for index in range(COUNT):
        place = folder / ("", "2019", "2020/may")[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (36, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"IMG_{index:04}.jpg")
    (folder / "._IMG_0001.jpg").write_bytes(b"\0\5\x16\7")
    return folder


def _config(source, **fields):
    config = tiny_config("SS", "x", task="pretrain", **fields)
    config.data.source = str(source)
    return config


def test_a_folder_of_photographs_is_pretrained_on_and_a_probe_of_it_asks_for_labels(photographs):
    workdir = photographs.parent / "run"
    assert task.start(_config(photographs), str(workdir)) == 0
    results = json.loads((workdir / "results.json").read_text())
    assert results["n"]["train"] == COUNT and results["classes"] == []
    assert (workdir / "pretraining.html").exists() and (workdir / "audit.html").exists()
    with pytest.raises(ValueError, match="a probe needs labels.*no label at all"):
        task.start(probe_config.get_config(f"run={workdir}"))


@pytest.mark.parametrize(
    ("columns", "asks"),
    [
        (["image"], "no column 'label'"),
        (["image", "patient"], "no column 'label'"),
        (["image", "patient", "label"], "no label at all"),
        (["image", "patient", "diagnose"], "no column 'label'"),
    ],
)
def test_a_table_without_labels_is_pretrained_on_and_refused_for_the_rest(
    photographs, columns, asks
):
    files = sorted(path.relative_to(photographs) for path in photographs.rglob("I*.jpg"))
    table = pd.DataFrame({"image": files}).assign(patient=[f"p{i // 2}" for i in range(COUNT)])
    table.reindex(columns=columns).to_csv(photographs / "photos.csv", index=False)
    config = _config(photographs / "photos.csv")
    dataset = prepare.prepare(RunSettings.from_config(config), Writer(active=False))
    assert dataset.classes == () and (dataset.split == "train").all() and len(dataset.split) == 20
    config.task = "run"
    with pytest.raises(ManifestError, match=asks):
        prepare.prepare(RunSettings.from_config(config), Writer(active=False))


def test_labels_that_are_there_monitor_and_rare_ones_do_not_stand_in_the_way(photographs):
    files = sorted(path.relative_to(photographs) for path in photographs.rglob("I*.jpg"))
    table = pd.DataFrame({"image": files, "label": [*"ab" * 9, "rare", "nan"]})
    table["patient"] = [f"p{i}" for i in range(COUNT)]
    table.to_csv(photographs / "photos.csv", index=False)
    config = _config(photographs / "photos.csv")
    dataset = prepare.prepare(RunSettings.from_config(config), Writer(active=False))
    assert set(dataset.split) == {"train", "validation", "test"}
    unused = dataset.frame["label"].isin(["rare", ""]).to_numpy()
    assert dataset.split[unused].tolist() == ["train", "train"]
    assert any("'rare' has 1 of the 3 patients" in note for note in dataset.manifest.notes)
    assert any("label 'nan' is no label" in note for note in dataset.manifest.notes)
    config.task = "run"
    with pytest.raises(ManifestError, match="'rare' has 1 of the 3 patients"):
        prepare.prepare(RunSettings.from_config(config), Writer(active=False))


def test_a_given_split_that_leaks_is_refused_without_labels_too(photographs):
    files = sorted(path.relative_to(photographs) for path in photographs.rglob("I*.jpg"))
    table = pd.DataFrame({"image": files, "patient": "p", "split": ["train", "test"] * 10})
    table.to_csv(photographs / "photos.csv", index=False)
    with pytest.raises(ManifestError, match="leaks: patient 'p' in train and test"):
        prepare.prepare(
            RunSettings.from_config(_config(photographs / "photos.csv")), Writer(active=False)
        )


def test_a_folder_of_photographs_that_is_to_be_classified_names_what_works(photographs):
    config = _config(photographs / "2019")
    config.task = "run"
    with pytest.raises(ManifestError, match="image, label and patient.*--config.task=pretrain"):
        prepare.prepare(RunSettings.from_config(config), Writer(active=False))
