"""Prepared crops -> batches of pixels, by Grain: uint8, bounded memory, position = step.

Letters: b images of this process, S px side of the square buffer, H = W px of the network's input.
"""

import dataclasses
import functools
import math
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import grain
import numpy as np

from dermjax.data import images
from dermjax.data.partners import Partners
from dermjax.models.preprocessing import resized

PADDING_ID = -1  # id of the images that only fill the last batch of an evaluation
SAMPLINGS = ("uniform", "balanced")


class Source(Protocol):
    """Random access to images: encoded, or pixels `[height, width, 3]` uint8."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> bytes | np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Reading:
    """How one process reads: its place among the processes, its threads, what it holds ready."""

    process_index: int = 0
    process_count: int = 1
    threads: int = 4
    prefetch_batches: int = 4  # Grain's own default is 500 batches: gigabytes


class _Shuffled:
    """Position -> entry: all entries, in a new order in each epoch, again and again.

    An epoch's order depends on seed, stream and epoch alone, so that any step can be begun with.
    Grain's own shuffle is not used: it walks through a cipher of 16 bits for each entry, which
    takes milliseconds where entries are few, as labels are here.
    """

    def __init__(self, entries: np.ndarray, seed: int, stream: int = 0):
        self._entries, self._seed = entries, (seed, stream)
        self._order = functools.lru_cache(maxsize=4)(self._drawn)  # several epochs are read at once

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, len(self._entries))
        return self._entries[self._order(epoch)[place]]

    def _drawn(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([*self._seed, epoch]).permutation(len(self._entries))


class _Balanced:
    """Position -> row: each N positions have each of N classes once, in a new order.

    In the k-th such cycle a class gives the k-th row of an endless shuffling of its own. All of it
    is a function of the position, so that any step can be begun with.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray, seed: int):
        own = labels[rows]
        self._rows = [
            _Shuffled(rows[own == label], seed, stream)
            for stream, label in enumerate(np.unique(own), start=1)
        ]
        self._turns = _Shuffled(np.arange(len(self._rows)), seed)

    def __len__(self) -> int:
        return len(self._turns)

    def __getitem__(self, position: int) -> int:
        return self._rows[self._turns[position]][position // len(self._rows)]


class _Share:
    """One process's block of every global batch, its rows in the batch's own order.

    Put on the devices, the processes' blocks are then the batch that one process would have: an
    image's place decides what is drawn for it and with whom it shares a batch norm group.
    """

    def __init__(self, rows: _Shuffled | _Balanced, batch_size: int, reading: Reading):
        self._rows, self._batch_size = rows, batch_size
        self.size = batch_size // reading.process_count
        self._start = reading.process_index * self.size

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size

    def __getitem__(self, step: int) -> np.ndarray:
        first = step * self._batch_size + self._start
        return np.array([self._rows[i] for i in range(first, first + self.size)], np.int32)

    def of_all(self, everyone: np.ndarray) -> np.ndarray:
        """The process's block of something that the whole batch has, such as a draw for each."""
        return everyone[self._start : self._start + self.size]


class _WithPartners:
    """Step -> `[2, b]`: a process's rows, and a partner of each, drawn anew at every step.

    What is drawn depends on the step, the place in the global batch and the seed alone.
    """

    def __init__(self, share: _Share, partners: Partners, batch_size: int, seed: int):
        self._share, self._partners = share, partners
        self._batch_size, self._seed = batch_size, seed

    def __len__(self) -> int:
        return len(self._share)

    def __getitem__(self, step: int) -> np.ndarray:
        rows = self._share[step]
        luck = np.random.default_rng([self._seed, step]).random(self._batch_size)
        return np.stack([rows, self._partners.draw(rows, self._share.of_all(luck))])


def to_pixels(data: bytes | np.ndarray) -> np.ndarray:
    """`[height, width, 3]` uint8 of an entry of a source."""
    return data if isinstance(data, np.ndarray) else images.decode(data)


class _ToBuffers(grain.transforms.Map):
    """Rows -> a batch, each decoded into the top left of its `[S, S, 3]` buffer, never resampled.

    A whole batch in one go: images are written where they stay. Made one by one and stacked, the
    fresh memory of each costs as much as half of its decoding.
    """

    def __init__(self, source: Source, labels: np.ndarray, size: int, side: int):
        self._source, self._labels = source, labels
        self._memory = _Memory(size, side, side, 3)

    def map(self, rows: np.ndarray) -> dict:
        buffers = self._memory.take()
        sizes = np.zeros((len(rows), 2), np.int32)
        for place, row in enumerate(rows.tolist()):
            sizes[place] = _fill(buffers[place], self._source[row])
        return {"image": buffers, "size": sizes, "id": rows, "label": self._labels[rows]}


class _ToPairs(grain.transforms.Map):
    """Rows and their partners -> a batch with a second image for each of its images."""

    def __init__(self, source: Source, labels: np.ndarray, size: int, side: int):
        self._source, self._to_buffers = source, _ToBuffers(source, labels, size, side)
        self._memory = _Memory(size, side, side, 3)

    def map(self, both: np.ndarray) -> dict:
        rows, partners = both
        batch = self._to_buffers.map(rows)
        buffers, sizes = self._memory.take(), batch["size"].copy()
        for place, (row, partner) in enumerate(zip(rows.tolist(), partners.tolist(), strict=True)):
            if partner == row:  # decoded already
                buffers[place] = batch["image"][place]
            else:
                sizes[place] = _fill(buffers[place], self._source[partner])
        return batch | {"partner_image": buffers, "partner_size": sizes, "partner_id": partners}


def _fill(buffer: np.ndarray, data: bytes | np.ndarray) -> tuple[int, int]:
    """Puts an image into the top left of a buffer and clears the rest; its height and width."""
    pixels = data if isinstance(data, np.ndarray) else images.decode(data, buffer)
    height, width = pixels.shape[:2]
    if not np.may_share_memory(pixels, buffer):
        buffer[:height, :width] = pixels
    buffer[:height, width:] = 0
    buffer[height:] = 0
    return height, width


class _Memory:
    """Arrays of one shape, in memory that is used again when nobody holds an array or part of it.

    Memory fresh from the system has to be cleared first: for a batch as much as a twentieth of its
    decoding, for pixels that need no decoding half of the work.
    """

    def __init__(self, *shape: int):
        self._shape = shape
        self._free: list[bytearray] = []

    def take(self) -> np.ndarray:
        """An array, uint8, with anything in it."""
        try:
            memory = self._free.pop()
        except IndexError:
            # No NumPy array: of a part of an array that lies in another array, NumPy would hold the
            # other one only, and this one, which is watched, would seem to be free.
            memory = bytearray(math.prod(self._shape))
        array = np.ndarray(self._shape, np.uint8, buffer=memory)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array


class _ToInput(grain.transforms.Map):
    """A row -> its image, resized to the network's `[H, W, 3]`, antialiased."""

    def __init__(self, source: Source, size: int, interpolation: str):
        self._source, self._size = source, size
        self._interpolation = interpolation

    def map(self, row: int) -> dict:
        pixels = to_pixels(self._source[int(row)])
        return {"image": resized(pixels, self._size, self._interpolation), "id": np.int32(row)}


@dataclasses.dataclass(frozen=True)
class Order:
    """Which rows of a data set come when.

    `uniform`: every epoch is a new permutation of the rows; batches run across the ends of epochs,
    so that few rows can fill a large batch. `balanced`: all classes of the rows take turns, and
    their counts differ by at most one in any number of first batches; each class goes through its
    own rows in a new order every time (class-balanced sampling, Kang et al. 2020, equation 1
    with q = 0).

    Raises:
      ValueError: an unknown sampling.
    """

    batch_size: int  # images, global
    seed: int
    start: int = 0  # first step
    sampling: str = "uniform"

    def __post_init__(self):
        if self.sampling not in SAMPLINGS:
            raise ValueError(
                f"sampling = {self.sampling!r} is not known; take {' or '.join(SAMPLINGS)}"
            )


def training_batches(
    source: Source,
    rows: Sequence[int] | np.ndarray,
    labels: np.ndarray,
    *,
    side: int,
    order: Order,
    reading: Reading,
    partners: Partners | None = None,
) -> Iterator[Mapping[str, np.ndarray]]:
    """Endless shuffled batches.

    What step n holds depends on the order's seed and n alone, not on the process count, the
    threads, or where a run was resumed.

    Args:
      source: encoded images by row, longest side at most `side`.
      rows: those to train on.
      labels: int per row of the SOURCE; any value for rows without one, which are a class of their
        own to `balanced`.
      side: S, px.
      order: which rows come when.
      reading: processes, threads, look-ahead.
      partners: of the rows, one of which comes with each image; None: images come alone.

    Yields:
      This process's share, a block of the global batch in the order of the processes:
      `image [b, S, S, 3]` uint8, `size [b, 2]` int32 (height and width of the valid top left),
      `id [b]` int32 (the row), `label [b]` int32; with `partners` also `partner_image`,
      `partner_size` and `partner_id` in the same form: those of a row without a partner are its
      own.

    Raises:
      ValueError: no rows.
    """
    rows, labels = np.asarray(rows), np.asarray(labels, np.int32)
    if len(rows) == 0:
        raise ValueError("there are no images to train on; check the split and the labels")
    balanced = order.sampling == "balanced"
    drawn = _Balanced(rows, labels, order.seed) if balanced else _Shuffled(rows, order.seed)
    share = _Share(drawn, order.batch_size, reading)
    if partners is None:
        batches = grain.MapDataset.source(share).map(_ToBuffers(source, labels, share.size, side))
    else:
        pairs = _WithPartners(share, partners, order.batch_size, order.seed)
        batches = grain.MapDataset.source(pairs).map(_ToPairs(source, labels, share.size, side))
    iterator = iter(
        batches.to_iter_dataset(
            grain.ReadOptions(
                # Each thread makes a batch; more of them than are held ready would have no work.
                num_threads=min(reading.threads, reading.prefetch_batches),
                prefetch_buffer_size=reading.prefetch_batches,
            )
        )
    )
    grain.experimental.set_next_index(iterator, order.start)
    return iterator


def evaluation_batches(
    source: Source,
    rows: Sequence[int] | np.ndarray,
    *,
    size: int,
    interpolation: str,
    batch_size: int,
    reading: Reading,
) -> Iterator[Mapping[str, np.ndarray]]:
    """Every row exactly once, in order; the last batch is filled with images of id -1.

    Args:
      rows: those to predict.
      size: H = W, px of the network's input; the whole crop is resized to it.
      interpolation: of the resizing, `bilinear` or `bicubic`.
      batch_size: global.

    Yields:
      This process's share: `image [b, H, W, 3]` uint8 and `id [b]` int32.
    """
    rows = np.asarray(rows)
    share = batch_size // reading.process_count
    steps = -(-len(rows) // batch_size)
    share_of_rows = grain.MapDataset.source(rows)[reading.process_index :: reading.process_count]
    dataset = share_of_rows.map(_ToInput(source, size, interpolation))
    options = grain.ReadOptions(
        num_threads=reading.threads, prefetch_buffer_size=reading.prefetch_batches * share
    )
    elements = iter(dataset.to_iter_dataset(options))
    for _ in range(steps):
        pixels = np.zeros((share, size, size, 3), np.uint8)
        ids = np.full(share, PADDING_ID, np.int32)
        for slot, element in zip(range(share), elements, strict=False):
            pixels[slot], ids[slot] = element["image"], element["id"]
        yield {"image": pixels, "id": ids}


@dataclasses.dataclass(frozen=True)
class Images:
    """Images and how they are read, as a network is asked of them.

    Attributes:
      source: their records.
      reading: processes, threads, look-ahead.
    """

    source: Source
    reading: Reading

    def evaluation_batches(
        self, rows: np.ndarray, *, size: int, interpolation: str, batch_size: int
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """These rows once each, resized to `size` px."""
        return evaluation_batches(
            self.source,
            rows,
            size=size,
            interpolation=interpolation,
            batch_size=batch_size,
            reading=self.reading,
        )
