"""The body a lesion sits on: outline, relief, features, on a coarse grid.

Lengths are in half sides of the frame (its shorter side is 2); (0, 0) is the frame's centre, x
points right and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dermjax.data.synthetic.textures import ramp, resample, textures

COARSE = 144  # rows or columns of the coarse grid, whichever is the shorter
INSIDE = 3.0  # the depth of skin that fills the frame


@dataclass
class Anatomy:
    """A part of the body; all fields `[R, C]` float32 on the coarse grid.

    Attributes:
        x, y: coordinates of the grid, `[1, C]` and `[R, 1]`.
        depth: distance inside the outline, negative on the background.
        relief: height of the surface.
        avoid: above 0.5 where no lesion is put (eyes, lips).
        overlays: what the part adds to the maps of a `Patch` (lips, nails, nostrils).
        hair: cover of the hair of the head, 0 to 1, if there is some.
        bar: above 0.5 where the photograph was blacked out for anonymity.
        spots: (x, y) where diseases of the face like to sit.
        landmarks: above 0.5 in the lips, the eyes, the nose of a face.
    """

    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    relief: np.ndarray
    avoid: np.ndarray
    overlays: dict[str, np.ndarray] = field(default_factory=dict)
    hair: np.ndarray | None = None
    bar: np.ndarray | None = None
    spots: list[tuple[float, float]] = field(default_factory=list)
    landmarks: dict[str, np.ndarray] = field(default_factory=dict)

    def overlay(self, name: str, value: np.ndarray) -> None:
        """Add features to the map `name`; of two the stronger shows."""
        known = self.overlays.get(name)
        self.overlays[name] = value if known is None else np.maximum(known, value)

    def noise(self, kind: str, random, texels) -> np.ndarray:
        """Noise over the grid at `texels` per half side, one number or (down, right)."""
        cell = float(self.y[1, 0] - self.y[0, 0])
        step = tuple(cell * np.atleast_1d(texels)) if np.ndim(texels) else cell * texels
        return textures().sample(kind, random, self.depth.shape, step)


def blank(frame: tuple[int, int]) -> Anatomy:
    """Skin that fills the frame of (height, width) px, flat."""
    rows, columns = frame
    shorter = min(frame)
    coarse = max(1.0, shorter / COARSE)
    y = np.linspace(-rows / shorter, rows / shorter, max(2, round(rows / coarse)))
    x = np.linspace(-columns / shorter, columns / shorter, max(2, round(columns / coarse)))
    x, y = x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]
    shape = y.shape[0], x.shape[1]
    zeros = np.zeros(shape, np.float32)
    return Anatomy(x, y, zeros + np.float32(INSIDE), zeros.copy(), zeros.copy())


def enlarge(coarse: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """A coarse field `[R, C]` at the size of the photograph `[H, W]`."""
    rows = np.linspace(0, coarse.shape[0] - 1, frame[0])
    columns = np.linspace(0, coarse.shape[1] - 1, frame[1])
    return resample(coarse, rows, columns)


def axes(part: Anatomy, angle: float, x: float, y: float):
    """Coordinates along and across an axis at `angle` through (x, y), each `[R, C]`."""
    dx, dy = part.x - x, part.y - y
    along = dx * math.cos(angle) + dy * math.sin(angle)
    across = dy * math.cos(angle) - dx * math.sin(angle)
    return along, across


def limb(part: Anatomy, random, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A forearm or a leg across the frame; returns the coordinates along and across it."""
    upright = random.rand() < 0.35
    angle = random.uniform(-0.5, 0.5) + (math.pi / 2 if upright else 0)
    along, across = axes(part, angle, random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2))
    across = across - random.uniform(-0.10, 0.10) * along * along
    taper, muscle = random.uniform(-0.10, 0.10, 2).tolist()
    half = width * random.uniform(0.8, 1.4) * (1 + taper * along + muscle * np.sin(1.5 * along))
    half = np.maximum(half, 0.2)
    part.depth = half - np.abs(across)
    part.relief = 0.75 * half * np.sqrt(np.clip(1 - (across / half) ** 2, 0, 1))
    return along, across


