"""Preparation: crops in order, once, and safe to kill."""

import concurrent.futures
import errno
import io
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dermjax.data import builder, images, pipeline, records


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


@pytest.mark.parametrize("records", ["jpeg", "pixels"])
def test_a_failure_leaves_nothing_that_looks_whole(tmp_path, photographs, records):
    gone = tmp_path / "gone.png"
    crops = [*crops_of(photographs), builder.Crop(str(gone), None)]
    with pytest.raises(FileNotFoundError, match="gone.png"):
        prepare(tmp_path, crops, records=records, shard_size=3)
    assert len(list((tmp_path / "prepared").iterdir())) == 2
    Image.new("RGB", (9, 9)).save(gone)
    assert len(prepare(tmp_path, crops, records=records, shard_size=3)) == 8


def counting():
    """A track that notes its calls and, of every item, whether it was made in this call."""
    calls = []

    def track(items, total, label):
        made = []
        calls.append((total, label, made))
        for item in items:
            made.append(item is not None)
            yield item

    return calls, track


@pytest.mark.parametrize("records", ["jpeg", "pixels"])
def test_shards_hold_what_one_would_hold(tmp_path, photographs, records):
    crops = crops_of(photographs)
    whole = prepare(tmp_path / "a", crops, records=records)
    parts = prepare(tmp_path / "b", crops, records=records, shard_size=3)
    assert len(list((tmp_path / "b" / "prepared").iterdir())) == 3
    assert len(parts) == len(whole) == 7
    for row in (6, 0, 3, 2, 5, 1, 4):
        np.testing.assert_array_equal(parts[row], whole[row])
    for row in (7, -1):
        with pytest.raises(IndexError):
            parts[row]


