"""Photographs as they come from clinics, turned into upright 8-bit RGB."""

import contextlib
import io
import math
import os
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

# Twice Pillow's warning bound, where Pillow itself refuses: far above any camera's photograph,
# low enough that a forged header cannot fill the memory (about 0.7 GB).
MAX_PIXELS = 178_956_970
_ORIENTATION = 0x0112
_STRAY = 0.01  # of a JPEG's bytes that may lie unused before a marker
_GRAVE = ("premature end of data segment", "bad Huffman code", "instead of RST")
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

Box = tuple[float, float, float, float]

# Between half the bound and the bound Pillow only warns; the bound here is the documented one.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# Damaged EXIF costs the orientation only; a warning per photo would bury the report.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
with contextlib.suppress(ImportError):  # of the extra `heic`
    import pillow_heif

    pillow_heif.register_heif_opener()


def read_rgb(source, max_side: int | None = None) -> Image.Image:
    """Reads one photograph: upright (EXIF), 8 bit, RGB.

    Transparency is laid on white; 16 bits are scaled to 8; CMYK and grayscale are converted;
    colour profiles are ignored; of several frames the first is taken.

    Args:
        source: A path, or the file's bytes.
        max_side: Longest side wanted, in px; None keeps the size. A JPEG is then decoded at a
            reduced size where that is enough. Boxes refer to the full size: see `read_crop`.

    Returns:
        A loaded RGB image.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an image, truncated, or more than MAX_PIXELS; the text says which.
    """
    return read_crop(source, None, max_side)


def read_crop(
    source, box: Box | None, max_side: int | None, redact: Sequence[Box] = ()
) -> Image.Image:
    """Reads a lesion out of one photograph: `read_rgb`, `black_out`, `crop` and `shrink` in one.

    Only what the crop needs is decoded, turned and converted: of a JPEG, the smallest of its full,
    1/2, 1/4 and 1/8 size that still has the crop's pixels. The crop's edges stay where they are at
    full size, to a fraction of a reduced pixel.

    Args:
        source: A path, or the file's bytes.
        box: (x, y, w, h) in px of the upright photograph at full size; None for all of it.
        max_side: Bound on the crop's longest side, px; None keeps its size.
        redact: Boxes like `box` that are blacked out before anything is cropped or shrunk.

    Returns:
        The crop, of the size that `shrink(crop(...), max_side)` has.

    Raises:
        FileNotFoundError: No such file.
        ValueError: As `read_rgb`; the box lies outside the image; a box to redact is no box.
    """
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            data = file.read()
        try:
            return read_crop(data, box, max_side, redact)
        except ValueError as error:
            raise ValueError(f"{os.fspath(source)}: {error}") from None
    image, orientation = _open(source)
    upright = image.size[::-1] if orientation >= 5 else image.size
    edges = _stored(_edges(upright, box), upright, orientation)
    black = [_stored(area, upright, orientation) for area in _areas(redact)]
    width, height = edges[2] - edges[0], edges[3] - edges[1]
    size = (width, height) if max_side is None else _fitted((width, height), max_side)
    scale = _draft(image, max(width, height) / max(size))

    # Cut first: what is left out need not be converted. The rest of a pixel at the edges, where a
    # reduced pixel lies across the box, is left to the resampling.
    edges = [edge / scale for edge in edges]
    left, top = math.floor(edges[0]), math.floor(edges[1])
    right, bottom = math.ceil(edges[2]), math.ceil(edges[3])
    image = _load(image)
    if (left, top, right, bottom) != (0, 0, *image.size):
        image = image.crop((left, top, right, bottom))
    image = _rgb(image)
    # A reduced pixel, and colour stored at half the size, have something of the pixels beside them.
    spread = 1 if scale > 1 else 0
    _paint(image, [[e / scale for e in a] for a in black], spread=spread, origin=(left, top))
    if scale > 1 or size != image.size:
        inside = (edges[0] - left, edges[1] - top, edges[2] - left, edges[3] - top)
        image = image.resize(size, Image.Resampling.BICUBIC, inside, reducing_gap=3.0)
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


