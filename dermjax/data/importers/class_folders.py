"""A folder per class, as DermNet's and SD-198's mirrors are: train/<class>/*.jpg or <class>/."""

from pathlib import Path

import pandas as pd

from dermjax.data.importers import folders
from dermjax.data.manifest import SETS

_TABLES = ("*.csv", "*.tsv", "*.json", "*.xlsx")


def read(folder: Path) -> folders.Raw:
    """Labels are the folders' names; sets, where they are the upper folders, are a column."""
    tables = sorted(path.name for ending in _TABLES for path in folder.glob(ending))
    if tables:  # labels stand there, not in the names of folders such as images and masks
        raise folders.NoTable(f"{tables[0]} lies beside the folders")
    rows = []
    upper = {path: SETS[path.name.lower()] for path in _below(folder) if _is_set(path)}
    for root, split in (upper or {folder: ""}).items():
        for place in _below(root):
            for photo in sorted(place.rglob("*")):
                if photo.suffix.lower() in folders.PHOTOS and photo.is_file():
                    image = photo.relative_to(folder).as_posix()
                    rows.append((len(rows) + 1, image, place.name, split))
    raw = pd.DataFrame(rows, columns=["row", "image", "label", "official_split"])
    if raw["label"].nunique() < 2:
        raise folders.Absent("no two folders of photographs, named by their classes")
    return raw if upper else raw.drop(columns="official_split"), [
        "folders of classes have no patient ids: every photo is its own group, and photographs of "
        "one patient may be in two sets"
    ]


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _is_set(path: Path) -> bool:
    return path.name.lower() in SETS
