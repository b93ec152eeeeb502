"""What importers share: the table and the photographs of a folder, or why it is not theirs."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dermjax.data import identity
from dermjax.data import manifest as tables
from dermjax.data.problems import Kind, Line, ManifestError, quoted

Raw = tuple[pd.DataFrame, list[str]]  # a table under the manifest's headers plus `row`; notes
# How photographs' names end, those that are preferred first where one has several files. Further
# formats that Pillow reads are icons, drawings and films.
PHOTOS = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jpe", ".jfif", ".mpo"),
    *(".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
    *(".gif", ".apng", ".dib", ".ppm", ".pnm", ".pgm", ".tga", ".psd", ".qoi"),
)
# What file systems and programs leave behind; names that begin with a dot are theirs, too.
_LEFT_BEHIND = {
    *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
    *("__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}


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
    found: dict[str, str] = {}
    present = [
        place
        for root in roots
        for place in ([folder] if root == "." else sorted(folder.glob(root)))
        if place.is_dir()
    ]
    if not present:
        raise Absent(f"no folder {' or '.join(roots)}")
    for root in present:
        of_root: dict[str, Path] = {}
        # By folder, then as preferred: `a.jpg` goes before a preview `a.gif` beside it.
        for path in sorted(
            files(root)[0], key=lambda path: (str(path.parent), _preference(path), path)
        ):
            of_root.setdefault(path.stem, path)
        for stem, path in of_root.items():
            found.setdefault(stem, path.relative_to(folder).as_posix())
    return found


def files(folder: Path, pruned: Iterable[Path] = ()) -> tuple[list[Path], Counter[str]]:
    """The photographs in a folder and all below it, sorted, and what else is there by its endings.

    What file systems and programs leave behind is no part of it.

    Args:
        folder: Links to further folders in it are not followed.
        pruned: Folders below it that are not entered.

    Raises:
        ManifestError: A photograph's name is no text, as after an archive of another system.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    pruned = set(pruned)
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [n for n in folders if not left_behind(n) and here / n not in pruned]
        for name in names:
            path = here / name
            if left_behind(name) or not path.is_file():
                continue
            if path.suffix.lower() in PHOTOS:
                found.append(path)
            else:
                others[path.suffix.lower() or "without an ending"] += 1
    check_names(folder, found)
    return sorted(found), others


def check_names(folder: Path, paths: Iterable[Path]) -> None:
    """Refuses names that are not UTF-8, which no table can hold.

    Raises:
        ManifestError: Names them.
    """
    odd = [path for path in map(os.fspath, paths) if not _is_text(path)]
    if odd:
        names = quoted(map(_shown, odd))
        raise ManifestError(
            _shown(folder), [f"names that are not UTF-8, of {len(odd)} ({names}): rename them"]
        )


def _is_text(name: str) -> bool:
    return _shown(name) == name


def _shown(name) -> str:
    """A name with what is not UTF-8 as `\\xe4`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def left_behind(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: `._a.jpg`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def left_out(others: Counter[str]) -> list[str]:
    """A note on files that are no photographs, if there are any."""
    if not others:
        return []
    kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
    return [Line(f"files that are no photographs, left out: {kinds}", Kind.FILES)]


def _preference(path: Path) -> int:
    return PHOTOS.index(path.suffix.lower())


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
