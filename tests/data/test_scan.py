"""Every file is opened once; the second time only what changed."""

import hashlib
import os

import pytest
from PIL import Image

from dermjax.data import images, scan


@pytest.fixture
def photos(tmp_path):
    paths = []
    for index in range(6):
        path = tmp_path / f"photo {index} é.png"
        Image.new("RGB", (4 + index, 3), (index, 0, 0)).save(path)
        paths.append(str(path))
    return paths


def _counting(monkeypatch):
    seen = []
    probe = images.probe
    monkeypatch.setattr(images, "probe", lambda data: seen.append(len(data)) or probe(data))
    return seen


def test_columns_and_order(photos, tmp_path):
    told = []
    found = scan.scan(
        photos + photos[:2],
        cache_file=tmp_path / "c" / "scan.csv",
        workers=3,
        track=lambda items, total, label: told.append((total, label)) or items,
    )
    assert list(found)[:5] == ["path", "width", "height", "orientation", "frames"]
    assert list(found)[5:] == ["content", "mode", "hash", "damage", "error"]
    assert (found["mode"] == "PNG RGB").all() and (found["hash"] == "").all()  # of one colour
    assert found["path"].tolist() == photos
    assert found["width"].tolist() == [4, 5, 6, 7, 8, 9] and (found["height"] == 3).all()
    with open(photos[0], "rb") as file:
        assert found["content"][0] == hashlib.sha256(file.read()).hexdigest()
    assert (found["error"] == "").all() and told == [(6, "checking images")]


def test_errors_are_one_line_each(photos, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("dear reader")
    Image.effect_noise((50, 50), 90).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-300])
    names = ["empty.jpg", "text.jpg", "cut.png", "absent.jpg", "."]
    found = scan.scan([str(tmp_path / name) for name in names], cache_file=None)
    for error, text in zip(
        found["error"],
        ["empty", "not an image", "truncated", "file not found", "is a folder"],
        strict=True,
    ):
        assert text in error and "\n" not in error
    assert (found["width"] == 0).all() and (found["content"] == "").all()


def test_cache_is_used_and_notices_changes(photos, tmp_path, monkeypatch):
    cache = tmp_path / "scan.csv"
    seen = _counting(monkeypatch)
    first = scan.scan(photos, cache_file=cache)
    assert len(seen) == 6
    assert scan.scan(photos, cache_file=cache).equals(first) and len(seen) == 6
    Image.new("RGB", (20, 20), "white").save(photos[2])
    os.utime(photos[3], ns=(1, 1))
    again = scan.scan(photos, cache_file=cache)
    assert len(seen) == 8 and again["width"][2] == 20
    assert again["content"][2] != first["content"][2]
    assert again["content"][3] == first["content"][3]
    scan.scan(photos, cache_file=cache)
    assert len(seen) == 8
    assert not list(tmp_path.glob("*.part"))


def test_repaired_file_is_read_again(photos, tmp_path):
    path = tmp_path / "later.png"
    path.write_bytes(b"")
    cache = tmp_path / "scan.csv"
    for _ in range(2):
        assert scan.scan([str(path), *photos], cache_file=cache)["error"][0]
    Image.new("RGB", (2, 2)).save(path)
    assert scan.scan([str(path)], cache_file=cache)["error"][0] == ""


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff\xfe\0", b"path,size\n1,2\n"])
def test_damaged_cache_is_made_again(photos, tmp_path, content):
    cache = tmp_path / "scan.csv"
    cache.write_bytes(content)
    assert (scan.scan(photos, cache_file=cache)["error"] == "").all()
    assert cache.read_text(encoding="utf-8").count("\n") == 7


def test_interrupted_scan_keeps_what_it_saw(photos, tmp_path, monkeypatch):
    cache = tmp_path / "scan.csv"

    def stop(items, total, label):
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan.scan(photos, cache_file=cache, workers=1, track=stop)
    seen = _counting(monkeypatch)
    scan.scan(photos, cache_file=cache)
    assert len(seen) == 5


def test_results_are_saved_on_the_way(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "_SAVE_SECONDS", 0.0)
    cache, sizes = tmp_path / "scan.csv", []
    write = scan._write
    monkeypatch.setattr(
        scan, "_write", lambda file, table: sizes.append(len(table)) or write(file, table) * 0
    )
    scan.scan(photos, cache_file=cache)
    assert sizes == [1, 2, 3, 4, 5, 6]  # with no time between saves, after every file
