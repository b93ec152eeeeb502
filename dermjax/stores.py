"""Folders of an object store, `gs://bucket/...`, where they are not as those of a disk.

etils reaches them by gcsfs (extra `gcs`), Orbax writes checkpoints there by tensorstore. An object
gets its name when it is closed, whole, or not at all: nothing needs a temporary name. There is no
appending, no link, and no lock: two processes in one folder are kept apart by nobody.
"""

import functools
import importlib.util
import logging
import os

from etils import epath

_PREFIX = "gs://"
_REMEDY = (
    "check the name, the network, and that the account of `gcloud auth application-default login` "
    "has storage.buckets.get and may read and write objects"
)


def is_remote(path: os.PathLike | str) -> bool:
    """Whether it is no path of this machine."""
    return "://" in os.fspath(path)


def folder(path: os.PathLike | str) -> epath.Path:
    """A folder that the user named, on a disk or in a bucket that can be reached.

    Raises:
      ValueError: another kind of store, no gcsfs, or no such bucket for this account.
    """
    path = os.fspath(path)
    if is_remote(path):
        if not path.startswith(_PREFIX):
            raise ValueError(f"{path}: of object stores only {_PREFIX}BUCKET/... is known")
        _check(path.removeprefix(_PREFIX).partition("/")[0])
    return epath.Path(path)


def absolute(path: os.PathLike | str) -> epath.Path:
    """Without links and `..`; of a store as it is: etils would take it for a relative path."""
    path = epath.Path(path)
    return path if is_remote(path) else path.resolve()


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
