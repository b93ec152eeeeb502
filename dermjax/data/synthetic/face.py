"""Faces, whole or a cheek, with the black bar of anonymisation where eyes show."""

from __future__ import annotations

import math

import numpy as np

from dermjax.data.synthetic.anatomy import Anatomy, axes
from dermjax.data.synthetic.textures import ramp

# Where diseases of the face like to sit, in half widths of the face: cheeks, nose, brow, chin.
SPOTS = ((-0.52, 0.18), (0.52, 0.18), (-0.45, 0.35), (0.45, 0.35), (0.0, 0.05), (0.0, -0.75))
SPOTS += ((0.0, 0.98),)


def face(part: Anatomy, random) -> None:
    """A face from the front."""
    scale = random.uniform(0.75, 1.25)
    _portrait(part, random, scale, (random.uniform(-0.2, 0.2), random.uniform(-0.15, 0.35)))


def cheek(part: Anatomy, random) -> None:
    """One cheek from near, with what borders it: nose, mouth, an eye."""
    scale = random.uniform(1.5, 2.2)
    side = int(random.choice((-1, 1)))
    _portrait(part, random, scale, (side * random.uniform(0.4, 0.6), random.uniform(0.1, 0.35)))


def _portrait(part: Anatomy, random, scale: float, view) -> None:
    """A face of half width `scale` seen so that the point `view` of it lies in the centre."""
    tilt = random.uniform(-0.15, 0.15)
    along, across = axes(part, tilt, 0.0, 0.0)
    u, v = along / scale + view[0], across / scale + view[1]
    # The jaw narrows; the skull does not.
    width = 1 - 0.20 * ramp(v, 0.2, 1.5)
    square = (u / width) ** 2 + (v / 1.38) ** 2
    head = 1 - np.sqrt(square)
    throat = np.minimum(0.62 - np.abs(u), v - 0.6)
    part.depth = (np.maximum(head, throat) * scale).astype(np.float32)
    relief = 0.55 * np.sqrt(np.clip(1 - square, 0, 1))
    for side in (-1, 1):
        relief += 0.05 * _hill(u - side * 0.50, v - 0.15, 0.30, 0.28)
        relief -= 0.08 * _hill(u - side * 0.40, v + 0.36, 0.20, 0.13)
    part.relief = relief.astype(np.float32)
    _nose(part, u, v, random)
    _mouth(part, u, v, random)
    _brows(part, u, v, random)
    if random.rand() < 0.85:
        _hair(part, u, v, random, scale)
    part.relief *= scale
    eyes = np.maximum(_hill(u - 0.40, v + 0.36, 0.28, 0.17), _hill(u + 0.40, v + 0.36, 0.28, 0.17))
    part.avoid = np.maximum(part.avoid, eyes)
    part.landmarks["eyes"] = eyes
    half, reach = random.uniform(0.15, 0.20), float(random.choice((0.75, 0.9, 9.0)))
    beyond = np.maximum(np.abs(v + 0.36) - half, np.abs(u) - reach)
    part.bar = ramp(beyond, 0.01, -0.01)
    # A lesion is photographed for its own sake: the bar may cut it, not hide its heart.
    part.avoid = np.maximum(part.avoid, ramp(beyond, 0.22, 0.18))
    cosine, sine = math.cos(tilt), math.sin(tilt)
    for x, y in SPOTS:
        x, y = (x - view[0]) * scale, (y - view[1]) * scale
        part.spots.append((x * cosine - y * sine, x * sine + y * cosine))


def _hill(u, v, radius_u: float, radius_v: float) -> np.ndarray:
    """A Gaussian hill of height 1."""
    return np.exp(-((u / radius_u) ** 2) - (v / radius_v) ** 2)


