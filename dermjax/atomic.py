"""Files that are whole or not there, however the process that writes them ends."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PART = ".part"  # the ending of what is being written


@contextlib.contextmanager
def replace(path: os.PathLike) -> Iterator[Path]:
    """Where to write beside `path`, in a folder that exists; it gets the name when it is complete.

    What fails on the way leaves the older file. Several processes may write at once: the last one's
    file stays.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
