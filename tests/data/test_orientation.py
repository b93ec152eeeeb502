"""Boxes, masks and EXIF: what was drawn on the unturned photograph is turned with it."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dermjax.data import images, layouts, masks

SIZE, BOX = (120, 90), (60, 20, 24, 16)  # of the photograph as its file has it
RED = (220, 20, 20)


def _photo(path, orientation, size=SIZE, seed=0):
    """Grey noise with a red patch where BOX is, in the file's own rows and columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(90, 130, (size[1], size[0], 3), np.uint8)
    x, y, w, h = BOX
    pixels[y : y + h, x : x + w] = RED
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95, subsampling=0)


def _coco(folder, orientations, sizes=None, declared=None):
    pictures, boxes = [], []
    for i, orientation in enumerate(orientations):
        size = sizes[i] if sizes else SIZE
        _photo(folder / "images" / f"{i}.jpg", orientation, size, i)
        width, height = declared[i] if declared else size
        pictures.append({"id": i, "file_name": f"{i}.jpg", "width": width, "height": height})
        boxes.append({"id": i, "image_id": i, "category_id": i % 2, "bbox": list(BOX)})
    kinds = [{"id": 0, "name": "acne"}, {"id": 1, "name": "rosacea"}]
    content = {"images": pictures, "annotations": boxes, "categories": kinds}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def _voc(folder, orientations):
    x, y, w, h = BOX
    (folder / "Annotations").mkdir(parents=True)
    for i, orientation in enumerate(orientations):
        _photo(folder / "JPEGImages" / f"{i}.jpg", orientation, seed=i)
        (folder / "Annotations" / f"{i}.xml").write_text(
            f"<annotation><filename>{i}.jpg</filename><size><width>{SIZE[0]}</width><height>"
            f"{SIZE[1]}</height></size><object><name>{'ab'[i % 2]}</name><bndbox><xmin>{x + 1}"
            f"</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>"
            "</object></annotation>"
        )
    return folder


def _csv(folder, orientations, width=SIZE[0], height=SIZE[1], columns=("width", "height")):
    for i, orientation in enumerate(orientations):
        _photo(folder / f"{i}.jpg", orientation, seed=i)
    count = len(orientations)
    table = pd.DataFrame({"image": [f"{i}.jpg" for i in range(count)]})
    table = table.assign(label=[*"ab" * count][:count], patient=[f"p{i}" for i in range(count)])
    table[["x", "y", "w", "h"]] = BOX
    table[list(columns)] = width, height
    table.to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


def _examine(source, **options):
    place = source if source.is_dir() else source.parent
    return layouts.examine(source, cache_dir=place.parent / "cache", near=0, **options)


def _boxes(manifest):
    return set(manifest.frame[["x", "y", "w", "h"]].itertuples(index=False, name=None))


def _red(manifest):
    """Share of the crop's pixels that are the patch, for every row."""
    for row in manifest.frame.itertuples():
        crop = images.read_crop(row.path, (row.x, row.y, row.w, row.h), None)
        yield (np.abs(np.asarray(crop, int) - RED).max(-1) < 60).mean()


@pytest.mark.parametrize("make", [_coco, _voc, _csv])
def test_boxes_on_the_unturned_photograph_cut_what_was_drawn(tmp_path, make):
    """For 1 and 5 to 8 the declared size decides; 2 to 4 go with the others of the same table."""
    folder = tmp_path / "data"
    folder.mkdir()
    manifest, problems = _examine(make(folder, [*range(1, 9)] * 2))
    assert not problems and min(_red(manifest)) > 0.9
    assert any("unturned" in note and "8 (" in note for note in manifest.notes)
    assert any("likewise" in note and "6 (" in note for note in manifest.notes)


def test_boxes_on_the_upright_photograph_stay(tmp_path):
    """Their declared size is the upright one's."""
    orientations = [6, 8] * 4
    folder = _coco(tmp_path / "data", orientations, declared=[SIZE[::-1]] * 8)
    manifest, problems = _examine(folder)
    assert not problems and _boxes(manifest) == {BOX}
    assert not any("unturned" in note or "EXIF" in note for note in manifest.notes)


