"""Boxes as drawing programs leave them: COCO's JSON, Pascal VOC's XML, YOLO's text files.

None of them knows patients: every photograph is its own group unless a COCO file has `patient_id`.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import yaml

from dermjax.data import encodings, images
from dermjax.data.importers import folders
from dermjax.data.manifest import BOX
from dermjax.data.problems import ManifestError

_NO_PATIENTS = (
    "has no patient ids: every photo is its own group, and photographs of one patient may be in "
    "two sets"
)
_PLACES = ("images", "JPEGImages", ".")


def read_coco(folder: Path) -> folders.Raw:
    """*.json or annotations/*.json; boxes are x, y, w, h in px from 0.

    Raises:
        ManifestError: An annotation of an image or a category that is not listed.
    """
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))]
    parts = [(path, content) for path in files if (content := _coco(path)) is not None]
    if not parts:
        raise folders.NoTable("no *.json with images, annotations and categories")
    raw = _table(folder, [row for path, content in parts for row in _coco_rows(path, content)])
    if (raw["patient"] == "").all():
        return raw.drop(columns="patient"), [f"COCO {_NO_PATIENTS}"]
    return raw, []


def read_voc(folder: Path) -> folders.Raw:
    """Annotations/*.xml; corners count from 1 and are part of the box.

    Raises:
        ManifestError: A file that is not XML, or an object without name or corners.
    """
    files = sorted(folder.glob("Annotations/*.xml"))
    if not files:
        raise folders.NoTable("no Annotations/*.xml")
    rows = [row for path in files for row in _voc_rows(path)]
    return _table(folder, rows), [f"Pascal VOC {_NO_PATIENTS}"]


def read_yolo(folder: Path) -> folders.Raw:
    """labels/**/*.txt beside images/, and the classes in data.yaml, classes.txt or obj.names.

    Raises:
        ManifestError: A line that is not `class x y w h`, or of a class that is not named.
    """
    names = _yolo_names(folder)
    labels, places = folder / "labels", folder / "images"
    lists = set(labels.rglob("*.txt")) - {labels / "classes.txt"}
    photos, _ = folders.files(places)
    if not lists or not photos:
        raise folders.Absent(f"no {'images' if lists else 'labels/*.txt'}")
    rows = []
    for photo in photos:
        path = labels / photo.relative_to(places).with_suffix(".txt")
        image = photo.relative_to(folder).as_posix()
        found = _yolo_rows(path, photo, names) if path in lists else [()]
        rows += [_row(image, *label_and_box) for label_and_box in found]
        lists.discard(path)
    notes = [f"files of labels that match no photograph: {len(lists)}"] if lists else []
    return _table(folder, rows), [*notes, f"YOLO {_NO_PATIENTS}"]


def _table(folder: Path, rows: list[dict]) -> pd.DataFrame:
    """The rows, numbered; an image is named from its folder, which the file leaves open."""
    raw = pd.DataFrame(rows)
    for side in BOX:
        raw[side] = [value if value == "" else f"{value:.10g}" for value in raw[side]]
    places = {name: _place(folder, name) for name in set(raw["image"])}
    return raw.assign(image=raw["image"].map(places), row=range(1, len(raw) + 1))


def _place(folder: Path, name: str) -> str:
    """Where the photograph is; a name of nothing stays, for the message."""
    found = (f"{place}/{name}" for place in _PLACES if (folder / place / name).is_file())
    return next(found, name)


def _row(image: str, label: str = "", box=("", "", "", ""), **further) -> dict:
    """One box, or a photograph without any."""
    return {"image": image, "label": label, **dict(zip(BOX, box, strict=True)), **further}


def _coco(path: Path) -> dict | None:
    """The content, if it is of this kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError):
        return None
    wanted = {"images", "annotations", "categories"}
    return content if isinstance(content, dict) and wanted <= set(content) else None


def _coco_rows(path: Path, content: dict) -> list[dict]:
    rows, boxed, what = [], set(), "the list of images or categories"
    try:
        pictures = {picture["id"]: picture for picture in content["images"]}
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        for number, found in enumerate(content["annotations"], start=1):
            what = f"annotation {number}"
            x, y, w, h = map(float, found["bbox"])
            picture, label = pictures[found["image_id"]], names[found["category_id"]]
            rows.append(_coco_row(picture, label, (x, y, w, h)))
            boxed.add(found["image_id"])
    except (KeyError, TypeError, ValueError) as error:
        message = (
            f"{what} is not COCO's ({error!r}): it needs a listed image and category, and bbox"
        )
        raise ManifestError(path, [message]) from None
    return rows + [_coco_row(p) for number, p in pictures.items() if number not in boxed]


def _coco_row(picture: dict, *label_and_box) -> dict:
    return _row(
        picture["file_name"],
        *label_and_box,
        patient=str(picture.get("patient_id", "")),
        **{side: str(picture.get(side) or "") for side in ("width", "height")},
    )


def _voc_rows(path: Path) -> list[dict]:
    try:
        root = ElementTree.parse(path).getroot()
        image = root.findtext("filename") or f"{path.stem}.jpg"
        size = {side: _text(root.findtext(f"size/{side}")) for side in ("width", "height")}
        rows = []
        for found in root.iter("object"):
            corners = found.find("bndbox")
            left, top, right, bottom = (
                float(_needed(corners, corner)) for corner in ("xmin", "ymin", "xmax", "ymax")
            )
            box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
            rows.append(_row(image, _needed(found, "name").strip(), box, **size))
    except (ElementTree.ParseError, ValueError):
        message = "is not Pascal VOC: each object needs name and bndbox with xmin ... ymax"
        raise ManifestError(path, [message]) from None
    return rows or [_row(image, **size)]


def _needed(found: ElementTree.Element | None, name: str) -> str:
    """The text of an element that has to be there; ValueError where it is not."""
    text = None if found is None else found.findtext(name)
    if text is None:
        raise ValueError(f"no {name}")
    return text


def _text(found: str | None) -> str:
    """What stands in an element that may be absent."""
    return (found or "").strip()


def _yolo_names(folder: Path) -> list[str]:
    """The names of the classes in the order of their numbers."""
    for name in ("data.yaml", "data.yml", "classes.txt", "labels/classes.txt", "obj.names"):
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix not in (".yaml", ".yml"):
            return [line.strip() for line in encodings.read_text(path)[0].splitlines()]
        found = (yaml.safe_load(encodings.read_text(path)[0]) or {}).get("names", [])
        if isinstance(found, dict):
            return [str(found.get(number, "")) for number in range(max(found, default=-1) + 1)]
        return [str(label) for label in found]
    raise folders.NoTable("no data.yaml, classes.txt or obj.names")


def _yolo_rows(path: Path, photo: Path, names: list[str]) -> list[tuple]:
    """Label and box of each line; nothing once, where there is no line.

    Boxes are centres and sizes as shares of the upright photograph.
    """
    try:
        width, height, *_ = images.probe(photo.read_bytes())
    except (ValueError, OSError):
        return [()]  # the scan of all photographs says what is wrong with it
    rows = []
    for number, line in enumerate(encodings.read_text(path)[0].splitlines(), start=1):
        if not line.strip():
            continue
        try:
            kind, x, y, w, h = (float(cell) for cell in line.split())
            label = names[int(kind)]
        except (ValueError, IndexError):
            message = f"line {number} is not a class below {len(names)} and x y w h: {line[:40]!r}"
            raise ManifestError(path, [message]) from None
        rows.append((label, ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)))
    return rows or [()]
