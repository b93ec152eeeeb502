"""Data in a bucket, copied to this machine's disk before anything else: each file is read once.

An object `gs://BUCKET/NAME` lies in `copies/BUCKET/NAME` of the cache. A copy has the object's
generation as its time, so that a look at the bucket's lists tells which are old.
"""

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dermjax import atomic, stores
from dermjax.data import file_names
from dermjax.data.work import Track, untracked

_FOLDER = "copies"
_THREADS = 16  # they wait for the network
_IN_MEMORY = 1 << 25  # bytes; larger ones go to the disk piece by piece


class Copies:
    """The copies of a cache folder."""

    def __init__(self, cache_dir, track: Track = untracked):
        """Args:
        cache_dir: where they lie, each at its own place.
        track: wraps an iterable of known length to show progress: (items, total, label).
        """
        self._root, self._track = Path(cache_dir) / _FOLDER, track
        self._files = stores.filesystem()

    def of(self, source: str) -> Path:
        """The local copy of a file, or of a folder with all that is in it; brought up to date.

        Raises:
          ValueError: no such file or folder in a bucket that can be read.
        """
        stores.folder(source)
        name = source.partition("://")[2].strip("/")
        with _in_words(source):
            found = self._files.find(name, detail=True)
        found = {key: info for key, info in found.items() if not key.endswith("/")}
        if not found:
            raise ValueError(f"{source}: no such file or folder: check the name")
        self._bring(found)
        if name not in found:
            self._remove_others(self._root / name, found)
        return self._root / name

    def named(self, paths: Iterable[os.PathLike | str]) -> None:
        """Brings files, named by the places of their copies; what is not there gets none.

        Only the lists of their own folders are read, which may lie beside millions of others.

        Raises:
          ValueError: they cannot be read.
        """
        wanted = {}
        for path in paths:
            key = os.path.relpath(path, self._root)
            if not key.startswith("..") and "/" in key:
                wanted[key] = Path(path)
        folders = sorted({os.path.dirname(key) for key in wanted})
        with ThreadPoolExecutor(_THREADS) as pool:
            lists = pool.map(self._list, folders)
            found = {key: info for listed in lists for key, info in listed.items()}
        for key in wanted.keys() - found.keys():
            wanted[key].unlink(missing_ok=True)  # of the copy, if there was an object
        # Whoever looks for a file finds it under another form of its name, too.
        forms = {file_names.folded(key) for key in wanted.keys() - found.keys()}
        self._bring(
            {
                key: info
                for key, info in found.items()
                if key in wanted or file_names.folded(key) in forms
            }
        )

    def _list(self, folder: str) -> dict[str, Mapping[str, Any]]:
        """The objects directly in a folder, by bucket and name."""
        with _in_words(folder):
            try:
                listed = self._files.ls(folder, detail=True)
            except FileNotFoundError:
                return {}
        return {info["name"]: info for info in listed if info["type"] == "file"}

    def _bring(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Copies what is new or has changed."""
        for key in found:
            if {"", ".", ".."} & set(key.split("/")):
                raise ValueError(f"gs://{key} is no name for a file of a disk: rename the object")
        missing = [key for key, info in found.items() if not self._is_current(key, info)]
        if not missing:
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            copied = pool.map(lambda key: self._copy(key, found[key]), missing)
            # After an error the others are not waited for.
            with contextlib.closing(copied):  # type: ignore[type-var]  # stubs omit its close()
                for _ in self._track(copied, len(missing), "copying data"):
                    pass

    def _is_current(self, key: str, info: Mapping[str, Any]) -> bool:
        try:
            state = os.stat(self._root / key)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (state.st_size, state.st_mtime_ns) == (info["size"], _time(info))

    def _copy(self, key: str, info: Mapping[str, Any]) -> None:
        """One file, whole and as its checksum says, or not at all."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with _in_words(f"gs://{key}"), atomic.replace(path) as beside:
            if info["size"] <= _IN_MEMORY:
                beside.write_bytes(self._files.cat_file(key))
            else:
                self._files.get_file(key, str(beside))
            with beside.open("rb") as file:
                digest = hashlib.file_digest(file, "md5").digest()
            # An object that was put together of parts has no MD5.
            expected = info.get("md5Hash") or base64.b64encode(digest).decode()
            if beside.stat().st_size != info["size"] or base64.b64decode(expected) != digest:
                raise ValueError("arrived damaged, or has just been changed: try again")
            os.utime(beside, ns=(_time(info), _time(info)))

    def _remove_others(self, folder: Path, found: Iterable[str]) -> None:
        """Copies of objects that are gone: a folder's layout is recognised by all that is in it."""
        kept = {str(self._root / key) for key in found}
        for path in folder.rglob("*"):
            if path.is_file() and str(path) not in kept and path.suffix != atomic.PART:
                path.unlink()


def _time(info: Mapping[str, Any]) -> int:
    """ns for a copy; a generation is told in microseconds, and no two are equal."""
    return int(info["generation"]) * 1000


@contextlib.contextmanager
def _in_words(what: str):
    """What gcsfs raises, which is of many kinds, as one line."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise ValueError(f"{what} cannot be read ({_line(error)})") from error
    except Exception as error:
        raise ValueError(f"{what} cannot be read ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
