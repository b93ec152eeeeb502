"""Masks are cut and resized as the photographs are."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermjax.data import images, masks, synthetic


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path)


def test_a_mask_follows_its_photograph_into_the_crop(tmp_path):
    photo = np.zeros((60, 90, 3), np.uint8)
    photo[20:40, 30:50] = 255
    name = save(tmp_path / "photos" / "a.png", photo)
    numbered = np.zeros((60, 90), np.uint8)
    numbered[20:40, 30:40], numbered[20:40, 40:50] = 1, 2  # two lesions that touch
    file = save(tmp_path / "masks" / "a.png", numbered)
    box = (20, 10, 40, 50)
    mask = masks.cut(masks.read(file, (90, 60)), box, 32)
    seen = images.read_crop(name, box, 40).resize((32, 32), Image.Resampling.NEAREST)
    assert mask.dtype == bool and (mask == (np.asarray(seen)[..., 0] > 127)).mean() > 0.99
    assert masks.cut(masks.read(file, (90, 60)), None, 90).sum() == pytest.approx(600, abs=20)


def test_boxes_are_masks_too():
    mask = masks.of_boxes([(2, 3, 4, 5), (-5, -5, 7, 6)], (10, 20))
    assert mask.shape == (20, 10) and mask.sum() == 20 + 2
    assert mask[3:8, 2:6].all() and mask[0, :2].all()


@pytest.mark.parametrize("levels", [np.uint8(1), np.uint8(255), True])
def test_whatever_is_not_0_is_lesion(tmp_path, levels):
    array = np.zeros((8, 8), type(levels))
    array[:2] = levels
    assert masks.read(save(tmp_path / "m.png", array), (8, 8)).sum() == 16


def test_the_column_names_masks_and_without_it_the_folder_does(tmp_path):
    photo = save(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    frame = pd.DataFrame({"path": [photo, str(tmp_path / "images" / "b.png")]})
    assert masks.locate(frame, str(tmp_path)) == ["", ""]
    file = save(tmp_path / "masks" / "a.png", np.ones((4, 4), np.uint8))
    assert masks.locate(frame, str(tmp_path)) == [file, ""]
    named = frame.assign(mask=["drawn/a.png", ""])
    assert masks.locate(named, str(tmp_path / "photos.csv")) == [str(tmp_path / "drawn/a.png"), ""]


def test_masks_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(ValueError, match="has 8 x 6 px, its photograph 12 x 6"):
        masks.read(save(tmp_path / "m.png", np.zeros((6, 8), np.uint8)), (12, 6))
    (tmp_path / "n.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="n.png cannot be read"):
        masks.read(tmp_path / "n.png", (4, 4))


def test_the_embedded_photographs_know_lips_and_eyes(tmp_path):
    settings = synthetic.SyntheticSettings(lesions=90, seed=3, width=160, height=96)
    table = pd.read_csv(synthetic.write_dataset(tmp_path, settings, workers=1))
    faces = table[table["site"] == "face"]["image"].unique()
    regions = [synthetic.regions_of(tmp_path / name) for name in faces]
    assert sum("lips" in found for found in regions) > len(faces) / 2
    assert all("eyes" in found or "skin" in found for found in regions)
    for name, found in zip(faces, regions, strict=True):
        assert (sum(part.astype(int) for part in found.values()) == 1).all()
        if "lips" in found and found["lips"].sum() > 40:
            pixels = np.asarray(Image.open(tmp_path / name)).astype(float)
            red = pixels[..., 0] / (pixels.sum(-1) + 1)
            assert red[found["lips"]].mean() > red[found["skin"]].mean()
    trunk = table[table["site"] == "trunk"]["image"].iloc[0]
    assert set(synthetic.regions_of(tmp_path / trunk)) <= {"skin", "background"}
    assert synthetic.regions_of(tmp_path / "photos" / "other.jpg") is None
    assert synthetic.regions_of(tmp_path / "other" / "photos" / "a.jpg") is None
