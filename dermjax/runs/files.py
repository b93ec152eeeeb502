"""Files of a run's folder, on a disk or in a bucket: whole under their names, or not there."""

import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from etils import epath

from dermjax import atomic, stores
from dermjax.training import processes


def write_text(path: epath.Path, text: str) -> None:
    """The whole text under its name, as UTF-8, or nothing."""
    with whole_file(path) as file:
        # A file name that is no Unicode holds surrogates, which UTF-8 refuses.
        file.write(text.encode(errors="replace"))


@contextlib.contextmanager
def whole_file(path: epath.Path) -> Iterator[BinaryIO]:
    """Opens a file that gets its name when it is complete: a killed process leaves no half file.

    Of several processes that train together, the first one writes; what the others write is lost.
    """
    if not processes.is_first():
        yield io.BytesIO()
        return
    if stores.is_remote(path):
        whole = io.BytesIO()  # an object that is closed counts, also after an error
        yield whole
        path.write_bytes(whole.getvalue())
        return
    with atomic.replace(path) as beside, beside.open("wb") as file:
        yield file


def read_arrays(path: epath.Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file that `write_arrays` wrote; None where there is none, or a torn one."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def write_arrays(path: epath.Path, **arrays: np.ndarray) -> None:
    """Writes an `.npz` without pickled objects."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called `allow_pickle`
