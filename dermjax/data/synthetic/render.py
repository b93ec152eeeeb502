"""From a plan to a photograph: body, lesions, nuisances, colour, light, camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dermjax.data.synthetic import anatomy, face, papules, plaques
from dermjax.data.synthetic.anatomy import Anatomy, enlarge
from dermjax.data.synthetic.patch import COVERS, MAPS, VISIBLE, Patch, stroke
from dermjax.data.synthetic.patients import (
    CLASSES,
    Patient,
    PhotoPlan,
    SyntheticSettings,
    draw_patient,
)
from dermjax.data.synthetic.textures import ramp, sigmoid, stream, textures

# Beer-Lambert over two pigments: colour = exp(-(BASE + melanin MELANIN + blood BLOOD)).
BASE = (0.04, 0.15, 0.22)
MELANIN = (0.95, 1.18, 1.38)
BLOOD = (0.06, 0.56, 0.44)
# What covers the skin, in the order it is laid on: map, red, green, blue.
LAYERS = (
    ("scale", (0.93, 0.91, 0.88)),
    ("pus", (0.90, 0.80, 0.50)),
    ("crust", (0.20, 0.11, 0.08)),
)
PAINTERS = {name: getattr(papules, name, None) or getattr(plaques, name) for name in CLASSES}
PARTS = {
    "face": face.face,
    "cheek": face.cheek,
    "scalp": anatomy.scalp,
    "neck": anatomy.neck,
    "trunk": anatomy.trunk,
    "arm": anatomy.arm,
    "fold": anatomy.fold,
    "hand": anatomy.hand,
    "leg": anatomy.leg,
    "foot": anatomy.foot,
}
FACIAL = ("acne_vulgaris", "rosacea")  # these keep to certain places of a face
RELIEF = 0.45  # skin scatters light: its relief looks flatter than it is
# Half size of a lesion group by the number of groups, in half sides of the frame.
SIZES = {1: (0.34, 0.64), 2: (0.28, 0.46), 3: (0.25, 0.38)}
# What a pixel of a photograph is without its lesions; the numbers of `render_regions`.
REGIONS = ("background", "skin", "outline", "hair", "nose", "eyes", "lips")
OUTLINE = 0.08  # of a face, from its edge inwards, in half sides of the frame


@dataclass(frozen=True)
class Rendered:
    """A photograph `[H, W, 3]` uint8 and its mask `[H, W]` uint8 (0 skin, k + 1 in lesion k)."""

    image: np.ndarray
    mask: np.ndarray


def render_photo(plan: PhotoPlan, settings: SyntheticSettings) -> Rendered:
    """Draw a photograph and the true mask of its lesions.

    Args:
        plan: what is on the photograph.
        settings: its size and the seed; nothing else of them matters here.

    Returns:
        The photograph and the mask, in which every planned lesion has at least one pixel.
    """
    frame = settings.height, settings.width
    patient = draw_patient(settings.seed, plan.label, plan.member)
    key = settings.seed, plan.label, plan.member, plan.photo
    random = stream("scene", *key)
    part = anatomy.blank(frame)
    PARTS[plan.site](part, random)
    skin = sigmoid(enlarge(part.depth, frame) * (min(frame) / 2) / 0.8)
    maps = {name: np.zeros(frame, np.float32) for name in MAPS}
    mask = np.zeros(frame, np.uint8)
    seen = skin
    for cover in (part.hair, part.bar):
        if cover is not None:
            seen = seen * (1 - enlarge(np.asarray(cover, np.float32), frame))
    for index, (x, y, radius) in enumerate(_place(part, random, plan, frame)):
        own = stream("lesion", *key, index)
        patch = Patch(own, (x, y), radius, frame)
        severity = float(np.clip(patient.severity + 0.15 * own.randn(), 0.15, 1))
        PAINTERS[plan.label](patch, severity, patient.phenotype)
        signal = patch.finish() * (seen[patch.window] > 0.5)
        _mark(mask, index + 1, patch.window, signal, (x, y))
        _merge(maps, patch, seen[patch.window])
    _nuisances(maps, random, patient, plan.site, frame)
    image = _skin_colour(maps, part, random, patient, frame)
    slopes = _slopes(maps["height"], patient)
    image *= _light(slopes, part, patient, frame)
    image += _highlights(slopes, maps["gloss"], patient)
    _background(image, skin, part, random, patient)
    if part.bar is not None:
        image *= 1 - enlarge(part.bar, frame)
    return Rendered(_camera(image, random, patient), mask)


def render_regions(plan: PhotoPlan, settings: SyntheticSettings) -> np.ndarray:
    """What each pixel of the photograph shows, `[H, W]` uint8, an index into REGIONS.

    Of the landmarks of a face, a cheek has those in view; other sites have none and no outline. An
    anonymised photograph's bar counts as eyes.
    """
    frame = settings.height, settings.width
    part = anatomy.blank(frame)
    key = settings.seed, plan.label, plan.member, plan.photo
    PARTS[plan.site](part, stream("scene", *key))
    depth = enlarge(part.depth, frame)
    regions = np.where(depth > 0, REGIONS.index("skin"), REGIONS.index("background"))
    if part.landmarks:
        regions[(depth > 0) & (depth < OUTLINE)] = REGIONS.index("outline")
    covers = {"hair": part.hair, **part.landmarks}
    for name in ("hair", "nose", "eyes", "lips"):
        if covers.get(name) is not None:
            shown = enlarge(np.asarray(covers[name], np.float32), frame) > 0.5
            regions[shown & (depth > 0)] = REGIONS.index(name)
    if part.bar is not None:
        regions[enlarge(np.asarray(part.bar, np.float32), frame) > 0.5] = REGIONS.index("eyes")
    return regions.astype(np.uint8)


def _place(part: Anatomy, random, plan: PhotoPlan, frame) -> list[tuple[float, float, float]]:
    """(x, y, half size) of each lesion group in px: on the body, in the frame, apart."""
    unit = min(frame) / 2
    edge_x, edge_y = frame[1] / 2 / unit, frame[0] / 2 / unit
    inner = np.minimum(edge_x - np.abs(part.x), edge_y - np.abs(part.y))
    avoid = part.avoid if part.hair is None else np.maximum(part.avoid, part.hair)
    room = np.minimum(np.where(avoid > 0.5, -1, part.depth) / 0.55, inner / 0.8)
    placed: list[tuple[float, float, float]] = []
    for _ in range(plan.boxes):
        size = random.uniform(*SIZES[plan.boxes])
        free = room
        for x, y, other in placed:
            apart = np.hypot(part.x - x, part.y - y) / 0.95 - other
            free = np.minimum(free, apart)
        # Where a group does not fit it shrinks; at the last it takes the roomiest place.
        size = min(size, max(0.15, 0.98 * float(free.max())))
        weight = (free >= min(size, float(free.max()))).astype(np.float32)
        if plan.label in FACIAL and part.spots:
            near = [np.hypot(part.x - x, part.y - y) for x, y in part.spots]
            weight *= np.exp(-((np.min(near, 0) / 0.15) ** 2)) + 1e-6
        total = np.cumsum(weight.ravel(), dtype=np.float64)
        cell = int(np.searchsorted(total, random.rand() * total[-1], side="right"))
        row, column = divmod(min(cell, weight.size - 1), weight.shape[1])
        placed.append((float(part.x[0, column]), float(part.y[row, 0]), size))
    centre_x, centre_y = (frame[1] - 1) / 2, (frame[0] - 1) / 2
    return [(centre_x + x * unit, centre_y + y * unit, size * unit) for x, y, size in placed]


def _mark(mask, value: int, window, signal: np.ndarray, centre) -> None:
    """Write a lesion into the mask: where its signal shows and no earlier lesion lies."""
    target = mask[window]
    signal = np.where(target == 0, signal, 0)
    peak = float(signal.max())
    if peak > 0:
        target[signal >= min(VISIBLE, 0.4 * peak)] = value
        return
    mask[int(centre[1]), int(centre[0])] = value  # a lesion without a pixel would have no box


def _merge(maps: dict[str, np.ndarray], patch: Patch, seen: np.ndarray | np.float32) -> None:
    """Lay a lesion's maps on the photograph's, where the skin is `seen`."""
    for name, whole in maps.items():
        target = whole[patch.window]
        field = patch.maps[name] * seen
        if name == "height":
            target += RELIEF * patch.radius * field  # from half sizes to px
        elif name in COVERS:
            np.maximum(target, field, out=target)
        else:
            target += field


def _nuisances(maps, random, patient: Patient, site: str, frame) -> None:
    """Moles, hair, a surgical pen's trace: things that are no lesion."""
    unit = min(frame) / 2
    for _ in range(random.poisson(2.5 * patient.moles)):
        centre = random.uniform(0, frame[1]), random.uniform(0, frame[0])
        size = unit * random.uniform(0.010, 0.028)
        mole = Patch(random, centre, 2.5 * size, frame)
        mole.dome(0, 0, 0.4, pigment=(random.uniform(0.25, 0.8), 1.5))
        _merge(maps, mole, np.float32(1))
    if site == "scalp":
        _hairs(maps, random, patient, frame, random.randint(250, 500), 0.5)
    elif site not in ("face", "cheek") and random.rand() < 0.6 * patient.hair:
        _hairs(maps, random, patient, frame, random.randint(15, 90), 0.16)


