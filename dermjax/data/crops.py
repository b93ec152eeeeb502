"""A lesion out of one photograph, cut and encoded as training will read it."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from dermjax.data import images

_QUALITY = 95  # JPEG; at 90 and below 8 x 8 blocks show on smooth skin


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


def to_jpeg(image: Image.Image) -> bytes:
    """The record of an RGB crop as a JPEG."""
    return images.encode_jpeg(image, _QUALITY)


def to_pixels(image: Image.Image) -> np.ndarray:
    """The record of an RGB crop as `[height, width, 3]` uint8."""
    return np.asarray(image)


ENCODERS: dict[str, Callable[[Image.Image], bytes | np.ndarray]] = {
    "jpeg": to_jpeg,
    "pixels": to_pixels,
}


def encode(crop: Crop, *, max_side: int, records: str) -> bytes | np.ndarray:
    """Reads, cuts and shrinks a crop to at most `max_side` px, and encodes it.

    Args:
      records: of ENCODERS.

    Raises:
      FileNotFoundError, ValueError: see `images.read_crop`.
    """
    return ENCODERS[records](images.read_crop(crop.path, crop.box, max_side, crop.redact))
