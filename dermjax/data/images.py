"""Photographs as they come from clinics, turned into upright 8-bit RGB."""

import io
import os
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

# Twice Pillow's warning bound, where Pillow itself refuses: far above any camera's photograph,
# low enough that a forged header cannot fill the memory (about 0.7 GB).
MAX_PIXELS = 178_956_970
_ORIENTATION = 0x0112
_SMALL = 128  # px that a look at a photograph keeps of its sides, at least
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Between half the bound and the bound Pillow only warns; the bound here is the documented one.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# Damaged EXIF costs the orientation only; a warning per photo would bury the report.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


def read_rgb(source, max_side: int | None = None) -> Image.Image:
    """Reads one photograph: upright (EXIF), 8 bit, RGB.

    Transparency is laid on white; 16 bits are scaled to 8; CMYK and grayscale are converted;
    colour profiles are ignored; of several frames the first is taken.

    Args:
        source: A path, or the file's bytes.
        max_side: Longest side wanted, in px; None keeps the size. A JPEG is then decoded at a
            reduced size where that is enough. Boxes refer to the full size: crop first.

    Returns:
        A loaded RGB image.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an image, truncated, or more than MAX_PIXELS; the text says which.
    """
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            data = file.read()
        try:
            return read_rgb(data, max_side)
        except ValueError as error:
            raise ValueError(f"{os.fspath(source)}: {error}") from None
    image, orientation = _open(source)
    if max_side is not None:
        # A factor of two is left for the antialiased step, as in Pillow's thumbnail.
        image.draft(None, tuple(2 * side for side in _fitted(image.size, max_side)))
    image = _rgb(_load(image))
    if max_side is not None:
        image = shrink(image, max_side)
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


class Probe(NamedTuple):
    """What one look at a file shows."""

    width: int  # px, upright
    height: int
    mode: str  # format and Pillow's mode, such as 'JPEG RGB'
    small: Image.Image  # RGB, upright, reduced where the photograph is large


def probe(data: bytes) -> Probe:
    """Reads a whole file once, to find what would fail later.

    Args:
        data: The file's bytes.

    Raises:
        ValueError: As `read_rgb`.
    """
    image, orientation = _open(data)
    width, height = image.size
    mode = f"{image.format} {image.mode}"
    # Decoding at 1/8 still reads every compressed byte, so a cut file is found, in half the time.
    image.draft(None, (max(width // 8, _SMALL), max(height // 8, _SMALL)))
    small = _rgb(_load(image))
    small = small.reduce(max(min(small.size) // (2 * _SMALL), 1))
    if orientation in _TURNS:
        small = small.transpose(_TURNS[orientation])
    if orientation >= 5:
        width, height = height, width
    return Probe(width, height, mode, small)


def crop(image: Image.Image, box) -> Image.Image:
    """Cuts a lesion out of an upright photograph.

    Args:
        image: Any image.
        box: (x, y, w, h) in px, or None (or NaN in it) for the whole image.

    Returns:
        The crop, at least one pixel on each side, clipped to the image.

    Raises:
        ValueError: The box lies outside the image.
    """
    if box is None or np.isnan(np.asarray(box, float)).any():
        return image
    x, y, w, h = (float(side) for side in box)
    left, top = max(int(np.floor(x + 0.5)), 0), max(int(np.floor(y + 0.5)), 0)
    right = min(max(int(np.floor(x + w + 0.5)), left + 1), image.width)
    bottom = min(max(int(np.floor(y + h + 0.5)), top + 1), image.height)
    if right <= left or bottom <= top:
        raise ValueError(
            f"box x={x:g} y={y:g} w={w:g} h={h:g} lies outside the image of "
            f"{image.width} x {image.height} px: correct the box"
        )
    return image.crop((left, top, right, bottom))


def shrink(image: Image.Image, max_side: int) -> Image.Image:
    """Scales down so that the longest side is at most `max_side`; never up.

    Args:
        image: Any RGB image.
        max_side: Bound on the longest side, px.

    Returns:
        The image itself if it is small enough, else an antialiased smaller one.

    Raises:
        ValueError: `max_side` is not positive.
    """
    size = _fitted(image.size, max_side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """An RGB image as JPEG bytes.

    Args:
        image: RGB.
        quality: 1 to 95; colour is kept at full resolution from 90 on.
    """
    # Lesions differ in small colour differences, which 4:2:0 would blur.
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Encoded bytes as `[H, W, 3]` uint8.

    Args:
        data: A JPEG or any other file that `read_rgb` reads.
    """
    return np.array(read_rgb(data))


def _fitted(size, max_side) -> tuple[int, int]:
    """The size with its longest side at most max_side."""
    if max_side < 1:
        raise ValueError(f"max_side {max_side} must be at least 1 px")
    if max(size) <= max_side:
        return tuple(size)
    scale = max_side / max(size)
    return tuple(max(1, round(side * scale)) for side in size)


def _open(data) -> tuple[Image.Image, int]:
    """Opens lazily; returns the image and its EXIF orientation."""
    if not data:
        raise ValueError("the file is empty (0 bytes): copy it again")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PIXELS:,} pixels: save it smaller") from None
    except Exception as error:  # Pillow's parsers raise whatever a damaged header leads them to
        remedy = "convert HEIC to JPEG" if data[4:12].startswith(b"ftyp") else "save it as JPEG"
        if isinstance(error, Image.UnidentifiedImageError):
            raise ValueError(f"not an image file that can be read: {remedy}") from None
        raise ValueError(f"damaged image header ({_line(error)}): copy it again") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels: save it smaller"
        )
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range: save it as 8-bit RGB")
    if image.format == "TIFF":
        return image, 1  # Pillow's TIFF reader turns the pixels (and the size) itself
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF does not make the pixels useless
        orientation = 1
    return image, orientation if 1 <= orientation <= 8 else 1


def _load(image) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # as in _open: OSError, SyntaxError, ValueError, struct.error ...
        raise ValueError(f"truncated or damaged image ({_line(error)}): copy it again") from None
    return image


def _line(error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _rgb(image) -> Image.Image:
    """8-bit RGB from any of Pillow's modes."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float32)
        # 16-bit data may also arrive in mode I (32 bits); both have the range 0..65535.
        image = Image.fromarray(np.clip(levels / 257 + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
