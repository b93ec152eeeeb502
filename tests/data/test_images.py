"""Photographs of every kind come out upright, 8-bit and RGB; what cannot is told in one line."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dermjax.data import images


def _bytes(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _pattern():
    """8 x 6 px with four distinct quarters, so that every orientation differs."""
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[:3, :4], pixels[:3, 4:] = (250, 0, 0), (0, 250, 0)
    pixels[3:, :4], pixels[3:, 4:] = (0, 0, 250), (250, 250, 0)
    return pixels


# What the EXIF standard says the stored rows and columns mean, written with numpy alone: each
# entry turns an upright array into the stored one.
_STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_undone(orientation, kind):
    upright = _pattern()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](upright)))
    data = _bytes(stored, kind, exif=exif)
    np.testing.assert_array_equal(np.asarray(images.read_rgb(data)), upright)
    assert images.probe(data)[:2] == (8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_reduced_jpeg(orientation):
    upright = _pattern().repeat(100, 0).repeat(100, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](upright)))
    data = _bytes(stored, "JPEG", quality=95, exif=exif)
    small = np.asarray(images.read_rgb(data, 80)).astype(int)
    assert small.shape == (60, 80, 3)
    assert np.abs(small[15:45:29, 15:65:49] - upright[150:450:299, 150:650:499]).max() < 12
    assert images.probe(data)[:2] == (800, 600)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_ignored():
    data = _bytes(Image.new("RGB", (4, 4), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert images.read_rgb(data).size == (4, 4)


def test_transparency_is_laid_on_white():
    rgba = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    rgba.putpixel((1, 0), (0, 0, 0, 0))
    for image in (rgba, rgba.convert("LA")):
        pixels = images.decode(_bytes(image))
        assert pixels.shape == (1, 2, 3) and (pixels[0, 1] == 255).all()
    assert (images.decode(_bytes(rgba))[0, 0] == (200, 0, 0)).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    assert (images.decode(_bytes(palette))[0] == [(200, 0, 0), (10, 20, 30)]).all()
    assert (images.decode(_bytes(palette, transparency=1))[0, 1] == 255).all()


@pytest.mark.parametrize("mode, value", [("L", 77), ("1", 1), ("CMYK", (0, 0, 0, 0))])
def test_other_modes_become_rgb(mode, value):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    pixels = images.decode(_bytes(Image.new(mode, (3, 2), value), kind))
    assert pixels.shape == (2, 3, 3) and pixels.dtype == np.uint8
    assert (pixels == {"L": 77, "1": 255, "CMYK": 255}[mode]).all()


def test_cmyk_jpeg():
    data = _bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(images.decode(data).astype(int) - (255, 0, 0)).max() < 10


@pytest.mark.parametrize("mode, kind", [("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF")])
def test_16_bits_are_scaled(mode, kind):
    levels = np.array([[0, 257, 32896, 65280, 65535]], np.int32 if mode == "I" else np.uint16)
    pixels = images.decode(_bytes(Image.fromarray(levels), kind))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 254, 255]


def test_one_pixel():
    data = _bytes(Image.new("RGB", (1, 1), "blue"), "JPEG")
    assert images.read_rgb(data, 512).size == (1, 1) and images.probe(data)[:2] == (1, 1)


def test_path_with_spaces_and_umlauts(tmp_path):
    path = tmp_path / "Größe 1 写真.png"
    Image.new("RGB", (5, 4)).save(path)
    assert images.read_rgb(path).size == (5, 4)
    assert images.read_rgb(str(path)).size == (5, 4)


def _huge(width, height):
    def chunk(name, body):
        crc = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(100_000, 100_000), (20_000, 10_000)])
def test_decompression_bomb_is_refused(size):
    for read in (images.read_rgb, images.probe):
        with pytest.raises(ValueError, match="more than 178,956,970 pixels: save it smaller"):
            read(_huge(*size))


def test_unreadable_files():
    jpeg = _bytes(Image.effect_noise((64, 64), 50), "JPEG")
    cases = {
        b"": r"the file is empty \(0 bytes\)",
        b"hello": "not an image file",
        b"\0\0\0\x18ftypheic" + b"\0" * 30: "JPEG",
        jpeg[: len(jpeg) // 2]: "truncated or damaged image",
        _bytes(Image.effect_noise((64, 64), 50))[:900]: "truncated or damaged image",
        _bytes(Image.new("F", (2, 2)), "TIFF"): "floating-point pixels",
    }
    for data, text in cases.items():
        for read in (images.read_rgb, images.probe):
            with pytest.raises(ValueError, match=text) as caught:
                read(data)
            assert "\n" not in str(caught.value)


def test_errors_name_the_path(tmp_path):
    (tmp_path / "a.jpg").write_text("no")
    with pytest.raises(ValueError, match=r"a\.jpg: not an image"):
        images.read_rgb(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError):
        images.read_rgb(tmp_path / "b.jpg")


def test_reduced_jpeg_is_close_to_the_full_one():
    noise = np.asarray(Image.effect_noise((40, 30), 90).resize((1600, 1200), Image.BICUBIC))
    data = _bytes(Image.fromarray(noise).convert("RGB"), "JPEG", quality=95)
    fast = np.asarray(images.read_rgb(data, 200)).astype(int)
    full = np.asarray(images.shrink(images.read_rgb(data), 200)).astype(int)
    assert fast.shape == full.shape == (150, 200, 3)
    assert np.abs(fast - full).mean() < 1.0


def test_shrink_never_upscales_and_antialiases():
    image = Image.new("RGB", (30, 20))
    assert images.shrink(image, 30) is image
    assert images.shrink(image, 15).size == (15, 10)
    assert images.shrink(Image.new("RGB", (1000, 1)), 10).size == (10, 1)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    middle = np.asarray(images.shrink(Image.fromarray(stripes), 16))[4:12, 4:12]
    assert 100 < middle.min() and middle.max() < 155
    with pytest.raises(ValueError, match="max_side 0 must be at least 1"):
        images.shrink(image, 0)


def test_crop():
    image = Image.fromarray(_pattern())
    assert images.crop(image, None) is image
    assert images.crop(image, (np.nan,) * 4) is image
    np.testing.assert_array_equal(np.asarray(images.crop(image, (4, 3, 4, 3))), _pattern()[3:, 4:])
    assert images.crop(image, (6, 4, 100, 100)).size == (2, 2)
    assert images.crop(image, (2.2, 2.2, 0.2, 0.2)).size == (1, 1)
    with pytest.raises(ValueError, match="x=9 y=0 w=2 h=2 lies outside the image of 8 x 6 px"):
        images.crop(image, (9, 0, 2, 2))


@functools.cache
def _photograph(orientation, subsampling, width=1203, height=805, secret=False):
    """A JPEG, the same upright whatever its orientation; a secret is gray noise, the rest black."""
    rng = np.random.default_rng(0)
    if secret:
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[300:420, 500:700] = rng.integers(0, 256, (120, 200, 1))
    else:
        coarse = Image.fromarray(rng.integers(0, 256, (27, 40, 3), np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](pixels)))
    return _bytes(stored, "JPEG", quality=92, subsampling=subsampling, exif=exif)


_boxes = st.tuples(
    st.floats(-20, 1100), st.floats(-20, 700), st.floats(100, 1203), st.floats(100, 805)
)


@settings(deadline=None, max_examples=150)
@given(
    orientation=st.integers(1, 8),
    subsampling=st.sampled_from(["4:2:0", "4:4:4"]),
    box=st.none() | _boxes,
    max_side=st.none() | st.integers(32, 700),
)
@example(orientation=6, subsampling="4:2:0", box=(401, 203, 333, 517), max_side=64)
def test_a_crop_read_small_is_the_crop_of_the_full_photograph(
    orientation, subsampling, box, max_side
):
    data = _photograph(orientation, subsampling)
    full = images.crop(images.read_rgb(data), box)
    expected = full if max_side is None else images.shrink(full, max_side)
    found = images.read_crop(data, box, max_side)
    assert found.size == expected.size
    error = np.asarray(found).astype(float) - np.asarray(expected)
    assert np.sqrt((error**2).mean()) < 4  # of 255; a crop one reduced pixel off: see below


def test_a_reduced_crop_off_by_a_pixel_would_be_seen():
    """What the bound of the property above is worth."""
    data = _photograph(1, "4:4:4")
    found, shifted = (
        np.asarray(images.read_crop(data, (x, 203, 600, 500), 150), float) for x in (401, 405)
    )
    assert np.sqrt(((found - shifted) ** 2).mean()) > 6


def test_large_photographs_are_decoded_small(monkeypatch):
    sizes = []
    load = images._load
    monkeypatch.setattr(images, "_load", lambda image: sizes.append(image.size) or load(image))
    data = _photograph(6, "4:2:0")
    for max_side in (600, 300, 299, 100, 75):
        images.read_crop(data, (10, 20, 600, 400), max_side)
    assert sizes == [(805, 1203), (403, 602), (403, 602), (202, 301), (101, 151)]


@settings(deadline=None, max_examples=60)
@given(
    orientation=st.integers(1, 8),
    subsampling=st.sampled_from(["4:2:0", "4:4:4"]),
    max_side=st.none() | st.integers(20, 600),
    box=st.none() | st.tuples(st.floats(300, 550), st.floats(200, 350), st.just(400), st.just(300)),
)
def test_nothing_of_a_redacted_box_survives(orientation, subsampling, max_side, box):
    data = _photograph(orientation, subsampling, secret=True)
    hidden = [(500.4, 299.7, 199.7, 120), (10, 10, 20, 20)]
    assert np.asarray(images.read_crop(data, box, max_side)).max() > 90
    found = np.asarray(images.read_crop(data, box, max_side, hidden))
    assert found.max() < 40  # of 255: what JPEG itself has spread into the pixels around


def test_black_out_covers_every_pixel_that_a_box_touches():
    image = Image.new("RGB", (8, 6), "white")
    black = np.asarray(images.black_out(image, [(1.9, 1, 1.2, 2.1)]))[..., 0] == 0
    assert [np.flatnonzero(black.any(axis)).tolist() for axis in (0, 1)] == [[1, 2, 3], [1, 2, 3]]
    small = (
        np.asarray(images.black_out(image, [(8, 8, 4, 4), (90, 90, 1e12, 5)], 0.25))[..., 0] == 0
    )
    assert [np.flatnonzero(small.any(axis)).tolist() for axis in (0, 1)] == [[1, 2, 3], [1, 2, 3]]
    assert not np.asarray(images.black_out(image, [(-50, -50, 1e12, 1e12)])).any()
    assert np.asarray(image).min() == 255 and images.black_out(image, ()) is image


@pytest.mark.parametrize("box", [(np.nan, 0, 1, 1), (0, 0, 0, 5), (0, 0, 5, -1), (0, 0, np.inf, 1)])
def test_a_box_to_redact_that_is_none_is_refused(box):
    for act in (
        lambda: images.black_out(Image.new("RGB", (8, 6)), [box]),
        lambda: images.read_crop(_photograph(1, "4:4:4"), None, 64, [box]),
    ):
        with pytest.raises(
            ValueError, match="box to redact .* must be finite, with w and h above 0"
        ):
            act()


def test_a_box_outside_the_photograph_is_told_with_its_path(tmp_path):
    (tmp_path / "a.jpg").write_bytes(_photograph(6, "4:4:4"))
    with pytest.raises(
        ValueError, match=r"a\.jpg: box x=1300 .* outside the image of 1203 x 805 px"
    ):
        images.read_crop(tmp_path / "a.jpg", (1300, 0, 20, 20), 64)


def test_encode_and_decode():
    image = Image.fromarray(_pattern().repeat(8, 0).repeat(8, 1))
    again = images.decode(images.encode_jpeg(image, 95))
    assert again.shape == (48, 64, 3) and again.flags.writeable
    assert np.abs(again.astype(int) - np.asarray(image)).mean() < 3


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (64, 64), (17, 5), (1, 1)])
@pytest.mark.parametrize("quality", [95, 80])
def test_our_jpegs_have_the_same_pixels_by_every_decoder(size, quality):
    data = images.encode_jpeg(Image.effect_noise(size, 90).convert("RGB"), quality)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(images.decode(data), expected)
    buffer = np.zeros((64, 64, 3), np.uint8)
    pixels = images.decode(data, buffer)
    np.testing.assert_array_equal(pixels, expected)
    if size[0] == 64:  # decoded where it is wanted
        assert np.shares_memory(pixels, buffer) and not buffer[size[1] :].any()
    else:
        assert not buffer.any()


def test_an_image_larger_than_the_buffer_does_not_write_beyond_it():
    data = images.encode_jpeg(Image.new("RGB", (8, 20), "white"), 95)
    memory = np.zeros((20, 8, 3), np.uint8)
    assert images.decode(data, memory[:8]).shape == (20, 8, 3) and not memory.any()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photograph_is_decoded_upright_and_gray_in_rgb(orientation):
    data = _photograph(orientation, "4:2:0")
    np.testing.assert_array_equal(images.decode(data), np.asarray(images.read_rgb(data)))
    gray = _bytes(Image.new("L", (3, 2), 77), "JPEG")
    assert (images.decode(gray) == np.full((2, 3, 3), 77)).all()


def test_our_jpegs_cut_short_are_told():
    data = images.encode_jpeg(Image.effect_noise((64, 48), 90).convert("RGB"), 95)
    for part in (data[: len(data) // 2], data[:100], data[:25]):
        with pytest.raises(ValueError, match="truncated or damaged image .*: copy it again"):
            images.decode(part)
