"""Diseases of patches and plaques, painted on a `Patch`.

A painter takes (patch, severity in 0.15 to 1, the patient's four phenotype numbers in [0, 1]).
It paints what the skin does, never a colour: the ten diseases share one palette, and erythema
looks right on every skin.
"""

from __future__ import annotations

import math

import numpy as np

from dermjax.data.synthetic.patch import Patch, walk
from dermjax.data.synthetic.textures import ramp, sigmoid


def psoriasis_vulgaris(patch: Patch, severity: float, phenotype) -> None:
    """Sharp red plaques under silvery flakes; guttate in some patients, scale-poor if treated."""
    random = patch.random
    guttate = phenotype[0] > 0.82
    count = random.randint(6, 13) if guttate else random.choice((1, 1, 2, 3, 4))
    inside = np.full(patch.shape, -3, np.float32)
    for _ in range(count):
        if guttate:
            size, spread = random.uniform(0.12, 0.24), 0.75
        else:
            size = random.uniform(0.34, 0.66) * (1.35 if count == 1 else 1)
            spread = 0.55 if count > 1 else 0.05
        u, v = random.uniform(-spread, spread, 2)
        plaque = patch.blob(u, v, size * random.uniform(0.75, 1.25), size, 0.09)
        np.maximum(inside, plaque * size, out=inside)
    body = sigmoid(inside / 0.018)
    treated = phenotype[2] < 0.18
    cap = 0.15 if treated else 0.45 + 0.55 * phenotype[1] * random.uniform(0.5, 1)
    plates = patch.texture("plates", random.uniform(90, 170))
    dust = patch.texture("fine", 120) + patch.texture("blotch", 170)
    flakes = 0.75 + 0.35 * plates + 0.25 * dust
    # Thick and thin scale lie in islands, so that red shows between them.
    islands = sigmoid(2.2 * patch.texture("cloud", 150) + 0.4 + 1.5 * severity)
    scale = ramp(inside, 0.0, 0.10) * islands * np.clip(cap * flakes, 0, 1)
    mottle = 1 + 0.10 * patch.texture("blotch", 160)
    patch.add(
        erythema=body * (0.45 + 0.60 * severity) * mottle,
        pigment=0.06 * body,
        scale=scale * (0.6 + 0.4 * severity),
        height=0.022 * ramp(inside, -0.03, 0.06) + 0.007 * scale * flakes,
    )


def atopic_dermatitis(patch: Patch, severity: float, phenotype) -> None:
    """Ill-defined, patchy, dry, rubbed skin: soft border, coarse lines, scratches, crusts."""
    random = patch.random
    inside = patch.blob(
        0, 0, random.uniform(0.65, 0.95), random.uniform(0.5, 0.9), random.uniform(0.25, 0.4)
    )
    # Broad clouds decide where it burns, small blotches how: no pattern repeats.
    clouds = patch.texture("cloud", random.uniform(90, 170))
    blotches = patch.texture("blotch", random.uniform(60, 110))
    body = sigmoid((inside + 0.22 * clouds) / 0.20)
    patches = body * sigmoid(0.9 + 1.4 * clouds + 0.5 * blotches)
    dry = np.clip(patch.texture("fine", random.uniform(90, 150)) + 0.5 * clouds - 0.8, 0, 1.5)
    thick = phenotype[0] * severity  # lichenification
    lines = patch.texture("crease", random.uniform(110, 170)) + 0.25
    patch.add(
        erythema=patches * (0.40 + 0.60 * severity) + 0.10 * body * (1 - lines * thick),
        pigment=0.12 * body * phenotype[2],
        scale=patches * dry * (0.25 + 0.35 * phenotype[1]),
        height=body * (0.020 * lines * thick + 0.006 * clouds),
    )
    for _ in range(random.poisson(2 + 7 * phenotype[3] * severity)):
        _excoriation(patch, severity)
    for _ in range(random.poisson(10 + 14 * (1 - phenotype[0]))):
        u, v = 0.55 * random.standard_normal(2)
        size = random.uniform(0.018, 0.045)
        patch.dome(u, v, size, erythema=(0.30, 1), height=(0.5 * size, 1))
        if random.rand() < 0.18 * severity:
            patch.dome(u, v, 0.8 * size, crust=(0.5, 2), pus=(0.3, 2))


def _excoriation(patch: Patch, severity: float) -> None:
    """A scratch, often two or three side by side, scabbed in places."""
    random = patch.random
    u, v = random.uniform(-0.5, 0.5, 2)
    angle = random.uniform(0, 2 * math.pi)
    for number in range(random.randint(1, 4)):
        start = u - 0.09 * number * math.sin(angle), v + 0.09 * number * math.cos(angle)
        length = random.uniform(0.15, 0.5)
        line = walk(random, start, length, angle + 0.1 * random.randn(), 0.08, 0.012)
        patch.stroke(line, random.uniform(0.009, 0.016), erythema=0.7 * severity + 0.2)
        part = line[: max(3, int(len(line) * random.uniform(0.1, 0.6)))]
        patch.stroke(part, 0.010, crust=random.uniform(0.1, 0.65))