def arm(part: Anatomy, random) -> None:
    limb(part, random, 0.75)


def leg(part: Anatomy, random) -> None:
    limb(part, random, 0.95)


def fold(part: Anatomy, random) -> None:
    """The hollow of an elbow or a knee: a limb with flexion creases across it."""
    along, across = limb(part, random, 0.95)
    place = random.uniform(-0.3, 0.3)
    for _ in range(random.randint(1, 4)):
        bow = random.uniform(-0.25, 0.25)
        wander = 0.03 * part.noise("wave", random, 60)
        line = along - place - bow * across * across - wander
        ends = ramp(np.abs(across - random.uniform(-0.2, 0.2)), 0.75, 0.3)
        part.relief -= ends * (0.025 * np.exp(-((line / 0.022) ** 2)))
        part.relief -= ends * (0.03 * np.exp(-((line / 0.12) ** 2)))
        part.overlay("pigment", 0.08 * ends * np.exp(-((line / 0.02) ** 2)))
        place += random.uniform(0.06, 0.22)


def trunk(part: Anatomy, random) -> None:
    """Chest, belly or back: broad relief, sometimes a flank, a spine, a navel or a nipple."""
    angle = random.uniform(0, 2 * math.pi)
    along, across = axes(part, angle, random.uniform(-0.5, 0.5), random.uniform(-0.3, 0.3))
    part.relief = -random.uniform(0.04, 0.22) * across**2 - 0.05 * along**2
    part.relief += 0.03 * part.noise("wave", random, 40)
    if random.rand() < 0.3:
        flank = random.uniform(0.8, 1.3)
        part.depth = flank - across + random.uniform(0.05, 0.3) * np.cos(1.3 * along)
        edge = np.clip(part.depth, 0, 0.6)
        part.relief += np.sqrt(np.clip(0.36 - (0.6 - edge) ** 2, 0, 1))
    kind = random.rand()
    if kind < 0.2:
        part.relief -= 0.05 * np.exp(-(((across + 0.05 * np.sin(2 * along)) / 0.12) ** 2))
    elif kind < 0.42:
        x, y = random.uniform(-1.1, 1.1), random.uniform(-0.7, 0.7)
        square = ((part.x - x) / 0.10) ** 2 + ((part.y - y) / 0.13) ** 2
        part.avoid += np.exp(-square / 4)
        if kind < 0.3:  # a navel
            part.relief -= 0.10 * np.exp(-square)
            part.overlay("crust", 0.45 * np.exp(-((2.5 * square) ** 2)))
        else:  # a nipple in its areola
            part.overlay("pigment", 0.35 * ramp(square, 1.6, 1.0))
            part.overlay("erythema", 0.30 * ramp(square, 1.6, 1.0))
            part.relief += 0.04 * np.exp(-12 * square)


def neck(part: Anatomy, random) -> None:
    """A neck with its lines, under a jaw or below the hair of the nape."""
    along, across = axes(part, random.uniform(-0.3, 0.3), 0.0, 0.0)
    half = random.uniform(0.95, 1.6)
    part.depth = half - np.abs(along)
    part.relief = 0.7 * half * np.sqrt(np.clip(1 - (along / half) ** 2, 0, 1))
    for _ in range(random.randint(1, 4)):
        wander = 0.04 * part.noise("wave", random, 40)
        line = across - random.uniform(-0.6, 0.8) - 0.15 * along * along - wander
        ends = ramp(np.abs(along - random.uniform(-0.3, 0.3)), 0.9, 0.4)
        part.relief -= 0.018 * ends * np.exp(-((line / 0.02) ** 2))
    border = across + random.uniform(0.7, 0.95) - 0.2 * along * along
    if random.rand() < 0.5:  # the jaw above throws its shadow
        part.relief += 0.25 * ramp(border, 0.1, -0.15)
    else:
        strands = part.noise("blotch", random, (25, 500))
        hair = ramp(border + 0.04 * strands, 0.05, -0.10)
        part.overlay("crust", hair * np.clip(0.82 + 0.09 * strands, 0, 1))
        part.hair = hair


