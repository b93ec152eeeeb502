"""Opens every photograph once, before anything is trained, and remembers what it found."""

import csv
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dermjax.data import images

_CHUNK = 256
_SAVE_SECONDS = 20.0
_HEADER = ["path", "size", "mtime_ns", "width", "height", "content"]
_Key = tuple[str, int, int]
Track = Callable[[Iterable, int, str], Iterable]


def scan(
    paths: Iterable[str],
    *,
    cache_file,
    workers: int = 2,
    track: Track = lambda items, total, label: items,
) -> pd.DataFrame:
    """Decodes every file and hashes its bytes; what was seen before is taken from the cache.

    Args:
        paths: Files; repeated ones are read once.
        cache_file: CSV that keeps the results by (path, size, mtime_ns); written atomically, also
            on the way, so an interrupted scan goes on where it was. None: no cache.
        workers: Threads (Pillow and hashlib release the GIL).
        track: Wraps an iterable of known length to show progress: (items, total, label).

    Returns:
        One row per distinct path, in order of appearance: path, width, height (px, upright),
        content (sha256 of the bytes, hex), error ('' or one line; then width = height = 0).
    """
    paths = list(dict.fromkeys(map(str, paths)))
    known, found, used = _read(cache_file), [], {}
    written = time.monotonic()
    changed, cost = False, 0.0
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        looks = _look_all(paths, known, pool)
        try:
            for path, (key, result) in track(looks, len(paths), "checking images"):
                found.append((path, *result))
                if key and not result[3]:
                    changed |= key not in known
                    used[key] = result[:3]
                # Never more than a tenth of the time on saving, whatever the size of the table.
                if changed and time.monotonic() - written > max(_SAVE_SECONDS, 10 * cost):
                    cost = _write(cache_file, known | used)
                    written, changed = time.monotonic(), False
        finally:
            if changed:
                _write(cache_file, known | used)
    return pd.DataFrame(found, columns=["path", "width", "height", "content", "error"]).astype(
        {"path": "str", "width": int, "height": int, "content": "str", "error": "str"}
    )


def _look_all(paths, known, pool):
    """(path, its look) in order, a bounded number ahead of whoever takes them."""
    for start in range(0, len(paths), _CHUNK):
        part = paths[start : start + _CHUNK]
        yield from zip(part, pool.map(lambda path: _look(path, known), part), strict=True)


def _look(path, known) -> tuple[_Key | None, tuple[int, int, str, str]]:
    """(cache key, (width, height, content, error)) of one file."""
    try:
        state = os.stat(path)
        key = (path, state.st_size, state.st_mtime_ns)
        if key in known:
            return key, (*known[key], "")
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None, (0, 0, "", "file not found")
    except IsADirectoryError:
        return None, (0, 0, "", "is a folder, not a file")
    except OSError as error:
        return None, (0, 0, "", f"cannot be read ({error.strerror or error})")
    try:
        width, height = images.probe(data)
    except ValueError as error:
        return key, (0, 0, "", str(error))
    return key, (width, height, hashlib.sha256(data).hexdigest(), "")


def _read(cache_file) -> dict[_Key, tuple[int, int, str]]:
    """The cache; a damaged one counts as empty, for it can be made again."""
    if cache_file is None:
        return {}
    try:
        with open(cache_file, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != _HEADER:
                return {}
            return {
                (path, int(size), int(mtime)): (int(width), int(height), content)
                for path, size, mtime, width, height, content in reader
            }
    except (OSError, ValueError, csv.Error):
        return {}


def _write(cache_file, table) -> float:
    """Writes beside and renames; returns the seconds it took."""
    if cache_file is None:
        return 0.0
    start = time.monotonic()
    cache_file = Path(cache_file)
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    part = cache_file.with_name(f"{cache_file.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_HEADER)
            # One entry per path: the newest state of a changed file replaces its old one.
            newest = {key[0]: (*key, *value) for key, value in table.items()}
            writer.writerows(newest.values())
        os.replace(part, cache_file)
    finally:
        part.unlink(missing_ok=True)
    return time.monotonic() - start
