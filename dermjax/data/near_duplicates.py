"""The same photograph twice although its bytes differ: saved anew, smaller, brighter, cut a little.

A perceptual hash (ImageHash's pHash: which of the 256 lowest frequencies of the brightness lie
above their median) changes in few of its bits by such a change, and in about half of them from one
photograph to another. Measured on photographs of PAD-UFES-20 and HAM10000 (150 each): JPEG quality
50 at half the size at most 18 bits, brightness or contrast + 20 % at most 18, a margin of 1 % cut
off all around at most 34 (median 18), of 2.5 % 66 (median 36). Of 8.2 million pairs of different
lesions of HAM10000 the nearest are 40 bits apart, 32 pairs at most 64; of the pairs within 36 bits
in another 1,999 images all nine show one lesion. Mirrored or turned copies are not found.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dermjax import atomic
from dermjax.data.work import Track, untracked

BITS = 256
SURE = 32  # bits: taken for one photograph, and kept in one set
LIKELY = 52  # bits: worth a look; nearly all are different lesions that look alike
_SIDE = 16  # frequencies in each direction
_LEAST_SIDE, _LEAST_SPREAD = 24, 2.0  # px and levels: below, a hash would say nothing
_BLOCK = 4096


def perceptual_hash(image: Image.Image) -> str:
    """256 bits as 64 hex digits; '' where the image is too small or too uniform to have one.

    Args:
        image: Upright, of any mode that Pillow turns into brightness.
    """
    if min(image.size) < _LEAST_SIDE:
        return ""
    gray = image.convert("L")
    if np.asarray(gray).std() < _LEAST_SPREAD:
        return ""
    return str(imagehash.phash(gray, hash_size=_SIDE))


def find(
    hashes: Iterable[str],
    *,
    within: int = LIKELY,
    cache_dir=None,
    track: Track = untracked,
) -> pd.DataFrame:
    """All pairs of hashes that differ in few bits.

    Exact, by block products of +-1 matrices: 35,000 photographs take seconds, a million the better
    part of an hour on two cores. The answer is kept.

    Args:
        hashes: Of `perceptual_hash`; blank ones pair with none.
        within: Bits, the largest distance.
        cache_dir: Folder that keeps answers; None: none are kept.
        track: Wraps an iterable of known length to show progress: (items, total, label).

    Returns:
        One row per pair: first, second (the hashes, first < second) and distance (bits), the
        nearest first. Equal hashes are one.

    Raises:
        ValueError: `within` is no number of bits, 0 to 256.
    """
    if not 0 <= within <= BITS:
        raise ValueError(f"within = {within} bits must lie in 0 to {BITS}; usual is {LIKELY}")
    known = sorted(set(hashes) - {""})
    kept = None
    if cache_dir is not None:
        digest = hashlib.sha256(" ".join([str(within), *known]).encode()).hexdigest()[:16]
        kept = Path(cache_dir) / f"near-{digest}.csv"
        if kept.exists():
            return pd.read_csv(kept, dtype={"first": str, "second": str, "distance": int})
    found = _all_pairs(known, within, track)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replace(kept) as beside:
            found.to_csv(beside, index=False)
    return found


def _all_pairs(known: list[str], within: int, track: Track) -> pd.DataFrame:
    """Pairs among sorted distinct hashes."""
    digits = np.frombuffer(bytes.fromhex("".join(known)), np.uint8).reshape(len(known), BITS // 8)
    bits = np.unpackbits(digits, axis=1)
    signs = bits.astype(np.float32) * 2 - 1
    starts = range(0, len(known), _BLOCK)
    blocks = [(i, j) for i in starts for j in starts if i <= j]
    label = "comparing images"
    found = [np.zeros((0, 3), int)]
    for i, j in track(blocks, len(blocks), label) if len(blocks) > 1 else blocks:
        # The products are sums of 256 ones: exact in float32.
        apart = (BITS - signs[i : i + _BLOCK] @ signs[j : j + _BLOCK].T) / 2
        first, second = np.nonzero(apart <= within)
        later = first + i < second + j
        first, second = first[later], second[later]
        found.append(np.stack([first + i, second + j, apart[first, second]], 1).astype(int))
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], pairs[:, 2]))]
    names = np.array(known, dtype=object)
    return pd.DataFrame(
        {"first": names[pairs[:, 0]], "second": names[pairs[:, 1]], "distance": pairs[:, 2]}
    )


def joined(hashes: pd.Series, pairs: pd.DataFrame, within: int) -> pd.Series:
    """What each hash is one photograph with, over any number of steps.

    Args:
        hashes: Of `perceptual_hash`.
        pairs: As `find` gives them.
        within: Bits; pairs farther apart do not join.

    Returns:
        The smallest hash of each one's photograph; '' for a blank one.
    """
    near = pairs[pairs["distance"] <= within]
    codes, names = pd.factorize(hashes.where(hashes != ""), sort=True)
    place = pd.Series(np.arange(len(names)), index=names)
    first, second = (place.reindex(near[side]).to_numpy() for side in ("first", "second"))
    there = ~(pd.isna(first) | pd.isna(second))
    edges = first[there].astype(int), second[there].astype(int)
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(len(names),) * 2)
    part = connected_components(graph, directed=False)[1]
    smallest = pd.Series(names, dtype="str").groupby(part).min()
    values = np.array([*smallest[part], ""], dtype=object)  # -1, no hash, takes the last
    return pd.Series(values[codes], index=hashes.index, dtype="str")