def scalp(part: Anatomy, random) -> None:
    """The top of a head; its hair is drawn with the body hair."""
    x, y = random.uniform(-0.4, 0.4, 2).tolist()
    part.relief = -0.18 * ((part.x - x) ** 2 + (part.y - y) ** 2)


def hand(part: Anatomy, random) -> None:
    """A hand from its back or its palm: fingers of unequal length that fan out from the palm."""
    scale = random.uniform(0.85, 1.5)
    angle = random.uniform(0, 2 * math.pi)
    # The frame looks at the back of the hand or at its fingers.
    view_u, view_v = random.uniform(-0.25, 0.25), random.uniform(-0.35, 0.75)
    along, across = axes(part, angle, 0.0, 0.0)
    u, v = across / scale + view_u, along / scale + view_v  # v points to the fingertips
    side = float(random.choice((-1.0, 1.0)))
    u = u * side
    spread = random.uniform(0.03, 0.17)
    dorsal = random.rand() < 0.65
    bodies = [_capsule(u, v, (0.0, -0.10), (0.0, -2.0), 0.40, 0.30)]
    palm = np.hypot(np.maximum(np.abs(u) - 0.25, 0), np.maximum(np.abs(v) - 0.25, 0))
    bodies.append((0.22 - palm, 0.22))
    bodies.append(_capsule(u, v, (-0.30, -0.25), (-0.45, 0.02), 0.20, 0.16))
    thumb = random.uniform(0.45, 0.95)
    tip = -0.45 - 0.55 * math.sin(thumb), 0.02 + 0.55 * math.cos(thumb)
    bodies.append(_capsule(u, v, (-0.45, 0.02), tip, 0.14, 0.105))
    tips = [(tip, thumb)]
    # Length and root of index, middle, ring and little finger.
    roots = ((-0.355, 0.38), (-0.12, 0.44), (0.12, 0.42), (0.345, 0.33))
    for number, (root, length) in enumerate(zip(roots, (0.72, 0.82, 0.76, 0.58), strict=True)):
        lean = (number - 1.4) * spread + 0.03 * random.randn()
        reach = length * random.uniform(0.9, 1.05)
        tip = root[0] + reach * math.sin(lean), root[1] + reach * math.cos(lean)
        thick = 0.118 if number < 3 else 0.10
        bodies.append(_capsule(u, v, root, tip, thick, 0.84 * thick))
        tips.append((tip, -lean))
        if dorsal:
            _knuckles(part, (u, v), root, tip, thick)
    _join(part, bodies, scale)
    if dorsal:
        _nails(part, (u, v), tips, 0.075)
    else:
        _palm_lines(part, (u, v), random)


def foot(part: Anatomy, random) -> None:
    """A foot from above or its sole: heel, instep, ball and five toes."""
    scale = random.uniform(0.75, 1.25)
    along, across = axes(part, random.uniform(0, 2 * math.pi), 0.0, 0.0)
    side = float(random.choice((-1.0, 1.0)))
    u = (across / scale + random.uniform(-0.2, 0.2)) * side
    v = along / scale + random.uniform(-0.8, 0.6)
    bodies = [
        _capsule(u, v, (0.05, -1.15), (0.12, -0.30), 0.36, 0.36),
        _capsule(u, v, (0.12, -0.30), (0.0, 0.30), 0.37, 0.46),
        _capsule(u, v, (-0.22, 0.30), (0.28, 0.22), 0.30, 0.26),
    ]
    sole = random.rand() < 0.5
    if not sole:
        bodies.append(_capsule(u, v, (0.05, -0.9), (0.05, -2.2), 0.40, 0.42))
    toes = ((-0.34, 0.86, 0.155), (-0.09, 0.88, 0.10), (0.10, 0.82, 0.095))
    toes += ((0.27, 0.73, 0.09), (0.42, 0.61, 0.085))
    tips = []
    for x, y, thick in toes:
        y = y + 0.03 * random.randn()
        bodies.append(_capsule(u, v, (0.85 * x, 0.45), (x, y), 0.85 * thick, thick))
        tips.append(((x, y), 0.12 * x))
    _join(part, bodies, scale)
    if sole:  # thick pale skin, redder where it bears weight
        ball = np.exp(-((u / 0.4) ** 2) - ((v - 0.3) / 0.25) ** 2)
        heel = np.exp(-((u - 0.05) ** 2 + (v + 1.15) ** 2) / 0.08)
        part.overlay("erythema", 0.14 * (ball + heel))
    else:
        _nails(part, (u, v), tips, 0.06)


