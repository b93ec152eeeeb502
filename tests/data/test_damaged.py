"""Photographs that can be opened and are not whole: told by name, and the user decides."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from dermjax.data import images, layouts
from dermjax.data.problems import ManifestError

KINDS = {
    "baseline": dict(quality=90),
    "progressive": dict(progressive=True),
    "gray": dict(mode="L"),
    "cmyk": dict(mode="CMYK"),
    "restarts": dict(restart_marker_blocks=8),
    "subsampled": dict(subsampling="4:2:0", quality=60),
}
END = b"\xff\xd9"


def _photo(mode="RGB", seed=0, size=(320, 240), **options):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    photo = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)).convert(mode)
    file = io.BytesIO()
    photo.save(file, "JPEG", **options)
    return file.getvalue()


WHOLE = {name: _photo(**options) for name, options in KINDS.items()}


@settings(deadline=None, max_examples=60)
@given(kind=st.sampled_from(sorted(set(KINDS) - {"progressive"})), share=st.floats(0.0, 0.97))
def test_a_jpeg_that_is_cut_and_closed_is_told(kind, share):
    """It opens everywhere, its lower part being grey."""
    _check_cut(kind, share)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6, 0.9])
def test_a_progressive_jpeg_that_is_cut_and_closed_is_told(share):
    """Unless it is cut exactly between two of its scans, where it is only less sharp."""
    _check_cut("progressive", share)


def _check_cut(kind, share):
    whole = WHOLE[kind]
    start = whole.index(b"\xff\xda") + 32  # in the pixels, behind the header
    cut = whole[: start + int(share * (len(whole) - start))].rstrip(b"\xff") + END
    assert images.read_rgb(cut).size == (320, 240)
    assert images.probe(cut).damage


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_jpeg_is_not_suspected(kind):
    whole = WHOLE[kind]
    further = b"trailing bytes of a camera" * 20
    for harmless in (whole, whole + further, whole[:-2] + b"\0" * 8 + END, whole + END):
        assert images.probe(harmless).damage == ""


def test_a_jpeg_whose_second_half_was_never_written_is_told():
    whole = WHOLE["baseline"]
    half = len(whole) // 2
    assert images.probe(whole[:half] + bytes(len(whole) - half - 2) + END).damage


@pytest.fixture
def table(tmp_path):
    """24 photographs, one of which is cut; and one that is no photograph at all, excluded."""
    rows = ["image,label,patient,exclude"]
    for index in range(24):
        (tmp_path / f"{index}.jpg").write_bytes(_photo(seed=index, size=(96, 72)))
        rows.append(f"{index}.jpg,{'abc'[index % 3]},p{index},")
    whole = _photo(seed=99)
    (tmp_path / "5.jpg").write_bytes(whole[: len(whole) // 2] + END)
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    return tmp_path / "photos.csv"


def _examine(table, policy):
    return layouts.examine(table, cache_dir=table.parent / "cache", on_bad_image=policy, near=0)


@pytest.mark.parametrize("again", [False, True])
def test_the_user_decides_what_becomes_of_it(table, again):
    if again:  # from the scan's cache
        _examine(table, "use")
    _, problems = _examine(table, "refuse")
    (line,) = problems
    assert "row 7" in line and "'5.jpg'" in line and "data.on_bad_image" in line
    for policy, exclude in (("use", ""), ("skip", "all")):
        manifest, problems = _examine(table, policy)
        assert not problems and manifest.frame["exclude"][5] == exclude
        assert (manifest.frame["exclude"] == "").sum() == 24 - (policy == "skip")
        (note,) = (note for note in manifest.notes if "5.jpg" in note)
        assert "row 7" in note


def test_what_cannot_be_read_at_all_is_never_used(table):
    (table.parent / "6.jpg").write_bytes(b"no photograph")
    _, problems = _examine(table, "use")
    assert len(problems) == 1 and "row 8" in problems[0] and "'6.jpg'" in problems[0]
    with pytest.raises(ValueError, match="refuse or skip or use"):
        _examine(table, "ignore")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_other_files_that_are_cut_are_unreadable(kind):
    file = io.BytesIO()
    Image.open(io.BytesIO(WHOLE["baseline"])).save(file, kind)
    assert images.probe(file.getvalue()).damage == ""
    with pytest.raises(ValueError, match="copy it again|save it as JPEG"):
        images.probe(file.getvalue()[: len(file.getvalue()) // 2])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken_and_told(tmp_path, kind):
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    rows = ["image,label,patient"]
    for index in range(6):
        name = f"{index}.{kind.lower()}"
        first.save(tmp_path / name, kind, save_all=index == 2, append_images=[second])
        rows.append(f"{name},{'ab'[index % 2]},p{index}")
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    manifest, _ = layouts.examine(tmp_path / "photos.csv", cache_dir=tmp_path / "c", near=0)
    (note,) = (note for note in manifest.notes if "frames" in note)
    assert f"'2.{kind.lower()}'" in note and "'1." not in note
    assert images.read_rgb(tmp_path / f"2.{kind.lower()}").getpixel((9, 9))[0] > 200


def test_heic_names_the_extra_that_reads_it(monkeypatch):
    data = b"\0\0\0\x18ftypheic" + b"\0" * 40
    Image.init()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(ValueError, match=r"pip install -e '\.\[heic\]'"):
        images.read_rgb(data)


def test_heic_is_read_where_the_extra_is_installed(tmp_path):
    """Its decoder turns it, by the file's own notes; EXIF must not turn it again."""
    pytest.importorskip("pillow_heif")
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:30, :40] = (255, 0, 0)  # top left
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.heic", exif=exif, quality=95)
    seen = images.read_rgb(tmp_path / "a.heic")
    assert seen.size == images.probe((tmp_path / "a.heic").read_bytes())[:2] == (80, 60)
    red = np.asarray(seen)[:, :, 0]
    assert red[5:25, 5:35].min() > 150 and red[35:].max() < 100 and red[:, 45:].max() < 100


def test_problems_of_a_folder_are_told_by_name(table):
    with pytest.raises(ManifestError, match="5.jpg"):
        layouts.load(table, cache_dir=table.parent / "cache")
