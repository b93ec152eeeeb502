"""Altered copies are found, other photographs are not; the search is exact."""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from dermjax.data import near_duplicates
from dermjax.data.near_duplicates import SURE, perceptual_hash

SHARED = Path(os.environ.get("DERMJAX_SHARED", Path(__file__).parents[2] / ".." / "shared"))


def photograph(seed, size=(240, 180)):
    """A smooth random picture, as skin is."""
    coarse = np.random.default_rng(seed).integers(0, 255, (21, 28, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def apart(one, two):
    """Bits, by Python's own integers."""
    return (int(one, 16) ^ int(two, 16)).bit_count()


def saved(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


ALTERED = {
    "saved anew": lambda image: saved(image, 50),
    "smaller": lambda image: image.resize((120, 90)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "gray": lambda image: image.convert("L"),
    "cut": lambda image: image.crop((2, 2, 238, 178)),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_copies_are_near(name):
    distances = [
        apart(perceptual_hash(photograph(seed)), perceptual_hash(ALTERED[name](photograph(seed))))
        for seed in range(20)
    ]
    assert max(distances) <= SURE


def test_other_photographs_are_far():
    hashes = [perceptual_hash(photograph(seed)) for seed in range(40)]
    assert {len(text) for text in hashes} == {64}
    nearest = min(apart(a, b) for i, a in enumerate(hashes) for b in hashes[:i])
    assert nearest > near_duplicates.LIKELY


def test_what_shows_nothing_has_no_hash():
    assert perceptual_hash(Image.new("RGB", (300, 200), "black")) == ""
    assert perceptual_hash(photograph(0, (100, 20))) == ""
    noise = np.random.default_rng(0).integers(99, 102, (200, 200), np.uint8)
    assert perceptual_hash(Image.fromarray(noise)) == ""


def hashes_near_each_other(count, seed):
    """Half are random, half are earlier ones with some bits turned."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        bits = rng.integers(0, 2, 256, np.uint8)
        if found and index % 2:
            bits = found[rng.integers(len(found))].copy()
            bits[rng.choice(256, rng.integers(0, 60), replace=False)] ^= 1
        found.append(bits)
    return [np.packbits(bits).tobytes().hex() for bits in found]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 99), st.sampled_from([0, 8, 32, 128, 256]))
def test_all_pairs_and_only_those(count, seed, within):
    hashes = hashes_near_each_other(count, seed)
    found = near_duplicates.find([*hashes, "", *hashes[:3]], within=within)
    known = sorted(set(hashes))
    expected = {
        (a, b, apart(a, b)) for i, b in enumerate(known) for a in known[:i] if apart(a, b) <= within
    }
    assert set(found.itertuples(index=False, name=None)) == expected and len(found) == len(expected)
    assert found["distance"].is_monotonic_increasing


def test_blocks_change_nothing(monkeypatch):
    hashes = hashes_near_each_other(50, 3)
    whole, told = near_duplicates.find(hashes), []
    monkeypatch.setattr(near_duplicates, "_BLOCK", 7)
    parts = near_duplicates.find(hashes, track=lambda items, n, label: told.append(n) or items)
    pd.testing.assert_frame_equal(whole, parts)
    blocks = -(-len(set(hashes)) // 7)
    assert len(whole) and told == [blocks * (blocks + 1) // 2]  # with each other and themselves


def test_what_is_one_over_several_steps():
    a, b, c, d = (f"{bits:064x}" for bits in (0, 2**30 - 1, 2**60 - 1, 2**200 - 1))
    pairs = near_duplicates.find([a, b, c, d], within=140)
    hashes = pd.Series([c, "", a, d, b, a], index=[9, 8, 7, 6, 5, 4])
    joined = near_duplicates.joined(hashes, pairs, 30)
    assert joined.tolist() == [a, "", a, d, a, a] and joined.index.tolist() == [9, 8, 7, 6, 5, 4]
    assert near_duplicates.joined(hashes, pairs, 29).tolist() == hashes.tolist()
    assert near_duplicates.joined(hashes.iloc[:2], pairs, 30).tolist() == [c, ""]  # a, b not there


def test_the_answer_is_kept(tmp_path, monkeypatch):
    hashes = hashes_near_each_other(20, 1)
    first = near_duplicates.find(hashes, cache_dir=tmp_path)
    monkeypatch.setattr(near_duplicates, "_all_pairs", None)
    pd.testing.assert_frame_equal(near_duplicates.find(hashes[::-1], cache_dir=tmp_path), first)
    with pytest.raises(TypeError):  # other photographs are compared anew
        near_duplicates.find(hashes[1:], cache_dir=tmp_path)


@pytest.mark.parametrize("within", [-1, 257])
def test_impossible_distances_are_refused(within):
    with pytest.raises(ValueError, match=f"within = {within} bits must lie in 0 to 256"):
        near_duplicates.find([], within=within)


def test_no_two_lesions_of_ham10000_are_taken_for_one():
    folder = SHARED / "data" / "ham10000" / "images"
    if not folder.is_dir():
        pytest.skip("no data/ham10000 beside the repository")
    paths = sorted(folder.glob("*.jpg"))[:1500]
    found = near_duplicates.find(perceptual_hash(Image.open(path)) for path in paths)
    assert len(paths) == 1500 and (found["distance"] > SURE).all()
