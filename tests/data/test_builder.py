"""Preparation: crops in order, once, and safe to kill."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from dermjax.data import builder, images


def silent(items, total, label):
    del total, label
    return items


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(7):
        pixels = np.full((60, 90, 3), 30 * i, np.uint8)
        pixels[20:40, 30:60] = rng.integers(0, 256, 3)
        paths.append(str(tmp_path / f"photo {i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def crops_of(paths):
    return [builder.Crop(p, (30, 20, 30, 20) if i % 2 else None) for i, p in enumerate(paths)]


def prepare(tmp_path, crops, track=silent, **options):
    settings = dict(max_side=48, workers=2, track=track) | options
    return builder.prepare(tmp_path / "prepared", crops, **settings)


def test_records_are_the_crops_in_order(tmp_path, photographs):
    source = prepare(tmp_path, crops_of(photographs))
    assert len(source) == 7
    for row, path in enumerate(photographs):
        pixels = images.decode(source[row]).astype(int)
        original = np.asarray(Image.open(path)).astype(int)
        if row % 2:
            assert pixels.shape == (20, 30, 3)
            assert np.abs(pixels - original[20:40, 30:60]).mean() < 3
        else:
            assert pixels.shape == (32, 48, 3)  # shrunk to the longest side, ratio kept
            assert np.abs(pixels[0, 0] - original[0, 0]).max() <= 3


def test_what_is_to_be_redacted_is_black_in_the_record(tmp_path, photographs):
    crops = [
        builder.Crop(photographs[6], box, ((40, 25, 10, 10),)) for box in (None, (30, 20, 30, 20))
    ]
    source = prepare(tmp_path, crops)
    whole, lesion = images.decode(source[0]), images.decode(source[1])
    assert lesion[5:15, 10:20].max() < 20 and lesion.mean() > 40
    assert whole[15:18, 22:26].max() < 20 and whole[0].min() > 150


def test_prepared_once(tmp_path, photographs):
    calls = []

    def track(items, total, label):
        calls.append((total, label))
        return items

    prepare(tmp_path, crops_of(photographs), track)
    again = prepare(tmp_path, crops_of(photographs), track)
    assert calls == [(7, "preparing images")]
    assert Image.open(io.BytesIO(again[1])).format == "JPEG"


def test_a_failure_leaves_nothing_that_looks_whole(tmp_path, photographs):
    crops = [*crops_of(photographs), builder.Crop(str(tmp_path / "gone.png"), None)]
    with pytest.raises((OSError, ValueError)):
        prepare(tmp_path, crops)
    assert len(prepare(tmp_path, crops[:-1])) == 7


def test_a_killed_preparation_is_done_again(tmp_path, photographs):
    script = f"""
import time
from dermjax.data import builder
def slow(items, total, label):
    for item in items:
        print("record", flush=True)
        time.sleep(0.3)
        yield item
crops = [builder.Crop(p, None) for p in {photographs!r}]
builder.prepare({str(tmp_path / "prepared")!r}, crops, max_side=48, workers=2, track=slow)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("prepared/**/*incomplete*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    source = prepare(tmp_path, crops_of(photographs))
    assert [len(source[i]) > 0 for i in range(7)] == [True] * 7


def test_a_tiny_max_side_is_refused(tmp_path, photographs):
    with pytest.raises(ValueError, match="max_side = 4 px is less than 8"):
        prepare(tmp_path, crops_of(photographs), max_side=4)
