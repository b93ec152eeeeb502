"""Boxes of COCO, Pascal VOC and YOLO."""

import json

import numpy as np
import pytest
from PIL import Image

from dermjax.data.manifest import ManifestError
from tests.data.importers.folders import box_of, load, voc, write
from tests.data.miniatures import write_photo


def coco(folder, **changes):
    """Six photographs of 40 x 20 px in two folders with equal names; the last has no box."""
    pictures, boxes = [], []
    for index in range(7):
        name = f"{'ab'[index % 2]}/{index // 2}.jpg"
        write_photo(folder / "images" / name, index, (40, 20))
        pictures.append({"id": 100 + index, "file_name": name, "width": 40, "height": 20})
        if index < 6:
            boxes.append(
                {"id": index, "image_id": 100 + index, "category_id": 5 + index % 2}
                | {"bbox": [index, 0.5, 10, 8.25], "iscrowd": 0}
            )
    boxes.append({"id": 9, "image_id": 100, "category_id": 6, "bbox": [20, 2, 5, 5]})
    content = {
        "images": pictures,
        "annotations": boxes,
        "categories": [{"id": 5, "name": "acne"}, {"id": 6, "name": "rosacea"}],
    }
    write(folder / "annotations" / "instances.json", json.dumps(content | changes))


def test_coco_boxes_count_from_zero(tmp_path):
    folder = tmp_path / "coco"
    coco(folder)
    table = load(folder)
    assert box_of(table.frame, "a/0.jpg") == [("acne", 0, 0.5, 10, 8.25), ("rosacea", 20, 2, 5, 5)]
    assert box_of(table.frame, "b/1.jpg") == [("rosacea", 3, 0.5, 10, 8.25)]
    assert box_of(table.frame, "a/3.jpg")[0][0] == "" and np.isnan(
        box_of(table.frame, "a/3.jpg")[0][1]
    )
    assert table.frame["group"].nunique() == 7
    assert any(note.startswith("COCO has no patient ids") for note in table.notes)


def test_coco_with_patients_is_grouped_by_them(tmp_path):
    folder = tmp_path / "coco"
    coco(folder)
    path = folder / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    for index, picture in enumerate(content["images"]):
        picture["patient_id"] = -index if index < 6 else -5
    path.write_text(json.dumps(content))
    assert load(folder).frame["group"].nunique() == 6


@pytest.mark.parametrize(
    "broken",
    [
        {"image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 5]},
        {"image_id": 100, "category_id": 9, "bbox": [0, 0, 5, 5]},
        {"image_id": 100, "category_id": 5, "bbox": [0, 0, 5]},
        {"image_id": 100, "category_id": 5},
    ],
)
def test_a_coco_annotation_that_points_nowhere_is_told(tmp_path, broken):
    folder = tmp_path / "coco"
    coco(folder, annotations=[broken])
    with pytest.raises(ManifestError, match="annotation 1 is not COCO's"):
        load(folder)


def test_voc_corners_count_from_one_and_belong_to_the_box(tmp_path):
    folder = tmp_path / "voc"
    voc(folder)
    write_photo(folder / "JPEGImages" / "6.jpg", 6)
    write(folder / "Annotations" / "6.xml", "<annotation><filename>6.jpg</filename></annotation>")
    frame = load(folder).frame
    assert box_of(frame, "JPEGImages/1.jpg") == [("rosacea", 0, 0, 40, 20)]
    assert frame["label"].tolist()[-1] == "" and np.isnan(frame["x"].tolist()[-1])


@pytest.mark.parametrize(
    "text", ["no xml", "<annotation><object><name>a</name></object></annotation>"]
)
def test_a_voc_file_that_is_none_is_told(tmp_path, text):
    folder = tmp_path / "voc"
    voc(folder)
    write(folder / "Annotations" / "3.xml", text)
    with pytest.raises(ManifestError, match="3.xml: 1 problem\n- is not Pascal VOC"):
        load(folder)


def yolo(folder, names="data.yaml", text="names: [acne, rosacea]"):
    for index in range(6):
        write_photo(folder / "images" / "train" / f"{index}.jpg", index, (40, 20))
        write(folder / "labels" / "train" / f"{index}.txt", f"{index % 2} 0.5 0.25 0.25 0.5", "")
    write(folder / names, text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("data.yaml", "names: [acne, rosacea]"),
        ("data.yaml", "names:\n  1: rosacea\n  0: acne"),
        ("classes.txt", "acne\nrosacea\n"),
        ("labels/classes.txt", "acne\nrosacea"),
    ],
)
def test_yolo_boxes_are_centres_relative_to_the_photograph(tmp_path, names, text):
    folder = tmp_path / "yolo"
    yolo(folder, names, text)
    write_photo(folder / "images" / "train" / "6.jpg", 6)
    write(folder / "labels" / "train" / "99.txt", "0 0.5 0.5 1 1")
    table = load(folder)
    assert box_of(table.frame, "train/0.jpg") == [("acne", 15, 0, 10, 10)]
    assert box_of(table.frame, "train/1.jpg") == [("rosacea", 15, 0, 10, 10)]
    assert table.frame["label"].tolist()[-1] == ""
    assert "files of labels that match no photograph: 1" in table.notes


def test_yolo_boxes_are_of_the_upright_photograph(tmp_path):
    """A phone held upright: 20 x 40 px to the eye, stored lying."""
    folder = tmp_path / "yolo"
    yolo(folder)
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "images" / "train" / "0.jpg", exif=exif)
    assert box_of(load(folder).frame, "train/0.jpg") == [("acne", 7.5, 0, 5, 20)]


@pytest.mark.parametrize("line", ["2 .5 .5 .1 .1", "0 .5 .5 .1", "acne .5 .5 .1 .1"])
def test_a_yolo_line_that_is_none_is_told(tmp_path, line):
    folder = tmp_path / "yolo"
    yolo(folder)
    write(folder / "labels" / "train" / "3.txt", "", line)
    with pytest.raises(ManifestError, match="3.txt: 1 problem\n- line 2 is not a class below 2"):
        load(folder)