def erysipelas(patch: Patch, severity: float, phenotype) -> None:
    """One bright, hot, swollen, shining area with a sharp border and tongues; rarely a blister."""
    random = patch.random
    inside = patch.blob(
        0, 0, random.uniform(0.75, 1.0), random.uniform(0.6, 0.9), 0.08 + 0.08 * phenotype[0]
    )
    for _ in range(random.poisson(1.5)):
        angle = random.uniform(0, 2 * math.pi)
        tongue = patch.blob(
            0.75 * math.cos(angle), 0.75 * math.sin(angle), random.uniform(0.25, 0.45), 0.22, 0.10
        )
        np.logaddexp(inside / 0.05, 0.35 * tongue / 0.05, out=inside)
        inside *= 0.05
    body = sigmoid(inside / 0.035)
    uneven = 1 + 0.10 * patch.texture("cloud", 120)
    # The border is the hottest and the highest part.
    rim = np.exp(-(((inside - 0.10) / 0.14) ** 2))
    patch.add(
        erythema=body * (0.65 + 0.55 * severity) * uneven + 0.15 * rim * body,
        height=0.055 * ramp(inside, -0.10, 0.35),
        gloss=body * (0.15 + 0.25 * phenotype[1]),
    )
    if random.rand() < 0.2 * (0.5 + severity):
        for _ in range(random.randint(1, 4)):
            u, v = random.uniform(-0.35, 0.35, 2)
            size = random.uniform(0.06, 0.15)
            patch.dome(u, v, size, height=(0.6 * size, 2), gloss=(0.9, 2), pus=(0.30, 3))


def rosacea(patch: Patch, severity: float, phenotype) -> None:
    """Diffuse redness with fine vessels; papules and pustules in some; no comedo."""
    random = patch.random
    inside = patch.blob(0, 0, random.uniform(0.75, 1.1), random.uniform(0.65, 0.95), 0.28)
    body = sigmoid(inside / 0.24)
    mottle = 1 + 0.16 * patch.texture("blotch", 80) + 0.12 * patch.texture("cloud", 110)
    patch.add(erythema=body * (0.40 + 0.50 * severity) * mottle, gloss=0.15 * body)
    for _ in range(4 + random.poisson(14 * phenotype[0])):
        start = random.uniform(-0.7, 0.7, 2)
        angle = random.uniform(0, 2 * math.pi)
        vessel = walk(random, start, random.uniform(0.12, 0.40), angle, 0.9, 0.012)
        strength = random.uniform(0.35, 0.65)
        patch.stroke(vessel, random.uniform(0.007, 0.012), erythema=strength)
        if random.rand() < 0.6:
            fork = vessel[len(vessel) // 2]
            side = angle + random.choice((-0.8, 0.8))
            branch = walk(random, fork, random.uniform(0.06, 0.2), side, 0.9, 0.012)
            patch.stroke(branch, 0.006, erythema=0.8 * strength)
    for _ in range(random.poisson(14 * phenotype[1] * severity)):
        u, v = random.uniform(-0.75, 0.75, 2)
        size = random.uniform(0.03, 0.065)
        patch.dome(u, v, size, erythema=(0.55, 1.3), height=(0.55 * size, 1))
        if random.rand() < 0.3:
            patch.dome(u, v, 0.45 * size, pus=(0.75, 2))


def urticaria(patch: Patch, severity: float, phenotype) -> None:
    """Smooth raised wheals, pale within and pink at the border, that flow together; a flare."""
    random = patch.random
    count = random.randint(2, 9)
    inside = np.full(patch.shape, -3, np.float32)
    for _ in range(count):
        size = random.uniform(0.14, 0.40) * (1.35 if count < 4 else 1)
        u, v = random.uniform(-0.7, 0.7, 2)
        wheal = patch.blob(u, v, size, size * random.uniform(0.6, 1), 0.08) * size
        # A soft maximum: neighbouring wheals flow together.
        bridge = 0.06
        np.logaddexp(inside / bridge, wheal / bridge, out=inside)
        inside *= bridge
    body = sigmoid(inside / 0.016)
    pale = ramp(inside, 0.02, 0.14) * (0.35 + 0.6 * phenotype[0])
    rim = np.exp(-(((inside - 0.015) / 0.035) ** 2))
    flare = sigmoid((inside + 0.12) / 0.05) * (1 - body)
    strength = 0.30 + 0.45 * severity
    patch.add(
        erythema=strength * (body * (1 - 0.70 * pale) + 0.30 * rim) + 0.18 * flare,
        height=0.050 * ramp(inside, -0.045, 0.12),
        gloss=0.10 * body,
    )
