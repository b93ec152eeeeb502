"""What importers share: the table and the photographs of a folder, or why it is not theirs."""

import os
from pathlib import Path

import pandas as pd

from dermjax.data import identity
from dermjax.data import manifest as tables
from dermjax.data.problems import ManifestError

Raw = tuple[pd.DataFrame, list[str]]  # a table under the manifest's headers plus `row`; notes
PHOTOS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


class Absent(Exception):
    """Why a folder is not of a layout."""


class NoTable(Absent):
    """Not even its table is there, so the folder hardly was meant."""


def table(folder: Path, names, columns) -> tuple[pd.DataFrame, list[str]]:
    """The first of the named tables that is there and has the columns; else Absent."""
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise NoTable(f"no {names[0]}")
    frame, problems, notes = tables.read_table(path)
    missing = [column for column in columns if column not in frame]
    if missing:
        raise Absent(f"{path.name} has no column {', '.join(missing)}")
    if problems:
        raise ManifestError(path, problems)
    return frame, notes


def photos(folder: Path, roots) -> dict[str, str]:
    """File stem -> path relative to the folder, of the photographs under the given folders.

    Args:
        roots: Patterns of folders in it, the preferred first; '.' for itself.
    """
    found = {}
    present = [
        place
        for root in roots
        for place in ([folder] if root == "." else sorted(folder.glob(root)))
        if place.is_dir()
    ]
    if not present:
        raise Absent(f"no folder {' or '.join(roots)}")
    for root in present:
        for place, _, files in sorted(os.walk(root)):
            for file in sorted(files):
                stem, ending = os.path.splitext(file)
                if ending.lower() in PHOTOS:
                    found.setdefault(stem, Path(place, file).relative_to(folder).as_posix())
    return found


def located(ids, photos) -> list[str]:
    """Where each id's photograph is; an absent one keeps its usual place, for the message.

    An id and a file's name may differ in case and in their form in Unicode, if one file alone fits.
    """
    stems = [os.path.splitext(name)[0] if name.lower().endswith(PHOTOS) else name for name in ids]
    forms: dict[str, list[str]] = {}
    if any(stem not in photos for stem in stems):
        for stem, path in photos.items():
            forms.setdefault(_form(stem), []).append(path)

    def place(stem: str, name: str) -> str:
        near = forms.get(_form(stem), [])
        return near[0] if len(near) == 1 and name else f"images/{name}" if name else ""

    return [
        photos[stem] if stem in photos else place(stem, name)
        for stem, name in zip(stems, ids, strict=True)
    ]


def _form(stem: str) -> str:
    return identity.visible(stem).casefold()


def kept(frame, names) -> dict[str, pd.Series]:
    """The columns that are there, under our names."""
    return {ours: frame[theirs] for theirs, ours in names.items() if theirs in frame}


def looked_up(keys: pd.Series, found: pd.DataFrame, by: str, column: str) -> pd.Series:
    """The column of another table in the rows where `by` is the key; '' where there is none.

    A key that is not there as it is written is looked for as it reads.
    """
    first = found.drop_duplicates(by)
    values = keys.map(first.set_index(by)[column])
    if values.isna().any():
        read = first.assign(key=first[by].map(identity.key)).drop_duplicates("key", keep=False)
        near = keys[values.isna()].map(identity.key).map(read.set_index("key")[column])
        values = values.fillna(near)
    return values.fillna("").astype("str")