def _nose(part: Anatomy, u, v, random) -> None:
    """A bridge that widens to a round tip, two wings, two nostrils: relief, so light shades it."""
    size = random.uniform(0.9, 1.15)
    down = ramp(v, -0.45, 0.10)
    width = 0.075 + 0.05 * down
    bridge = ramp(v, -0.55, -0.05) * ramp(v, 0.30, 0.12)
    nose = 0.17 * bridge * np.exp(-((u / (size * width)) ** 2))
    nose += 0.10 * _hill(u, v - 0.10, 0.13 * size, 0.12)
    part.landmarks["nose"] = 10 * nose  # half the height of its tip, and of a nose's bridge
    for side in (-1, 1):
        nose += 0.09 * _hill(u - side * 0.15 * size, v - 0.15, 0.07, 0.08)
        nostril = _hill(u - side * 0.075 * size, v - 0.235, 0.048, 0.026)
        part.overlay("crust", 0.75 * ramp(nostril, 0.25, 0.7))
        fold = u - side * (0.24 + 0.35 * (v - 0.1))
        groove = np.exp(-((fold / 0.03) ** 2)) * ramp(v, 0.08, 0.2) * ramp(v, 0.55, 0.35)
        nose -= 0.012 * groove
    part.relief += nose


def _mouth(part: Anatomy, u, v, random) -> None:
    """Lips with a bow, parted by a dark line."""
    half = random.uniform(0.27, 0.33)
    y = 0.56
    bow = np.clip(1 - (u / half) ** 2, 0, 1)
    cleft = 0.018 * np.exp(-((u / 0.06) ** 2))
    upper = y - (0.075 * np.sqrt(bow) - cleft) * random.uniform(0.7, 1.1)
    lower = y + 0.10 * np.sqrt(bow) * random.uniform(0.7, 1.1)
    lips = ramp(v, upper - 0.012, upper + 0.012) * ramp(v, lower + 0.012, lower - 0.012)
    lips = lips * ramp(np.abs(u), half, half - 0.02)
    line = np.exp(-(((v - y + 0.012 * np.cos(9 * u)) / 0.011) ** 2)) * (bow > 0.04)
    part.overlay("erythema", 0.60 * lips)
    part.overlay("pigment", 0.06 * lips)
    part.overlay("gloss", 0.20 * lips)
    part.overlay("crust", 0.60 * line)
    part.landmarks["lips"] = lips
    part.relief += 0.03 * lips * bow
    part.avoid = np.maximum(part.avoid, _hill(u, v - y, 0.33, 0.16))


def _brows(part: Anatomy, u, v, random) -> None:
    """Eyebrows."""
    strands = part.noise("fine", random, (40, 90))
    for side in (-1, 1):
        across = (u * side - 0.40) / 0.24
        arch = v + 0.58 + 0.05 * (1 - across**2)
        brow = ramp(np.abs(across), 1.0, 0.7) * np.exp(-((arch / 0.035) ** 2))
        part.overlay("crust", np.clip(brow * (0.55 + 0.15 * strands), 0, 1))


def _hair(part: Anatomy, u, v, random, scale: float) -> None:
    """Hair that frames the forehead and the temples, thicker than the skull."""
    line = random.uniform(0.78, 0.88)
    strands = part.noise("blotch", random, (25, 420))
    border = np.hypot(u / (1.16 * line), v / (1.38 * line))
    wild = 0.02 * strands + 0.03 * part.noise("wave", random, 60)
    low = float(random.choice((-0.1, 0.2, 2.0)))  # how far down it hangs
    fall = ramp(v + 0.1 * np.abs(u), low + 0.1, low - 0.4)
    # Long hair hangs at the sides; a chin has none.
    fall = fall * ramp(np.abs(u) - 0.55 * ramp(v, 0.1, 0.5), 0.0, 0.1)
    hair = ramp(border + wild, 0.98, 1.06) * fall
    outer = 1 - np.hypot(u / (0.96 + 0.18 * fall), v / (1.35 + 0.2 * fall)) + 0.01 * strands
    outer = np.where(fall > 0.01, outer * scale, -9)
    part.depth = np.maximum(part.depth, outer).astype(np.float32)
    part.overlay("crust", hair * np.clip(0.85 + 0.08 * strands, 0, 1))
    part.hair = hair
