"""Prepared crops -> batches of pixels, by Grain: uint8, bounded memory, position = step.

Letters: b images of this process, S px side of the square buffer, H = W px of the network's input.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import grain
import numpy as np
from PIL import Image

from dermjax.data import images

PADDING_ID = -1  # id of the images that only fill the last batch of an evaluation


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


class _Rows:
    """The chosen rows of a source as Grain wants them."""

    def __init__(self, source: Source, rows: np.ndarray, labels: np.ndarray):
        self._source, self._rows, self._labels = source, rows, labels

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict:
        row = int(self._rows[index])
        return {"data": self._source[row], "id": row, "label": int(self._labels[row])}


class _Share:
    """Of every global batch, one process's block: its rows in the batch's own order.

    Put on the devices, the processes' blocks are then the batch that one process would have: an
    image's place decides what is drawn for it and with whom it shares a batch norm group.
    """

    def __init__(self, elements: grain.MapDataset, batch_size: int, reading: Reading):
        self._elements, self._batch_size = elements, batch_size
        self._size = batch_size // reading.process_count
        self._start = reading.process_index * self._size

    def __len__(self) -> int:
        return len(self._elements) // self._batch_size * self._size

    def __getitem__(self, index: int) -> dict:
        batch, place = divmod(index, self._size)
        return self._elements[batch * self._batch_size + self._start + place]


def to_pixels(data: bytes | np.ndarray) -> np.ndarray:
    """`[height, width, 3]` uint8 of an entry of a source."""
    return data if isinstance(data, np.ndarray) else images.decode(data)


class _ToBuffer(grain.transforms.Map):
    """Decode into the top left of an `[S, S, 3]` buffer: one shape for all, no resampling."""

    def __init__(self, side: int):
        self._side = side

    def map(self, element: dict) -> dict:
        pixels = to_pixels(element["data"])
        height, width = pixels.shape[:2]
        buffer = np.zeros((self._side, self._side, 3), np.uint8)
        buffer[:height, :width] = pixels
        return {
            "image": buffer,
            "size": np.array([height, width], np.int32),
            "id": np.int32(element["id"]),
            "label": np.int32(element["label"]),
        }


class _ToInput(grain.transforms.Map):
    """Decode and resize to the network's `[H, W, 3]`, antialiased."""

    def __init__(self, size: int, interpolation: str):
        self._size, self._filter = size, Image.Resampling[interpolation.upper()]

    def map(self, element: dict) -> dict:
        image = Image.fromarray(to_pixels(element["data"]))
        image = image.resize((self._size, self._size), self._filter)
        return {"image": np.asarray(image), "id": np.int32(element["id"])}


def training_batches(
    source: Source,
    rows: Sequence[int] | np.ndarray,
    labels: np.ndarray,
    *,
    side: int,
    batch_size: int,
    seed: int,
    start: int,
    reading: Reading,
) -> Iterator[Mapping[str, np.ndarray]]:
    """Endless shuffled batches from step `start` on.

    Every epoch is a new permutation of the rows; batches run across the ends of epochs, so that
    few rows can fill a large batch. What step n holds depends on `seed` and n alone, not on the
    process count, the threads, or where a run was resumed.

    Args:
      source: encoded images by row, longest side at most `side`.
      rows: those to train on.
      labels: int per row of the SOURCE; any value for rows without one.
      side: S, px.
      batch_size: global.
      seed: of the order.
      start: first step.
      reading: processes, threads, look-ahead.

    Yields:
      This process's share, a block of the global batch in the order of the processes:
      `image [b, S, S, 3]` uint8, `size [b, 2]` int32 (height and width of the valid top left),
      `id [b]` int32 (the row), `label [b]` int32.

    Raises:
      ValueError: no rows.
    """
    if len(rows) == 0:
        raise ValueError("there are no images to train on; check the split and the labels")
    dataset = (
        grain.MapDataset.source(_Rows(source, np.asarray(rows), labels))
        .seed(seed)
        .shuffle()
        .repeat()
    )
    share = _Share(dataset, batch_size, reading)
    dataset = grain.MapDataset.source(share).map(_ToBuffer(side))
    dataset = dataset.batch(batch_size // reading.process_count, drop_remainder=True)
    iterator = iter(
        dataset.to_iter_dataset(
            grain.ReadOptions(
                num_threads=reading.threads, prefetch_buffer_size=reading.prefetch_batches
            )
        )
    )
    grain.experimental.set_next_index(iterator, start)
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
    dataset = grain.MapDataset.source(_Rows(source, rows, np.zeros(len(source), np.int32)))
    dataset = dataset[reading.process_index :: reading.process_count].map(
        _ToInput(size, interpolation)
    )
    options = grain.ReadOptions(
        num_threads=reading.threads, prefetch_buffer_size=reading.prefetch_batches * share
    )
    elements = iter(dataset.to_iter_dataset(options))
    for _ in range(steps):
        batch = {
            "image": np.zeros((share, size, size, 3), np.uint8),
            "id": np.full(share, PADDING_ID, np.int32),
        }
        for slot, element in zip(range(share), elements, strict=False):
            batch["image"][slot], batch["id"][slot] = element["image"], element["id"]
        yield batch
