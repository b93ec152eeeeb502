"""A folder per class, as DermNet's and SD-198's mirrors are: train/<class>/*.jpg or <class>/."""

from collections import Counter
from pathlib import Path

import pandas as pd

from dermjax.data.importers import folders
from dermjax.data.manifest import SETS
from dermjax.data.problems import Kind, Line, quoted


def read(folder: Path) -> folders.Raw:
    """Labels are the folders' names; sets, where they are the upper folders, are a column."""
    rows: list[tuple[int, str, str, str]] = []
    others: Counter[str] = Counter()
    empty: list[str] = []
    upper = {path: SETS[path.name.lower()] for path in _below(folder) if _is_set(path)}
    for root, split in (upper or {folder: ""}).items():
        for place in _below(root):
            found, more = folders.files(place)
            others += more
            empty += [] if found else [place.relative_to(folder).as_posix()]
            for photo in found:
                image = photo.relative_to(folder).as_posix()
                rows.append((len(rows) + 1, image, place.name, split))
    raw = pd.DataFrame(rows, columns=["row", "image", "label", "official_split"])
    if raw["label"].nunique() < 2:
        raise folders.Absent("no two folders of photographs, named by their classes")
    return raw if upper else raw.drop(columns="official_split"), [
        *folders.left_out(others),
        *_without_photographs(empty),
        *_without_a_class(folder, upper),
        "folders of classes have no patient ids: every photo is its own group, and photographs of "
        "one patient may be in two sets",
    ]


def _without_photographs(empty: list[str]) -> list[str]:
    """A note on folders of classes that hold none, if there are any."""
    if not empty:
        return []
    return [Line(f"folders without photographs, left out: {quoted(empty)}", Kind.FILES)]


def _without_a_class(folder: Path, upper: dict[Path, str]) -> list[str]:
    """A note on photographs that lie in no class's folder."""
    classes = [place for root in (upper or [folder]) for place in _below(root)]
    stray, _ = folders.files(folder, pruned=classes)
    if not stray:
        return []
    names = quoted(path.relative_to(folder).as_posix() for path in stray)
    text = f"photographs in no folder of a class, left out: {len(stray)} ({names})"
    return [Line(text, Kind.FILES)]


def _below(folder: Path) -> list[Path]:
    inside = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in inside if not folders.left_behind(path.name))


def _is_set(path: Path) -> bool:
    return path.name.lower() in SETS
