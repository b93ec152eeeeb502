"""Folders of an object store, `gs://bucket/...`, where they are not as those of a disk.

etils reaches them by gcsfs (extra `gcs`), Orbax writes checkpoints there by tensorstore. An object
gets its name when it is closed, whole, or not at all: nothing needs a temporary name. There is no
appending, no link, and no lock: two processes in one folder are kept apart by nobody.
"""

import functools
import glob
import importlib.util
import logging
import os

from etils import epath
from etils.epath import gpath

_PREFIX = "gs://"
_LONGEST = 3_500  # bytes of a folder's path: Linux allows 4,095, checkpoints lie deep below it
_REMEDY = (
    "check the name, the network, and that the account of `gcloud auth application-default login` "
    "has storage.buckets.get and may read and write objects"
)


class _Literal(epath.Path):
    """A path of this machine whose own name is no pattern.

    `epath.Path('runs/a [1]').glob('*')` looks for `runs/a 1`, and Orbax, which collects what its
    processes have saved by such a call, loses the whole checkpoint.
    """

    def glob(self, pattern: str):
        """Files below it that match; `**` is refused, as of etils."""
        if "**" in pattern:
            raise NotImplementedError(f"recursive pattern {pattern!r}")
        here = os.fspath(self)
        return (self._new(name) for name in glob.glob(os.path.join(glob.escape(here), pattern)))


class _PosixLiteral(_Literal, gpath.PosixGPath):
    """On POSIX systems."""


class _WindowsLiteral(_Literal, gpath.WindowsGPath):
    """On Windows."""


def _literal(path: os.PathLike | str) -> epath.Path:
    """A path of this machine as etils and Orbax take it."""
    return (_WindowsLiteral if os.name == "nt" else _PosixLiteral)(path)


def expanded(path: os.PathLike | str) -> str:
    """The path with `~` written out, which no shell does behind an equals sign."""
    path = os.fspath(path)
    return path if is_remote(path) else os.path.expanduser(path)


def is_remote(path: os.PathLike | str) -> bool:
    """Whether it is no path of this machine."""
    return "://" in os.fspath(path)


def folder(path: os.PathLike | str) -> epath.Path:
    """A folder that the user named, on a disk or in a bucket that can be reached.

    Raises:
      ValueError: another kind of store, no gcsfs, or no such bucket for this account.
    """
    path = expanded(path)
    if not is_remote(path):
        return _literal(path)
    if not path.startswith(_PREFIX):
        raise ValueError(f"{path}: of object stores only {_PREFIX}BUCKET/... is known")
    _check(path.removeprefix(_PREFIX).partition("/")[0])
    return epath.Path(path)


def writable_folder(path: os.PathLike | str) -> epath.Path:
    """`folder`, for one that checkpoints and results are going to be written below.

    Raises:
      ValueError: as `folder`, or tensorstore, which writes the checkpoints, cannot take the name.
    """
    if is_remote(path):
        if set(os.fspath(path)) & set("[]*?"):
            raise ValueError(
                f"{path}: names with [, ], * or ? are taken for patterns by what reads "
                "checkpoints in a bucket: take another folder"
            )
        return folder(path)
    found = folder(path)
    whole = os.path.abspath(found)
    try:
        length = len(whole.encode())
    except UnicodeEncodeError:
        raise ValueError(
            f"{whole!r}: checkpoints cannot be written below a name that is not UTF-8: take "
            "another folder"
        ) from None
    if os.name != "nt" and "\\" in whole:
        raise ValueError(
            f"{whole}: checkpoints cannot be written below a name with a backslash: take another "
            "folder"
        )
    if length > _LONGEST or any(len(name.encode()) > 255 for name in whole.split(os.sep)):
        raise ValueError(
            f"{whole[:80]}...: the path has {length} bytes; a folder that is written into may have "
            f"{_LONGEST}, and each name in it 255: take a shorter one"
        )
    return found


def absolute(path: os.PathLike | str) -> epath.Path:
    """A path without links and `..`; a store's as it is: etils would take it for a relative one."""
    return epath.Path(path) if is_remote(path) else _literal(os.path.abspath(path))


def filesystem():
    """gcsfs's own object, for what etils has no name for.

    Raises:
      ValueError: gcsfs is not installed.
    """
    _set_up()
    import fsspec

    return fsspec.filesystem("gcs")


@functools.cache
def _check(bucket: str) -> None:
    """Asks for a bucket: making a folder in one that is not there would create it."""
    _set_up()
    try:
        there = epath.Path(_PREFIX + bucket).exists()
    except Exception as error:  # gcsfs, aiohttp and google.auth raise kinds of their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{_PREFIX}{bucket} cannot be reached ({reason}): {_REMEDY}") from error
    if not there:
        raise ValueError(f"{_PREFIX}{bucket} is no bucket that can be seen from here: {_REMEDY}")


@functools.cache
def _set_up() -> None:
    """Once, before etils opens the first object.

    Raises:
      ValueError: gcsfs is not installed.
    """
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{_PREFIX} folders need gcsfs: pip install -e '.[gcs]'")
    os.environ.setdefault("EPATH_USE_TF", "false")  # one way, TensorFlow installed or not
    from fsspec import config

    # It would remember listings for ever, whatever tensorstore and other machines write.
    config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # tracebacks of errors that it raises
