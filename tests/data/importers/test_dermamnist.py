"""DermaMNIST: an archive of arrays, unpacked once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermjax.data.manifest import ManifestError
from tests.data.importers.folders import load


def dermamnist(path, **changes):
    """Classes in turn, images of 28 px, labels in a column of their own, as MedMNIST has it."""
    arrays = {}
    for seed, (name, count) in enumerate({"train": 12, "val": 7, "test": 7}.items()):
        draw = np.random.default_rng(seed)
        arrays[f"{name}_images"] = draw.integers(0, 256, (count, 28, 28, 3), np.uint8)
        arrays[f"{name}_labels"] = (np.arange(count) % 7).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays |= changes
    np.savez(path, **arrays)
    return arrays


def test_dermamnist_is_unpacked_once_and_keeps_its_pixels(tmp_path):
    file = tmp_path / "my data" / "dermamnist_28.npz"
    arrays = dermamnist(file)
    table = load(file)
    assert table.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert (
        table.frame["official_split"].tolist() == ["train"] * 12 + ["validation"] * 7 + ["test"] * 7
    )
    row = table.frame.iloc[12 + 4]
    assert row["label"] == "mel"
    np.testing.assert_array_equal(np.asarray(Image.open(row["path"])), arrays["val_images"][4])
    times = [Path(path).stat().st_mtime_ns for path in table.frame["path"]]
    assert [Path(path).stat().st_mtime_ns for path in load(file).frame["path"]] == times
    official = load(file, official_split=True).frame
    assert (official["split"] == table.frame["official_split"]).all()
    assert any("images of one lesion are in two of its sets" in note for note in table.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": np.full((7, 1), 7)}, "val_labels are not 0 to 6"),
        (
            {"test_images": np.zeros((7, 28, 28), np.uint8)},
            "test_images are uint8 .7, 28, 28., not",
        ),
        (
            {"train_labels": np.zeros((5, 1), int)},
            "train_labels are not one whole number per image",
        ),
        ({"train_images": np.array(["a", {}], object)}, "is not DermaMNIST's .npz"),
    ],
)
def test_another_npz_is_refused_and_leaves_nothing(tmp_path, changes, message):
    file = tmp_path / "x" / "dermamnist.npz"
    dermamnist(file, **changes)
    with pytest.raises(ManifestError, match=message):
        load(file)
    assert not list((tmp_path / "x").glob("*-*"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 half"])
def test_a_broken_npz_is_told(tmp_path, content):
    file = tmp_path / "x" / "dermamnist.npz"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ManifestError, match="is not DermaMNIST's .npz"):
        load(file)