@pytest.mark.parametrize("records", ["jpeg", "pixels"])
def test_a_killed_preparation_keeps_its_finished_shards(tmp_path, photographs, records):
    script = f"""
import sys, time
from dermjax.data import builder
def slow(items, total, label):
    for item in items:
        print("record", file=sys.__stdout__, flush=True)  # TFDS takes stdout
        time.sleep(0.2)
        yield item
crops = [builder.Crop(p, None) for p in {photographs!r}]
builder.prepare({str(tmp_path / "prepared")!r}, crops, max_side=48, workers=2, track=slow,
                records={records!r}, shard_size=2)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for _ in range(5):  # in the middle of the third shard
        assert process.stdout.readline() == "record\n"
    process.kill()
    process.communicate()
    finished = sorted(path.name for path in (tmp_path / "prepared").iterdir())
    assert finished[:2] == ["rows-0000000-0000001", "rows-0000002-0000003"]
    times = [(tmp_path / "prepared" / name).stat().st_mtime_ns for name in finished[:2]]
    calls, track = counting()
    crops = [builder.Crop(path, None) for path in photographs]
    source = prepare(tmp_path, crops, track, records=records, shard_size=2)
    assert calls == [(3, "preparing images", 3 * [True])]  # what is missing
    folders = sorted((tmp_path / "prepared").iterdir())
    assert len(folders) == 4 and not [f for f in folders if "incomplete" in f.name]
    assert [f.stat().st_mtime_ns for f in folders[:2]] == times
    fresh = prepare(tmp_path / "fresh", crops, records=records)
    for row in range(7):
        np.testing.assert_array_equal(source[row], fresh[row])


def test_a_missing_shard_in_the_middle_is_made_again(tmp_path, photographs):
    crops = crops_of(photographs)
    before = prepare(tmp_path, crops, shard_size=2)[3]
    shutil.rmtree(tmp_path / "prepared" / "rows-0000002-0000003")
    calls, track = counting()
    source = prepare(tmp_path, crops, track, shard_size=2)
    assert calls[0][2] == [True, True]
    assert source[3] == before


@pytest.mark.parametrize("records", ["jpeg", "pixels"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_a_damaged_shard_is_told_in_one_line(tmp_path, photographs, records, damage):
    prepare(tmp_path, crops_of(photographs), records=records, shard_size=4)
    folder = tmp_path / "prepared" / "rows-0000004-0000006"
    (path,) = (p for p in folder.rglob("*") if "array_record" in p.name or p.name == "pixels.npy")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 * (damage == "cut")])
    source = prepare(tmp_path, crops_of(photographs), records=records, shard_size=4)
    assert len(source[3]) > 0
    with pytest.raises(
        ValueError, match="rows-0000004-0000006 are damaged .*remove this folder"
    ) as e:
        source[5]
    assert "\n" not in str(e.value)


def test_shards_are_opened_when_they_are_read(tmp_path, photographs, monkeypatch):
    opened = []
    read = records.Pixels.open
    monkeypatch.setattr(
        records.Pixels, "open", lambda *args: opened.append(args[1].name) or read(*args)
    )
    source = prepare(tmp_path, crops_of(photographs), records="pixels", shard_size=2)
    assert not opened
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(source.__getitem__, [4, 5, 0, 4, 5, 0, 1, 4]))
    assert sorted(opened) == ["rows-0000000-0000001", "rows-0000004-0000005"]


def test_pixels_are_the_exact_crops(tmp_path, photographs):
    source = prepare(tmp_path, crops_of(photographs), records="pixels", shard_size=3)
    for row, path in enumerate(photographs):
        box = (30, 20, 30, 20) if row % 2 else None
        np.testing.assert_array_equal(source[row], np.asarray(images.read_crop(path, box, 48)))
    assert not source[1].flags.writeable and source[1].base is not None
    size = sum(f.stat().st_size for f in (tmp_path / "prepared").rglob("pixels.npy"))
    assert size == 7 * 48 * 48 * 3 + 3 * 128


def test_pixels_that_will_not_fit_the_disk_are_refused_at_once(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 2_000_000)
    )
    calls, track = counting()
    with pytest.raises(
        OSError, match="needs about 3 MB for the others, 2 MB are free; make room"
    ) as caught:
        prepare(tmp_path, crops_of(photographs), track, records="pixels", max_side=384)
    assert not calls and "\n" not in str(caught.value)


FULL = r"prepared has {} of 8 images and needs about \d MB for the others, [\d,]+ MB are free; make"


@pytest.mark.parametrize("records, done", [("jpeg", 2), ("pixels", 0)])
def test_a_file_that_may_not_grow_is_told_and_what_is_done_is_kept(tmp_path, records, done):
    """The system refuses to write on, as on a full disk; of JPEGs, the small ones still fit."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    Image.fromarray(noise).save(tmp_path / "large.png")
    names = ["small", "small", *["large"] * 6]
    crops = [builder.Crop(str(tmp_path / f"{name}.png"), None) for name in names]
    script = f"""
import resource
from dermjax.data import builder
from dermjax.data.builder import Crop
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
builder.prepare({str(tmp_path / "prepared")!r}, {crops!r}, max_side=400, workers=2,
                track=lambda items, total, label: items, records={records!r}, shard_size=2)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    told = process.stderr.strip().splitlines()[-1]
    assert re.search("OSError: preparing images: File too large: .*" + FULL.format(done), told)
    assert len(list((tmp_path / "prepared").iterdir())) == done // 2
    calls, track = counting()
    source = prepare(tmp_path, crops, track, max_side=400, records=records, shard_size=2)
    assert sum(calls[0][2]) == 8 - done
    assert [pipeline.to_pixels(source[row]).shape for row in (0, 7)] == [(8, 8, 3), (400, 400, 3)]


@pytest.mark.parametrize("records", ["jpeg", "pixels"])
def test_a_disk_that_fills_is_told_and_what_is_done_is_kept(
    tmp_path, photographs, monkeypatch, records
):
    def sync(file):
        if "rows-0000002" in file.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    crops = [*crops_of(photographs), builder.Crop(photographs[0], None)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        with pytest.raises(
            OSError, match="No space left on device: .*" + r"images and needs"
        ) as told:
            prepare(tmp_path, crops, records=records, shard_size=2)
    assert "\n" not in str(told.value)
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["rows-0000000-0000001"]
    calls, track = counting()
    assert len(prepare(tmp_path, crops, track, records=records, shard_size=2)) == 8
    assert sum(calls[0][2]) == 6


def test_a_tiny_max_side_is_refused(tmp_path, photographs):
    with pytest.raises(ValueError, match="max_side = 4 px is less than 8"):
        prepare(tmp_path, crops_of(photographs), max_side=4)