@pytest.mark.parametrize("square", [True, False])
def test_what_nothing_decides_is_counted_and_named(tmp_path, square):
    size = (120, 120) if square else SIZE
    turns = [6 if square else 3, 1] * 4
    folder = _coco(tmp_path / "data", turns, sizes=[size] * 8)
    manifest, problems = _examine(folder)
    assert not problems and _boxes(manifest) == {BOX}
    (note,) = (note for note in manifest.notes if "nothing tells" in note)
    assert ": 4 (" in note and "'images/0.jpg'" in note


def test_a_declared_size_of_another_photograph_is_refused(tmp_path):
    folder = _coco(tmp_path / "data", [1] * 8, declared=[SIZE] * 7 + [(240, 180)])
    _, problems = _examine(folder)
    (line,) = problems
    assert "row 8" in line and "'images/7.jpg'" in line
    assert "240 x 180" in line and "120 x 90" in line


def test_columns_that_are_no_sizes_of_photographs_are_not_taken_for_them(tmp_path):
    """A lesion's width and height in mm, say."""
    source = _csv(tmp_path, [1] * 8, width=12, height=9)
    manifest, problems = _examine(source)
    assert not problems and _boxes(manifest) == {BOX}


def test_boxes_and_redactions_without_a_size_are_told(tmp_path):
    source = _csv(tmp_path, [6, 1] * 4, columns=("site", "device"))
    (tmp_path / "photos.redact.csv").write_text("image,x,y,w,h\n0.jpg,1,1,9,9\n1.jpg,1,1,9,9\n")
    manifest, _ = _examine(source)
    boxes = [note for note in manifest.notes if "nothing tells" in note]
    assert len(boxes) == 1 and ": 4 (" in boxes[0]
    hidden = [note for note in manifest.notes if note.startswith("redactions on")]
    assert len(hidden) == 1 and "'0.jpg'" in hidden[0] and "'1.jpg'" not in hidden[0]


def test_shares_of_a_turned_photograph_decide_nothing(tmp_path):
    folder = tmp_path / "yolo"
    for i in range(6):
        _photo(folder / "images" / f"{i}.jpg", 6, seed=i)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{i}.txt").write_text(f"{i % 2} .5 .5 .2 .2")
    (folder / "classes.txt").write_text("a\nb\n")
    manifest, _ = _examine(folder)
    assert any("nothing tells" in note and ": 6 (" in note for note in manifest.notes)


def test_several_boxes_are_named_by_where_they_are_cut(tmp_path):
    folder = _coco(tmp_path / "data", [6] * 6)
    content = json.loads((folder / "a.json").read_text())
    more = [{**a, "id": 9 + a["id"], "bbox": [1, 2, 30, 20]} for a in content["annotations"]]
    content["annotations"] += more
    (folder / "a.json").write_text(json.dumps(content))
    frame = _examine(folder)[0].frame
    for row in frame.itertuples():
        assert row.name == f"{row.image}#xywh={row.x:g},{row.y:g},{row.w:g},{row.h:g}"


@given(
    orientation=st.integers(1, 8),
    box=st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(1, 5), st.integers(1, 4)),
)
def test_a_turned_box_holds_the_same_pixels_as_pillow_turns_them(orientation, box):
    width, height = 11, 8
    pixels = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    methods = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    methods |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    upright = Image.fromarray(pixels)
    if orientation in methods:
        upright = upright.transpose(Image.Transpose[methods[orientation]])
    np.testing.assert_array_equal(images.turned(pixels, orientation), upright)
    x, y, w, h = box
    tx, ty, tw, th = map(int, images.upright_box(box, upright.size, orientation))
    found = np.asarray(upright)[ty : ty + th, tx : tx + tw]
    assert sorted(found.ravel()) == sorted(pixels[y : y + h, x : x + w].ravel())


@pytest.mark.parametrize("orientation", [6, 8, 5, 7])
def test_a_mask_drawn_on_the_unturned_photograph_is_turned(tmp_path, orientation):
    _photo(tmp_path / "a.jpg", orientation)
    x, y, w, h = BOX
    drawn = np.zeros(SIZE[::-1], np.uint8)
    drawn[y : y + h, x : x + w] = 255
    Image.fromarray(drawn).save(tmp_path / "m.png")
    photo = np.asarray(images.read_rgb(tmp_path / "a.jpg"), int)
    turn = images.orientation_of(tmp_path / "a.jpg")
    mask = masks.read(tmp_path / "m.png", photo.shape[1::-1], turn)
    red = np.abs(photo - RED).max(-1) < 60
    assert (mask & red).sum() / (mask | red).sum() > 0.9
