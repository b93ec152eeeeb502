"""Random streams and tileable noise: what every drawn photograph is woven from."""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from scipy.spatial import cKDTree

TILE = 256  # side of a texture, texels
VARIANTS = 4  # textures of each kind


def stream(*key) -> np.random.RandomState:
    """A random stream that depends on `key` alone (ints and strings).

    RandomState, because NumPy froze its streams for ever; a Generator's may change.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4"))


def sigmoid(field: np.ndarray) -> np.ndarray:
    """Logistic step of `field`, any shape, to (0, 1)."""
    result = np.clip(field, -20, 20)
    np.negative(result, out=result)
    np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def ramp(field: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step of `field`, any shape: 0 at `low`, 1 at `high` (low > high falls)."""
    part = np.clip((field - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def resample(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`field` read bilinearly at a grid of positions, wrapping round its borders.

    Args:
        field: `[R, C]`.
        rows: `[H]` positions, in rows of `field`.
        columns: `[W]` positions, in columns of `field`.

    Returns:
        `[H, W]`, the type of `field`.
    """
    # Columns first, on the transpose: both passes then copy whole rows, which is fast.
    narrow = _resample_rows(np.ascontiguousarray(field.T), columns)
    return _resample_rows(np.ascontiguousarray(narrow.T), rows)


def _resample_rows(field: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of `field` between rows, `[N, C]`."""
    lower = np.floor(positions)
    part = (positions - lower).astype(field.dtype)[:, None]
    lower = lower.astype(np.int64) % len(field)
    result = field.take((lower + 1) % len(field), 0)
    first = field.take(lower, 0)
    result -= first
    result *= part
    result += first
    return result


class Textures:
    """The noise of all photographs: made once per process, read through random windows."""

    def __init__(self):
        random = stream("textures")
        frequency = np.fft.fftfreq(TILE) * TILE
        radius = np.hypot(*np.meshgrid(frequency, frequency)) + 1e-6
        filters = {
            "wave": radius**-3.0 * (radius > 1.5),
            # The border of a lesion: broad bays with a little fraying.
            "outline": (radius**-3.0 + 0.02 * radius**-1.7) * (radius > 1.5),
            "cloud": radius**-1.7 * (radius > 0.5),
            "blotch": _band(radius, 3, 24),
            "fine": _band(radius, 24, 64),
            "grain": _band(radius, 60, 120),
        }
        self.tiles = {
            kind: [_filtered(random, shape) for _ in range(VARIANTS)]
            for kind, shape in filters.items()
        }
        # Creases: the polygons of skin lines (about 0 between lines, -1 on a line).
        self.tiles["crease"] = [_cells(random, 900, 2.2, 0.0) - 1 for _ in range(VARIANTS)]
        # Plates: scale that breaks into flakes of unequal thickness (0 in cracks, at most 1).
        self.tiles["plates"] = [_cells(random, 420, 3.0, 0.7) for _ in range(VARIANTS)]

    def sample(
        self, kind: str, random: np.random.RandomState, shape: tuple[int, int], step
    ) -> np.ndarray:
        """A random window of the texture `kind`, `[H, W]` float32.

        `step` is in texels per px, one number or (down, right): unequal ones draw streaks.
        """
        tile = self.tiles[kind][random.randint(VARIANTS)]
        rows, columns = random.uniform(0, TILE, 2)
        if random.rand() < 0.5:
            tile = tile.T
        down, right = step if isinstance(step, tuple) else (step, step)
        rows = rows + down * np.arange(shape[0])
        columns = columns + right * np.arange(shape[1])
        return resample(tile, rows, columns)


@functools.cache
def textures() -> Textures:
    """The textures of this process (the same in every process)."""
    return Textures()


def _band(radius: np.ndarray, low: float, high: float) -> np.ndarray:
    """A band-pass filter over wave numbers, waves per tile."""
    centre = math.sqrt(low * high)
    return np.exp(-2 * (np.log(radius / centre) / math.log(high / low)) ** 2)


def _filtered(random: np.random.RandomState, shape: np.ndarray) -> np.ndarray:
    """Gaussian noise with the spectrum `shape`: mean 0, deviation 1."""
    noise = np.fft.ifft2(np.fft.fft2(random.standard_normal((TILE, TILE))) * shape).real
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def _cells(random, count: int, line: float, spread: float) -> np.ndarray:
    """Cells on a torus: 0 on lines `line` texels wide, up to 1 within, unequal by `spread`."""
    side = round(math.sqrt(count))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    seeds = (grid + random.uniform(0, 1, grid.shape)) * (TILE / side) % TILE
    pixels = np.stack(np.meshgrid(np.arange(TILE), np.arange(TILE)), -1)
    distance, nearest = cKDTree(seeds, boxsize=TILE).query(pixels, k=2)
    level = 1 - spread * random.uniform(0, 1, len(seeds))
    border = np.clip((distance[..., 1] - distance[..., 0]) / line, 0, 1)
    return (border * level[nearest[..., 0]]).astype(np.float32)