def _capsule(u, v, start, end, first: float, last: float):
    """(depth, half width) of a rounded rod whose half width goes from `first` to `last`."""
    du, dv = end[0] - start[0], end[1] - start[1]
    part = ((u - start[0]) * du + (v - start[1]) * dv) / (du * du + dv * dv)
    part = np.clip(part, 0, 1)
    half = first + (last - first) * part
    return half - np.hypot(u - start[0] - part * du, v - start[1] - part * dv), half


def _join(part: Anatomy, bodies, scale: float) -> None:
    """Unite rods into one outline and one relief, each rod round."""
    depth = np.full(part.depth.shape, -9, np.float32)
    relief = np.zeros_like(depth)
    for inside, half in bodies:
        # A soft maximum rounds the webs between fingers; it must not swell the fingers.
        gap = np.abs(depth - inside)
        depth = np.maximum(depth, inside) + 0.12 * np.clip(0.06 - gap, 0, 1)
        gone = np.clip(half - inside, 0, half)
        thick = np.minimum(half, 0.17)
        bulge = np.sqrt(np.clip(1 - (gone / half) ** 2, 0, 1)) * thick
        relief = np.where(inside > 0, np.maximum(relief, bulge), relief)
    part.depth = (depth * scale).astype(np.float32)
    part.relief = (relief * 0.9 * scale).astype(np.float32)


def _nails(part: Anatomy, where, tips, size: float) -> None:
    """Nails: pale, rosy, with a fold round them."""
    u, v = where
    for (x, y), lean in tips:
        along = (v - y) * math.cos(lean) - (u - x) * math.sin(lean)
        across = (u - x) * math.cos(lean) + (v - y) * math.sin(lean)
        square = (across / size) ** 2 + (along / (1.25 * size)) ** 2
        nail = ramp(square**2, 1.2, 0.7)
        part.overlay("gloss", 0.5 * nail)
        part.overlay("scale", 0.30 * nail)
        part.relief -= 0.012 * np.exp(-(((square - 1) / 0.25) ** 2))


def _knuckles(part: Anatomy, where, root, tip, thick: float) -> None:
    """Wrinkles over two joints of a finger, and the knuckle at its root."""
    u, v = where
    du, dv = tip[0] - root[0], tip[1] - root[1]
    length = math.hypot(du, dv)
    along = ((u - root[0]) * du + (v - root[1]) * dv) / length
    across = ((u - root[0]) * dv - (v - root[1]) * du) / length
    near = np.exp(-((across / (0.7 * thick)) ** 2))
    for joint in (0.45 * length, 0.78 * length):
        for shift in (-0.03, 0.0, 0.03):
            line = along - joint - shift * (1 + 6 * np.abs(across))
            part.overlay("pigment", 0.07 * near * np.exp(-((line / 0.012) ** 2)))
    knuckle = np.exp(-((across / thick) ** 2) - (along / (1.1 * thick)) ** 2)
    part.overlay("erythema", 0.08 * knuckle)


def _palm_lines(part: Anatomy, where, random) -> None:
    """The three great lines of a palm."""
    u, v = where
    for x, y, radius in ((-0.55, -0.35, 0.55), (-0.10, 0.95, 0.85), (-0.25, 0.85, 0.60)):
        ring = np.hypot(u - x, v - y) - radius * random.uniform(0.95, 1.05)
        within = (np.abs(u) < 0.40) & (np.abs(v) < 0.36)
        part.overlay("erythema", 0.35 * within * np.exp(-((ring / 0.012) ** 2)))
    part.overlay("erythema", 0.05 + 0 * u)
