"""The canvas of one lesion group: maps of what the skin does there, in units of the group."""

from __future__ import annotations

import math

import numpy as np

from dermjax.data.synthetic.textures import ramp, textures

# erythema: added haemoglobin; pigment: added melanin; scale, pus, crust: cover, 0 to 1;
# height: above the skin, in half sizes of the group; gloss: weight of the highlight.
MAPS = ("erythema", "pigment", "scale", "pus", "crust", "height", "gloss")
COVERS = ("scale", "pus", "crust", "gloss")  # these do not add up: the strongest wins
REACH = 1.6  # half side of the canvas, in half sizes of the group
VISIBLE = 0.18  # the signal from which a pixel counts as lesion


class Patch:
    """Maps over a window of the photograph around one lesion group.

    Coordinates are (u, v) in half sizes of the group, (0, 0) its centre, so that a disease is
    drawn alike at every resolution.

    Args:
        random: the group's own stream.
        centre: (x, y) of the group, px.
        radius: half size of the group, px.
        frame: (height, width) of the photograph, px; the window is cut at its borders.
    """

    def __init__(self, random, centre: tuple[float, float], radius: float, frame):
        self.random = random
        self.radius = radius
        x, y = centre
        reach = REACH * radius
        rows = max(0, int(y - reach)), min(frame[0], int(y + reach) + 1)
        columns = max(0, int(x - reach)), min(frame[1], int(x + reach) + 1)
        self.window = slice(*rows), slice(*columns)
        self.u = ((np.arange(*columns) - x) / radius).astype(np.float32)[None, :]
        self.v = ((np.arange(*rows) - y) / radius).astype(np.float32)[:, None]
        self.shape = self.v.shape[0], self.u.shape[1]
        self.maps = {name: np.zeros(self.shape, np.float32) for name in MAPS}

    def texture(self, kind: str, texels: float) -> np.ndarray:
        """Noise over the window, `[H, W]`, at `texels` per half size of the group."""
        return textures().sample(kind, self.random, self.shape, texels / self.radius)

    def add(self, **fields) -> None:
        """Paint `[H, W]` fields on the maps of these names."""
        for name, field in fields.items():
            self._paint(name, (slice(None), slice(None)), field)

    def blob(self, u, v, radius_u, radius_v, rough: float) -> np.ndarray:
        """How far inside a ragged ellipse a pixel lies, `[H, W]`.

        1 at the centre, 0 at the border, negative outside, in radii of the ellipse; `rough` is
        the deviation of the border.
        """
        u, v = float(u), float(v)  # NumPy's own scalars would turn the fields into float64
        turn = self.random.uniform(0, math.pi)
        noise = self.texture("outline", 130 / max(radius_u, radius_v))
        along = (self.u - u) * math.cos(turn) + (self.v - v) * math.sin(turn)
        across = (self.v - v) * math.cos(turn) - (self.u - u) * math.sin(turn)
        distance = np.sqrt((along / radius_u) ** 2 + (across / radius_v) ** 2)
        return 1 - distance + rough * noise

    def dome(self, u: float, v: float, radius: float, **amounts: tuple[float, float]) -> None:
        """One round spot; `amounts` gives a map's (amount, sharpness), sharpness 1 = Gaussian."""
        # Never under a pixel: a spot that falls between pixels would vanish at low resolution.
        u, v, radius = float(u), float(v), float(max(radius, 0.8 / self.radius))
        reach = 2.2 * radius
        columns = slice(*np.searchsorted(self.u[0], (u - reach, u + reach)))
        rows = slice(*np.searchsorted(self.v[:, 0], (v - reach, v + reach)))
        square = ((self.v[rows] - v) ** 2 + (self.u[:, columns] - u) ** 2) / radius**2
        if not square.size:
            return
        for name, (amount, sharpness) in amounts.items():
            profile = square if sharpness == 1 else square**sharpness
            self._paint(name, (rows, columns), amount * np.exp(-profile))

    def stroke(self, points: np.ndarray, width: float, **amounts: float) -> None:
        """A line of Gaussian profile along `points` `[N, 2]` (u, v), deviation `width`."""
        pixels = (points - (self.u[0, 0], self.v[0, 0])) * self.radius
        line = stroke(pixels, max(width * self.radius, 0.45), self.shape)
        self.add(**{name: amount * line for name, amount in amounts.items()})

    def finish(self) -> np.ndarray:
        """Fade the maps out towards the window's border; returns the lesion signal `[H, W]`."""
        fade = ramp(np.hypot(self.u, self.v), REACH, REACH - 0.3)
        for field in self.maps.values():
            field *= fade
        cover = self.maps["scale"] + 1.2 * self.maps["pus"] + self.maps["crust"]
        relief = 4 * np.clip(self.maps["height"], 0, None)
        colour = 1.1 * self.maps["erythema"] + 2 * np.abs(self.maps["pigment"])
        return colour + cover + relief

    def _paint(self, name: str, where, field: np.ndarray) -> None:
        target = self.maps[name][where]
        if name in COVERS:
            np.maximum(target, field, out=target)
        else:
            target += field


def stroke(points: np.ndarray, width: float, shape: tuple[int, int]) -> np.ndarray:
    """A line through `points` `[N, 2]` (x, y in px), Gaussian of deviation `width` px, `[H, W]`."""
    height, width_px = shape
    reach = int(2 * width) + 1
    offsets = np.arange(-reach, reach + 1)
    nearest = np.rint(points).astype(np.int64)
    x = nearest[:, 0, None, None] + offsets[None, None, :]
    y = nearest[:, 1, None, None] + offsets[None, :, None]
    square = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    value = np.exp(-square / (2 * width * width)).astype(np.float32)
    inside = (x >= 0) & (x < width_px) & (y >= 0) & (y < height)
    flat = np.zeros(height * width_px, np.float32)
    np.maximum.at(flat, (y * width_px + x)[inside], value[inside])
    return flat.reshape(shape)


def walk(random, start, length: float, angle: float, wander: float, spacing: float):
    """A smooth winding line, `[N, 2]`, in the unit of `start`.

    Args:
        random: the stream.
        start: (u, v).
        length: of the line.
        angle: the direction about which the line winds, radians.
        wander: deviation of its heading from `angle`, radians; above 1 it doubles back.
        spacing: between points.
    """
    count = max(4, int(length / spacing))
    # A heading that forgets over about 0.3 units winds like a river and seldom ties a knot.
    keep = math.exp(-spacing / 0.3)
    follow = 1 - math.exp(-spacing / 0.08)
    kick = math.sqrt(1 - keep * keep)
    noise = random.standard_normal(count + 1)
    heading = np.empty(count)
    state, smooth = noise[0], 0.0
    for index in range(count):
        state = keep * state + kick * noise[index + 1]
        # Smoothed once more, for the curvature of a larva is continuous.
        smooth += follow * (state - smooth)
        heading[index] = smooth
    heading = angle + 1.2 * wander * heading
    steps = spacing * np.stack([np.cos(heading), np.sin(heading)], 1)
    return np.asarray(start) + np.cumsum(steps, 0)