class Probe(NamedTuple):
    """What one look at a file shows."""

    width: int  # px, upright
    height: int
    mode: str  # format and Pillow's mode, such as 'JPEG RGB'
    small: Image.Image  # RGB, upright, reduced where the photograph is large
    orientation: int = 1  # by its EXIF, 1 to 8, which has been undone
    damage: str = ""  # what the decoder says of data that are missing, though it makes an image
    frames: int = 1  # of which the first is taken; 2 where there are several


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
    # A phone's MPO has the same photograph once more, for its depth or brightness.
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    return Probe(width, height, mode, small, orientation, _damage(data), 1 + several)


def _damage(data: bytes) -> str:
    """What libjpeg warns of in a JPEG that Pillow reads all the same: '' where nothing is missing.

    A file that is cut short, but ends as it should, is read without a word, its rest being grey.
    What cameras do without harm is let pass: a few bytes between the data and a marker, no marker
    at the end.
    """
    if not data.startswith(b"\xff\xd8"):
        return ""
    try:  # at 1/8, as above
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        text = _line(error)
        extraneous = re.search(r"(\d+) extraneous bytes", text)
        if extraneous and int(extraneous[1]) > _STRAY * len(data):
            return text
        return text if any(words in text for words in _GRAVE) else ""
    return ""


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
    edges = _edges(image.size, box)
    return image if edges == (0, 0, *image.size) else image.crop(edges)


def upright_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """A box that was drawn on a photograph as its file has it, on the upright photograph.

    Args:
        box: (x, y, w, h) in px of the unturned photograph.
        size: Width and height of the upright photograph, px.
        orientation: EXIF's, 1 to 8.
    """
    x, y, w, h = (float(side) for side in box)
    x, y, w, h = (y, x, h, w) if orientation >= 5 else (x, y, w, h)
    if orientation in (2, 3, 6, 7):
        x = size[0] - x - w
    if orientation in (3, 4, 7, 8):
        y = size[1] - y - h
    return x, y, w, h


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`[h, w, ...]` as EXIF's orientation has it upright."""
    pixels = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def orientation_of(path) -> int:
    """EXIF's orientation of a photograph, 1 to 8, which reading it undoes.

    Raises:
        FileNotFoundError: No such file.
        ValueError: As `read_rgb`.
    """
    with open(path, "rb") as file:
        return _open(file.read())[1]


def black_out(image: Image.Image, boxes: Sequence[Box], scale: float = 1.0) -> Image.Image:
    """Makes parts of an upright photograph black: a face, a tattoo, a name on a label.

    Args:
        image: RGB.
        boxes: (x, y, w, h) each, in px of the full-size photograph; clipped to the image.
        scale: Side of `image` over the side of the full-size photograph. Every pixel that a box
            touches is black, and below 1 the next one too, for it was mixed with its neighbours.

    Returns:
        The image itself where there are no boxes, else a copy.

    Raises:
        ValueError: A box whose sides are not positive finite numbers.
    """
    if not boxes:
        return image
    image = image.copy()
    areas = [[edge * scale for edge in area] for area in _areas(boxes)]
    _paint(image, areas, spread=1 if scale < 1 else 0)
    return image


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


def decode(data: bytes, buffer: np.ndarray | None = None) -> np.ndarray:
    """A file's bytes as pixels, fastest for what `encode_jpeg` made.

    That goes through simplejpeg: bit for bit Pillow's pixels (both are libjpeg-turbo) in half the
    time. Anything else is read as a photograph.

    Args:
        data: A JPEG by `encode_jpeg`, or any other file that `read_rgb` reads.
        buffer: `[S, S, 3]` uint8, contiguous. An image of its width is decoded into the top of it,
            which saves a copy; others leave it as it is.

    Returns:
        `[height, width, 3]` uint8; a view of `buffer` where that was used.

    Raises:
        ValueError: As `read_rgb`.
    """
    # JFIF, then the first table: no EXIF, which would stand between them, and no other markers.
    if not (data.startswith(b"\xff\xd8\xff\xe0\x00\x10JFIF") and data[20:22] == b"\xff\xdb"):
        return np.array(read_rgb(data))
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        fits = buffer is not None and width == buffer.shape[1] and height <= buffer.shape[0]
        return simplejpeg.decode_jpeg(data, buffer=buffer if fits else None)
    except ValueError as error:
        raise ValueError(f"truncated or damaged image ({_line(error)}): copy it again") from None


