"""Files of a run's folder, on a disk or in a bucket: whole under their names, or not there."""

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

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