def _hairs(maps, random, patient: Patient, frame, count: int, length: float) -> None:
    """Hairs of about one direction, `length` in half sides of the frame."""
    unit = min(frame) / 2
    steps = np.arange(max(5, int(length * unit / 0.9)))
    angle = random.uniform(0, 2 * math.pi) + 0.3 * random.standard_normal((count, 1))
    bend = random.standard_normal((count, 1)) * 0.6 / len(steps)
    headings = angle + bend * steps
    # Hairs end at different lengths: the tail of a short one is moved out of the frame.
    x = random.uniform(0, frame[1], (count, 1)) + 0.9 * np.cumsum(np.cos(headings), 1)
    y = random.uniform(0, frame[0], (count, 1)) + 0.9 * np.cumsum(np.sin(headings), 1)
    shown = steps < random.uniform(0.3, 1.0, (count, 1)) * len(steps)
    points = np.stack([x[shown], y[shown]], 1)
    hair = stroke(points, max(0.42, 0.0016 * unit), frame)
    np.maximum(maps["crust"], 0.62 * patient.hair_darkness * hair, out=maps["crust"])


def _skin_colour(maps, part: Anatomy, random, patient: Patient, frame) -> np.ndarray:
    """The colour of skin and lesions in even light, `[3, H, W]` in 0 to 1."""
    noise = textures()
    texel = 2 / min(frame)  # half sides per px, so that a texture keeps its size
    for name, coarse in part.overlays.items():
        field = enlarge(np.asarray(coarse, np.float32), frame)
        if name in COVERS:
            np.maximum(maps[name], field, out=maps[name])
        else:
            maps[name] += field
    clouds = noise.sample("cloud", random, frame, 60 * texel)
    flush = noise.sample("blotch", random, frame, 45 * texel)
    melanin = patient.melanin * (1 + 0.08 * clouds) + maps["pigment"]
    # Melanin lies above the blood and hides part of it.
    redness = maps["erythema"] * (1 - 0.35 * patient.melanin)
    blood = np.maximum(patient.blood * (1 + 0.10 * clouds + 0.08 * flush) + redness, 0)
    image = np.empty((3, *frame), np.float32)
    for channel in range(3):
        depth = -MELANIN[channel] * melanin
        depth -= BLOOD[channel] * blood
        depth -= BASE[channel]
        np.exp(depth, out=image[channel])
    dim = 0.55 + 0.45 * (1 - patient.melanin)  # scale on dark skin looks greyer
    for name, colour in LAYERS:
        rows = np.flatnonzero(maps[name].max(1) > 0)
        if not rows.size:
            continue
        columns = np.flatnonzero(maps[name].max(0) > 0)
        where = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        cover = np.clip(maps[name][where], 0, 1)
        tone = 1 if name == "crust" else dim
        for channel in range(3):
            image[channel][where] += cover * (tone * colour[channel] - image[channel][where])
    grain = noise.sample("grain", random, frame, max(0.6, 160 * texel))
    lines = noise.sample("crease", random, frame, 190 * texel)
    image *= 1 + patient.texture * (0.012 * grain + 0.02 * (lines + 0.2))
    return image