def _fitted(size, max_side) -> tuple[int, int]:
    """The size with its longest side at most max_side."""
    if max_side < 1:
        raise ValueError(f"max_side {max_side} must be at least 1 px")
    if max(size) <= max_side:
        return tuple(size)
    scale = max_side / max(size)
    return tuple(max(1, round(side * scale)) for side in size)


def _edges(size, box) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a box in whole px, clipped to an image of this size."""
    if box is None or np.isnan(np.asarray(box, float)).any():
        return (0, 0, *size)
    x, y, w, h = (float(side) for side in box)
    left, top = max(math.floor(x + 0.5), 0), max(math.floor(y + 0.5), 0)
    right = min(max(math.floor(x + w + 0.5), left + 1), size[0])
    bottom = min(max(math.floor(y + h + 0.5), top + 1), size[1])
    if right <= left or bottom <= top:
        raise ValueError(
            f"box x={x:g} y={y:g} w={w:g} h={h:g} lies outside the image of "
            f"{size[0]} x {size[1]} px: correct the box"
        )
    return left, top, right, bottom


def _areas(boxes) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of boxes to redact; one that cannot be drawn must not be lost."""
    areas = []
    for box in boxes:
        x, y, w, h = (float(side) for side in box)
        if not (math.isfinite(x + y + w + h) and w > 0 and h > 0):
            raise ValueError(
                f"box to redact x={x:g} y={y:g} w={w:g} h={h:g} must be finite, with w and h above "
                "0: correct the box"
            )
        areas.append((x, y, x + w, y + h))
    return areas


def _stored(edges, size, orientation) -> tuple:
    """Edges in an upright image of this size -> in the rows and columns of its file."""
    (left, top, right, bottom), (width, height) = edges, size
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def _draft(image, reduction: float) -> float:
    """Has a JPEG decoded smaller by at most `reduction`; returns by how much it will be.

    The crop then has at least the pixels that are wanted. That is enough: against decoding all,
    crops of 600 to 2160 px of 3840 x 2160 px photographs at 512 px have a PSNR of 50 dB or more
    (mean error 0.6 of 255 at most), and of 41 dB with sensor noise of 10 of 255 in every pixel.
    """
    full = image.width
    halvings = min(int(math.log2(reduction)), 3) if reduction > 1 else 0
    wanted = tuple(max(side >> halvings, 1) for side in image.size)
    drafted = image.draft(None, wanted) if halvings else None
    return full / drafted[1][2] if drafted else 1


def _paint(image, areas, *, spread: int, origin=(0, 0)) -> None:
    """Blackens all pixels that areas touch, and `spread` more; `origin` is the top left pixel."""
    for area in areas:
        first = [max(math.floor(e) - spread - o, 0) for e, o in zip(area[:2], origin, strict=True)]
        end = [math.ceil(e) + spread - o for e, o in zip(area[2:], origin, strict=True)]
        end = [min(e, side) for e, side in zip(end, image.size, strict=True)]
        if first[0] < end[0] and first[1] < end[1]:
            image.paste((0, 0, 0), (*first, *end))


def _open(data) -> tuple[Image.Image, int]:
    """Opens lazily; returns the image and its EXIF orientation."""
    if not data:
        raise ValueError("the file is empty (0 bytes): copy it again")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PIXELS:,} pixels: save it smaller") from None
    except Exception as error:  # Pillow's parsers raise whatever a damaged header leads them to
        remedy = "save it as JPEG"
        if data[4:8] == b"ftyp" and data[8:11] != b"avi" and "HEIF" not in Image.OPEN:
            remedy = "HEIC needs pip install -e '.[heic]' (pillow-heif), or convert it to JPEG"
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
