"""Crops of lesions -> prepared records on disk: each cropped, shrunk and stored once, in shards.

The originals are large (a clinic's photograph takes some 50 ms to decode) and training reads each
of them hundreds of times, so crops of at most `max_side` px are made once. A shard is some thousand
consecutive crops: what a killed preparation loses at most, and what bounds its memory.
"""

import contextlib
import errno
import functools
import itertools
import operator
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dermjax.data.crops import Crop, encode
from dermjax.data.records import FORMS, Records
from dermjax.data.work import Track
from dermjax.data.workers import in_order

_SHARDS = 256  # at most: each is a few open files in training
_SHARD_SIZE = 1024  # crops, at least: a TFDS data set costs a tenth of a second
_ASIDE = ".incomplete"
_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class PreparedSource:
    """Random access to prepared crops: `source[i]` is row i, a JPEG or `[height, width, 3]` uint8.

    Shards are opened when they are first read. A damaged one is told by a ValueError.
    """

    def __init__(self, shards: "list[_Shard]", form):
        self._shards, self._form = shards, form
        self._size = len(shards[0].rows) if shards else 1
        self._length = sum(len(shard.rows) for shard in shards)
        self._open: dict[int, Records] = {}
        self._lock = threading.Lock()  # many threads read

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> bytes | np.ndarray:
        row = operator.index(row)
        if not 0 <= row < self._length:
            raise IndexError(f"row {row} of {self._length}")
        number, place = divmod(row, self._size)
        try:
            return self._shard(number)[place]
        except Exception as error:  # TFDS, ArrayRecord and numpy fail each in their own way
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"the prepared images in {self._shards[number].folder} are damaged ({reason}): "
                "remove this folder and run the same command again"
            ) from None

    def _shard(self, number: int) -> Records:
        records = self._open.get(number)
        if records is None:
            with self._lock:
                records = self._open.get(number)
                if records is None:
                    shard = self._shards[number]
                    records = self._open[number] = self._form.open(shard.folder, shard.rows)
        return records


def prepare(
    directory: str | os.PathLike,
    crops: Sequence[Crop],
    *,
    max_side: int,
    workers: int,
    track: Track,
    records: str = "jpeg",
    shard_size: int | None = None,
) -> PreparedSource:
    """Makes what is missing of the prepared crops in `directory`, and opens them.

    A shard gets its name when it is whole: a call that was killed is continued behind the last
    shard that it finished. One process at a time may work in `directory`.

    Args:
      directory: one per content and settings; the caller names it by a fingerprint.
      crops: one per row of the manifest.
      max_side: px, bound of a crop's longest side; smaller ones are not enlarged.
      workers: processes that decode.
      track: wraps an iterable of known length to show progress: `(items, total, label)`; of what is
        missing.
      records: `jpeg`, or `pixels`: max_side * max_side * 3 bytes each, to be read without decoding.
      shard_size: crops in a shard; by default 1,024 or, of very many, what makes 256 shards.

    Raises:
      ValueError: fewer than 8 px for `max_side`; a photograph that cannot be read.
      OSError: the disk is full, or is going to be, and says how much is needed and free; or a
        worker was killed.
    """
    if max_side < 8:
        raise ValueError(f"max_side = {max_side} px is less than 8; the paper's value is 512")
    form = FORMS[records](max_side)
    directory = pathlib.Path(directory)
    size = shard_size or max(_SHARD_SIZE, -(-len(crops) // _SHARDS))
    rows = range(len(crops))
    shards = [_Shard(directory, rows[i : i + size]) for i in range(0, len(crops), size)]
    if not all(shard.finished for shard in shards):
        directory.mkdir(parents=True, exist_ok=True)
        encoder = functools.partial(encode, max_side=max_side, records=records)
        _Preparation(directory, crops, shards, form, encoder).run(workers, track)
    return PreparedSource(shards, form)


class _Shard:
    """Consecutive rows and the folder that holds them."""

    def __init__(self, directory: pathlib.Path, rows: range):
        self.rows = rows
        self.folder = directory / f"rows-{rows[0]:07d}-{rows[-1]:07d}"
        self.finished = self.folder.exists()

    def write(self, form, encoded: Iterable) -> None:
        """Writes all aside, waits until it is on the disk, and only then gives it its name."""
        aside = self.folder.with_name(self.folder.name + _ASIDE)
        aside.mkdir()
        try:
            form.write(aside, encoded, self.rows)
            for path in aside.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file)
            aside.rename(self.folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)  # of all things, a full disk needs the room
            raise
        self.finished = True


class _Preparation:
    """One call's work on the shards that are missing."""

    def __init__(
        self, directory: pathlib.Path, crops: Sequence[Crop], shards: list, form, encode: Callable
    ):
        self._directory, self._crops, self._shards, self._form = directory, crops, shards, form
        self._encode = encode
        self._bytes, self._encoded = 0, 0  # of this call, to tell what the rest will need
        for left in directory.glob("*" + _ASIDE):  # by a killed call
            shutil.rmtree(left)

    def run(self, workers: int, track: Track) -> None:
        """All missing shards, in order."""
        if self._form.bytes_each and self._needed() > self._free():
            raise OSError(f"the disk is too small for the prepared images: {self._remedy()}")
        missing = [shard for shard in self._shards if not shard.finished]
        rows = itertools.chain.from_iterable(shard.rows for shard in missing)
        crops = [self._crops[row] for row in rows]
        with contextlib.closing(in_order(self._encode, crops, workers=workers)) as encoded:
            tracked = iter(track(map(self._count, encoded), len(crops), "preparing images"))
            for shard in missing:
                try:
                    shard.write(self._form, itertools.islice(tracked, len(shard.rows)))
                except (OSError, RuntimeError) as error:  # ArrayRecord raises RuntimeError
                    reason = next((text for text in _FULL if text in str(error)), None)
                    if reason is None:
                        raise
                    raise OSError(f"preparing images: {reason}: {self._remedy()}") from None
            for _ in tracked:  # there are none: the progress notices its end
                pass

    def _count(self, record):
        self._encoded += 1
        self._bytes += self._form.bytes_each or len(record)
        return record

    def _missing(self) -> int:
        return sum(len(shard.rows) for shard in self._shards if not shard.finished)

    def _needed(self) -> float:
        """Bytes of what is missing; of JPEGs as those made so far let expect."""
        return self._missing() * (self._form.bytes_each or self._bytes / max(self._encoded, 1))

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def _remedy(self) -> str:
        done, needed = len(self._crops) - self._missing(), self._needed() / 1e6
        return (
            f"{self._directory} has {done:,} of {len(self._crops):,} images and needs "
            f"{f'about {needed:,.0f} MB' if needed else 'room'} for the others, "
            f"{self._free() / 1e6:,.0f} MB are free; make room or take another disk by "
            "--config.data.cache_dir: what is done is kept, and the same command continues"
        )
