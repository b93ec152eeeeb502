"""Names of files as people give them: a pattern, or a little otherwise than the disk has them."""

import glob
import os
from collections.abc import Iterable

from dermjax.data import identity


def folded(path: str) -> str:
    """What a path's spellings have in common that are one file to everybody.

    That is whatever the form in Unicode (a Mac writes `é` as two characters, Windows as one), the
    invisible characters, and the case of the ending (`.JPG`) are. The case of the name counts.
    """
    stem, ending = os.path.splitext(path)
    return "/".join(map(identity.visible, stem.split("/"))) + ending.lower()


class _Disk:
    """Folders' contents, each listed once."""

    def __init__(self):
        self._names: dict[str, dict[str, list[str]]] = {}
        self._places: dict[str, str | None] = {}

    def names(self, folder: str) -> dict[str, list[str]]:
        """The names in a folder by what they have in common; none where it cannot be read."""
        if folder not in self._names:
            found: dict[str, list[str]] = {}
            try:
                listed = sorted(os.listdir(folder))
            except OSError:
                listed = []
            for name in listed:
                found.setdefault(folded(name), []).append(name)
            self._names[folder] = found
        return self._names[folder]

    def place(self, path: str) -> str | None:
        """The path as the disk has it, folders included; None where no name or several fit."""
        if path not in self._places:
            self._places[path] = self._look(path)
        return self._places[path]

    def _look(self, path: str) -> str | None:
        if os.path.exists(path):
            return path
        above, name = os.path.split(path)
        if not name or above == path or (folder := self.place(above)) is None:
            return None
        found = self.names(folder).get(folded(name), [])
        return os.path.join(folder, found[0]) if len(found) == 1 else None


def find(paths: Iterable[str]) -> dict[str, str]:
    """Where the files are that are not found under their names; those of no such file are left out.

    Args:
        paths: Absolute ones.
    """
    disk = _Disk()
    places = {path: disk.place(path) for path in dict.fromkeys(paths)}
    return {path: place for path, place in places.items() if place not in (None, path)}


def neighbours(path: str) -> list[str]:
    """Names in the path's folder that a person may have meant: other case, zeros or ending."""
    disk = _Disk()
    folder = disk.place(os.path.dirname(path))
    wanted = identity.key(os.path.splitext(os.path.basename(path))[0])
    names = (name for own in disk.names(folder or "").values() for name in own) if folder else ()
    return sorted(name for name in names if identity.key(os.path.splitext(name)[0]) == wanted)


def matching(pattern: str) -> list[str]:
    """The files that a pattern names, sorted; in it, what is there as it is written is no pattern.

    So `a [1]/*.jpg` finds the photographs of a folder `a [1]`, and `b [2].jpg` that file.
    """
    parts = os.path.expanduser(pattern).split("/")
    there = len(parts)
    while there and not os.path.lexists("/".join(parts[:there]) or "/"):
        there -= 1
    pattern = "/".join([*map(glob.escape, parts[:there]), *parts[there:]])
    return sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
