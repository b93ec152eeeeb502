"""Crops of lesions -> a TFDS data set: each cropped, shrunk and stored once, as ArrayRecord.

The originals are large (a clinic's photograph takes some 50 ms to decode) and training reads each
of them hundreds of times, so crops of at most `max_side` px are made once. TFDS writes and reads
them without TensorFlow.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from dermjax.data import images

_SPLIT = "images"  # one TFDS split holds all; which of them train is decided at run time
_QUALITY = 95  # JPEG; at 90 and below 8 x 8 blocks show on smooth skin

Track = Callable[[Iterable, int, str], Iterable]


@dataclasses.dataclass(frozen=True)
class Crop:
    """One record to prepare, boxes being `(x, y, w, h)` in px of the upright photograph.

    Attributes:
      path: of the photograph.
      box: the lesion's; None for the whole photograph.
      redact: parts that nobody may recognise, blacked out before anything else.
    """

    path: str
    box: images.Box | None
    redact: tuple[images.Box, ...] = ()


class PreparedImages(tfds.core.GeneratorBasedBuilder):
    """Crops of photographs, in the order of the manifest: record i is row i."""

    VERSION = tfds.core.Version("1.0.0")
    name = "dermjax_images"

    def __init__(
        self, *, crops: Sequence[Crop], max_side: int, workers: int, track: Track, **kwargs
    ):
        self._crops, self._max_side = crops, max_side
        self._workers, self._track = workers, track
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
        encoded = self._track(self._encode_all(), len(self._crops), "preparing images")
        for row, data in enumerate(encoded):
            yield row, {"image": io.BytesIO(data), "row": row}

    def _encode_all(self) -> Iterator[bytes]:
        """JPEG bytes in order, a bounded number ahead (threads: Pillow works without the GIL)."""
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            pending = collections.deque()
            for crop in self._crops:
                pending.append(pool.submit(self._encode, crop))
                if len(pending) > 4 * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _encode(self, crop: Crop) -> bytes:
        image = images.read_crop(crop.path, crop.box, self._max_side, crop.redact)
        return images.encode_jpeg(image, _QUALITY)


class PreparedSource:
    """Random access to prepared crops: `source[i]` is the JPEG of row i."""

    def __init__(self, directory: epath.PathLike):
        builder = tfds.builder_from_directory(directory)
        self._records = builder.as_data_source(
            split=_SPLIT, decoders={"image": tfds.decode.SkipDecoding()}
        )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, row: int) -> bytes:
        record = self._records[int(row)]
        if int(record["row"]) != row:
            raise ValueError(
                f"prepared record {row} holds row {int(record['row'])}: the cache is damaged; "
                "remove its folder and run again"
            )
        return record["image"]


def prepare(
    directory: epath.PathLike,
    crops: Sequence[Crop],
    *,
    max_side: int,
    workers: int,
    track: Track,
) -> PreparedSource:
    """Make the data set under `directory` unless it is there, and open it.

    A call that is killed leaves an incomplete folder that the next call replaces: what is found
    under the final name is whole.

    Args:
      directory: one per content and settings; the caller names it by a fingerprint.
      crops: one per row of the manifest.
      max_side: px, bound of a crop's longest side; smaller ones are not enlarged.
      workers: threads that decode.
      track: wraps an iterable of known length to show progress: `(items, total, label)`.

    Raises:
      ValueError: fewer than 8 px for `max_side`.
    """
    if max_side < 8:
        raise ValueError(f"max_side = {max_side} px is less than 8; the paper's value is 512")
    tfds.disable_progress_bar()
    builder = PreparedImages(
        crops=crops,
        max_side=max_side,
        workers=workers,
        track=track,
        data_dir=epath.Path(directory),
    )
    # TFDS announces itself on stdout; the caller's `track` is what the user should see.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(file_format="array_record")
    return PreparedSource(builder.data_path)