def _slopes(relief: np.ndarray, patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """(rise towards the light, length of the normal) of a surface whose unit is one cell."""
    down = np.empty_like(relief)
    right = np.empty_like(relief)
    down[1:-1] = 0.5 * (relief[2:] - relief[:-2])
    right[:, 1:-1] = 0.5 * (relief[:, 2:] - relief[:, :-2])
    down[0], down[-1] = down[1], down[-2]
    right[:, 0], right[:, -1] = right[:, 1], right[:, -2]
    rise = right * math.cos(patient.light) + down * math.sin(patient.light)
    return rise, np.sqrt(1 + down * down + right * right)


def _light(slopes, part: Anatomy, patient: Patient, frame) -> np.ndarray:
    """Lambert's shading of the body's and the lesions' relief, `[H, W]`, 1 on a flat place."""
    cell = float(part.y[1, 0] - part.y[0, 0])
    rise, normal = _slopes(part.relief / cell, patient)
    body = np.clip((1 - 0.7 * patient.grazing * rise) / normal, 0, 1.25)
    body = 0.48 + 0.52 * body
    distance = math.cos(patient.light) * part.x + math.sin(patient.light) * part.y
    body = body * (1 + 0.25 * patient.falloff * distance)
    corner = part.x * part.x + part.y * part.y
    body = body * (1 - 0.10 * patient.falloff * corner)
    rise, normal = slopes
    lesion = np.clip((1 - patient.grazing * rise) / normal, 0.35, 1.5)
    return enlarge(body.astype(np.float32), frame) * lesion


def _highlights(slopes, gloss: np.ndarray, patient: Patient) -> np.ndarray:
    """Gloss where the surface mirrors the light (Blinn), `[H, W]`."""
    rise, normal = slopes
    elevation = math.atan(1 / patient.grazing)
    # The half vector between the light and the camera overhead.
    half = (math.pi / 2 - elevation) / 2
    cosine = (math.cos(half) - math.sin(half) * rise) / normal
    np.clip(cosine, 0, 1, out=cosine)
    # To the 24th power by products: a power of floats costs ten times as much.
    fourth = np.square(np.square(cosine))
    mirror = np.square(fourth) * np.square(np.square(fourth))
    mirror -= math.cos(half) ** 24
    np.clip(mirror, 0, 1, out=mirror)
    return mirror * (gloss + 0.05 * patient.shine)


def _background(image, skin, part: Anatomy, random, patient: Patient) -> None:
    """Put cloth behind the body, darker where the body shades it."""
    frame = skin.shape
    bright = random.uniform(0.7, 1.15)
    if skin.min() > 0.99:
        return
    shadow = enlarge(0.8 + 0.2 * ramp(part.depth, 0.0, -0.35), frame)
    weave = textures().sample("cloud", random, frame, 120 / min(frame))
    cloth = (1 - skin) * shadow * bright * (1 + 0.05 * weave)
    for channel in range(3):
        image[channel] *= skin
        image[channel] += patient.background[channel] * cloth


def _camera(image: np.ndarray, random, patient: Patient) -> np.ndarray:
    """White balance, exposure, blur, noise and rounding: `[3, H, W]` to `[H, W, 3]` uint8."""
    shift = 0.02 * random.standard_normal(3)
    exposure = math.exp(patient.exposure + 0.07 * random.randn())
    for channel in range(3):
        image[channel] *= float((patient.balance[channel] + shift[channel]) * exposure)
    blurs = random.choice((0, 0, 0, 1, 2))
    for _ in range(blurs):
        image[:, 1:-1] = 0.25 * (image[:, :-2] + image[:, 2:]) + 0.5 * image[:, 1:-1]
        image[..., 1:-1] = 0.25 * (image[..., :-2] + image[..., 2:]) + 0.5 * image[..., 1:-1]
    grain = textures().sample("grain", random, image.shape[1:], 1.7)
    grain *= patient.noise
    # Upside down it serves as colour noise: far apart, so nobody sees that it is the same.
    colour = 0.5 * grain[::-1]
    image += grain
    image[0] += colour
    image[2] -= colour
    np.clip(image, 0, 1, out=image)
    image *= 255
    image += 0.5
    return np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0))
