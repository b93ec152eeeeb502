"""How prepared crops lie on disk, a shard at a time: as JPEGs, or as pixels ready to be mapped.

A form writes a shard's worth of crops, encoded by `crops.ENCODERS`, into an empty folder, and opens
such a folder for random access. What makes a folder whole is its caller's business.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import tensorflow_datasets as tfds

_SPLIT = "images"  # one TFDS split holds all; which of them train is decided at run time


class Records(Protocol):
    """An open shard: its crops by their place."""

    def __getitem__(self, place: int) -> bytes | np.ndarray: ...


class Jpegs:
    """JPEGs in a TFDS data set (ArrayRecord), a tenth of the size of their pixels."""

    bytes_each = None  # not known before they are encoded

    def __init__(self, max_side: int):
        self.max_side = max_side

    def write(self, folder: pathlib.Path, encoded: Iterable[bytes], rows: range) -> None:
        """Records of `rows`, in order, into an empty folder; errors of TFDS and of ArrayRecord."""
        tfds.disable_progress_bar()
        builder = PreparedImages(encoded=encoded, rows=rows, data_dir=folder)
        # TFDS announces itself on stdout; the caller's progress is what the user should see.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(file_format="array_record")

    def open(self, folder: pathlib.Path, rows: range) -> Records:
        """JPEGs by their place in the shard; any error means that the folder is damaged."""
        builder = tfds.builder_from_directory(
            folder / PreparedImages.name / str(PreparedImages.VERSION)
        )
        records = builder.as_data_source(
            split=_SPLIT, decoders={"image": tfds.decode.SkipDecoding()}
        )
        return _JpegsOf(records, rows)


class PreparedImages(tfds.core.GeneratorBasedBuilder):
    """The TFDS data set of one shard, in the order of the manifest."""

    VERSION = tfds.core.Version("1.0.0")
    name = "dermjax_images"

    def __init__(self, *, encoded: Iterable[bytes], rows: range, **kwargs):
        self._encoded, self._rows = encoded, rows
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "row": np.int64,
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description="Lesions cropped from photographs.",
            features=features,
            disable_shuffling=True,  # TFDS would order records by a hash of their keys
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return {_SPLIT: self._generate_examples()}

    def _generate_examples(self):
        for row, data in zip(self._rows, self._encoded, strict=True):
            yield row, {"image": io.BytesIO(data), "row": row}


class _JpegsOf:
    """A shard's JPEGs; each record says which row of the manifest it is."""

    def __init__(self, records, rows: range):
        self._records, self._rows = records, rows
        if len(records) != len(rows):
            raise ValueError(f"{len(records)} records instead of {len(rows)}")

    def __getitem__(self, place: int) -> bytes:
        record = self._records[place]
        if record["row"] != self._rows[place]:
            raise ValueError(f"row {int(record['row'])} in place of row {self._rows[place]}")
        return record["image"]


class Pixels:
    """Pixels in the top left of `[S, S, 3]` buffers of an array that is mapped into memory.

    Nothing is decoded in training, which takes CPU in exchange for disk. They are the exact crops:
    they have not been through a JPEG as the other form's have.
    """

    def __init__(self, max_side: int):
        self.max_side = max_side
        self.bytes_each = max_side * max_side * 3

    def write(self, folder: pathlib.Path, encoded: Iterable[np.ndarray], rows: range) -> None:
        """Records of `rows`, in order, into an empty folder; OSError where the disk is full."""
        sizes = np.zeros((len(rows), 2), np.int32)
        shape = (len(rows), self.max_side, self.max_side, 3)
        # Written, not mapped: a mapped file on a full disk kills the process without a word.
        with (folder / "pixels.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for place, pixels in zip(range(len(rows)), encoded, strict=True):
                height, width = sizes[place] = pixels.shape[:2]
                buffer = np.zeros(shape[1:], np.uint8)
                buffer[:height, :width] = pixels
                file.write(buffer.data)
        np.save(folder / "sizes.npy", sizes)

    def open(self, folder: pathlib.Path, rows: range) -> Records:
        """Read-only views by their place; any error means that the folder is damaged."""
        buffers = np.load(folder / "pixels.npy", mmap_mode="r")
        sizes = np.load(folder / "sizes.npy")
        if len(sizes) != len(rows) or buffers.shape != (len(rows), self.max_side, self.max_side, 3):
            raise ValueError(f"{len(sizes)} sizes and pixels {buffers.shape} for {len(rows)} rows")
        return _PixelsOf(np.asarray(buffers), sizes)  # a plain view: memmap's own is slow to index


class _PixelsOf:
    """A shard's crops as views of the mapped file."""

    def __init__(self, buffers: np.ndarray, sizes: np.ndarray):
        self._buffers, self._sizes = buffers, sizes.tolist()

    def __getitem__(self, place: int) -> np.ndarray:
        height, width = self._sizes[place]
        return self._buffers[place, :height, :width]


FORMS = {"jpeg": Jpegs, "pixels": Pixels}
