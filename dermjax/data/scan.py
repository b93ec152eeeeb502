"""Opens every photograph once, before anything is trained, and remembers what it found."""

import contextlib
import csv
import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dermjax import atomic
from dermjax.data import images, near_duplicates
from dermjax.data.work import Track, untracked
from dermjax.data.workers import in_order

NOT_FOUND = "file not found"
_SAVE_SECONDS = 20.0
_NUMBERS = ("width", "height", "orientation", "frames")
_FOUND = (*_NUMBERS, "content", "mode", "hash", "damage")
_HEADER = ["path", "size", "mtime_ns", *_FOUND]
_Key = tuple[str, int, int]
_Found = tuple[int | str, ...]  # in the order of _FOUND
_NOTHING = (0, 0, 1, 1, "", "", "", "")


def scan(
    paths: Iterable[str],
    *,
    cache_file,
    workers: int = 2,
    track: Track = untracked,
) -> pd.DataFrame:
    """Decodes every file and hashes its bytes; what was seen before is taken from the cache.

    Args:
        paths: Files; repeated ones are read once.
        cache_file: CSV that keeps the results by (path, size, mtime_ns); written atomically, also
            on the way, so an interrupted scan goes on where it was. None: no cache.
        workers: Processes.
        track: Wraps an iterable of known length to show progress: (items, total, label).

    Returns:
        One row per distinct path, in order of appearance: path, width, height (px, upright),
        orientation (by EXIF, undone), frames (2 where there are several), content (sha256 of the
        bytes, hex), mode (such as 'JPEG RGB'), hash (of `near_duplicates.perceptual_hash`), damage
        (of `images.probe`), error ('' or one line; then nothing else is known).
    """
    paths = list(dict.fromkeys(map(str, paths)))
    known, found, used = _read(cache_file), [], {}
    # Threads: of a file on another machine its state is waited for, not computed.
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        keys = list(pool.map(_key, paths))
    unseen = [path for path, key in zip(paths, keys, strict=True) if key not in known]
    written = time.monotonic()
    changed, cost = False, 0.0
    with contextlib.closing(in_order(_look, unseen, workers=workers)) as looks:
        try:
            for path, key in track(zip(paths, keys, strict=True), len(paths), "checking images"):
                *seen, error = (*known[key], "") if key in known else next(looks)
                found.append((path, *seen, error))
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
    return table.astype({name: "str" for name in table} | dict.fromkeys(_NUMBERS, int))


def _key(path: str) -> _Key | None:
    """What a file's content is known by; None where it has no state."""
    try:
        state = os.stat(path)
    except OSError:  # a look at it will say why
        return None
    return path, state.st_size, state.st_mtime_ns


def _look(path: str) -> tuple:
    """What was found in one file, and the error."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return *_NOTHING, NOT_FOUND
    except IsADirectoryError:
        return *_NOTHING, "is a folder, not a file"
    except OSError as error:
        return *_NOTHING, f"cannot be read ({error.strerror or error})"
    try:
        seen = images.probe(data)
    except ValueError as error:
        return *_NOTHING, str(error)
    content, look = hashlib.sha256(data).hexdigest(), near_duplicates.perceptual_hash(seen.small)
    numbers = (seen.width, seen.height, seen.orientation, seen.frames)
    return *numbers, content, seen.mode, look, seen.damage, ""


def _read(cache_file) -> dict[_Key, _Found]:
    """The cache; a damaged one counts as empty, for it can be made again."""
    if cache_file is None:
        return {}
    try:
        with open(cache_file, encoding="utf-8", newline="") as file:
            reader, count = csv.reader(file), len(_NUMBERS)
            if next(reader, None) != _HEADER:
                return {}
            return {
                (path, int(size), int(mtime)): (*map(int, found[:count]), *found[count:])
                for path, size, mtime, *found in reader
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
    # One entry per path: the newest state of a changed file replaces its old one.
    newest = {key[0]: (*key, *value) for key, value in table.items()}
    with (
        atomic.replace(cache_file) as beside,
        open(beside, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        writer.writerows(newest.values())
    return time.monotonic() - start
