"""Opens every photograph once, before anything is trained, and remembers what it found."""

import csv
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dermjax.data import images, near_duplicates

_CHUNK = 256
_SAVE_SECONDS = 20.0
_FOUND = ("width", "height", "content", "mode", "hash")
_HEADER = ["path", "size", "mtime_ns", *_FOUND]
_Key = tuple[str, int, int]
_Found = tuple[int, int, str, str, str]
_NOTHING = (0, 0, "", "", "")
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
        content (sha256 of the bytes, hex), mode (such as 'JPEG RGB'), hash (of
        `near_duplicates.perceptual_hash`), error ('' or one line; then nothing else is known).
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
                *seen, error = result
                if key and not error:
                    changed |= key not in known
                    used[key] = tuple(seen)
                # Never more than a tenth of the time on saving, whatever the size of the table.
                if changed and time.monotonic() - written > max(_SAVE_SECONDS, 10 * cost):
                    cost = _write(cache_file, known | used)
                    written, changed = time.monotonic(), False
        finally:
            if changed:
                _write(cache_file, known | used)
    table = pd.DataFrame(found, columns=["path", *_FOUND, "error"])
    return table.astype({name: "str" for name in table} | {"width": int, "height": int})


def _look_all(paths, known, pool):
    """(path, its look) in order, a bounded number ahead of whoever takes them."""
    for start in range(0, len(paths), _CHUNK):
        part = paths[start : start + _CHUNK]
        yield from zip(part, pool.map(lambda path: _look(path, known), part), strict=True)


def _look(path, known) -> tuple[_Key | None, tuple[int, int, str, str, str, str]]:
    """(cache key, (what was found, error)) of one file."""
    try:
        state = os.stat(path)
        key = (path, state.st_size, state.st_mtime_ns)
        if key in known:
            return key, (*known[key], "")
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None, (*_NOTHING, "file not found")
    except IsADirectoryError:
        return None, (*_NOTHING, "is a folder, not a file")
    except OSError as error:
        return None, (*_NOTHING, f"cannot be read ({error.strerror or error})")
    try:
        width, height, mode, small = images.probe(data)
    except ValueError as error:
        return key, (*_NOTHING, str(error))
    content, look = hashlib.sha256(data).hexdigest(), near_duplicates.perceptual_hash(small)
    return key, (width, height, content, mode, look, "")


def _read(cache_file) -> dict[_Key, _Found]:
    """The cache; a damaged one counts as empty, for it can be made again."""
    if cache_file is None:
        return {}
    try:
        with open(cache_file, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != _HEADER:
                return {}
            return {
                (path, int(size), int(mtime)): (int(width), int(height), *words)
                for path, size, mtime, width, height, *words in reader
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
