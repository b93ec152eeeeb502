"""Diseases of papules, vesicles, nodules and tracks, painted on a `Patch` (see `plaques`)."""

from __future__ import annotations

import math

import numpy as np

from dermjax.data.synthetic.patch import Patch, walk
from dermjax.data.synthetic.textures import ramp, sigmoid


def acne_vulgaris(patch: Patch, severity: float, phenotype) -> None:
    """Greasy skin with comedones, papules, pustules, nodules and the marks they leave."""
    random = patch.random
    near = sigmoid((1.05 - np.hypot(patch.u, patch.v)) / 0.12)
    patch.add(gloss=0.25 * phenotype[0] * near)
    # Lesions come in clusters, not evenly strewn.
    hubs = random.uniform(-0.55, 0.55, (random.randint(2, 5), 2))
    count = random.randint(8, 18) + random.poisson(20 * severity)
    comedonal = 0.15 + 0.35 * phenotype[1]
    for _ in range(count):
        u, v = np.clip(hubs[random.randint(len(hubs))] + 0.32 * random.randn(2), -0.95, 0.95)
        size = random.uniform(0.035, 0.08)
        kind = random.rand()
        if kind < comedonal:
            _comedo(patch, u, v, 0.45 * size)
        elif kind < comedonal + 0.30:
            patch.dome(u, v, 2.0 * size, erythema=(0.22, 1))
            patch.dome(u, v, size, erythema=(0.70 + 0.5 * severity, 1.3), height=(0.6 * size, 1.2))
        elif kind < comedonal + 0.30 + 0.15:
            _pustule(patch, u, v, size)
        else:
            patch.dome(u, v, size, pigment=(0.14, 1.2), erythema=(0.28, 1.2))
    for _ in range(random.poisson(2.0 * severity * phenotype[2])):
        u, v = random.uniform(-0.6, 0.6, 2)
        size = random.uniform(0.10, 0.17)
        patch.dome(u, v, size, erythema=(0.85, 1.3), height=(0.5 * size, 1.3), gloss=(0.2, 1))


def _comedo(patch: Patch, u: float, v: float, size: float) -> None:
    """A blackhead, or a whitehead."""
    if patch.random.rand() < 0.6:
        patch.dome(u, v, size, crust=(0.75, 1.5))
        patch.dome(u, v, 1.8 * size, height=(0.6 * size, 1))
    else:
        patch.dome(u, v, 1.3 * size, height=(1.0 * size, 1.2), pus=(0.25, 1.5))


def _pustule(patch: Patch, u: float, v: float, size: float) -> None:
    """A yellow head on a red halo."""
    patch.dome(u, v, 1.6 * size, erythema=(0.75, 1.2))
    patch.dome(u, v, size, height=(0.7 * size, 1.2))
    patch.dome(u, v, 0.55 * size, pus=(0.80, 2), gloss=(0.10, 1))


def furuncle(patch: Patch, severity: float, phenotype) -> None:
    """One red, tense nodule round a hair, with a head of pus or a dead plug."""
    random = patch.random
    size = random.uniform(0.42, 0.62)
    u, v = random.uniform(-0.1, 0.1, 2)
    halo = patch.blob(u, v, 1.5 * size, 1.4 * size, 0.16)
    patch.add(erythema=sigmoid(halo / 0.16) * (0.30 + 0.25 * severity))
    patch.dome(
        u,
        v,
        0.85 * size,
        erythema=(0.50 + 0.35 * severity, 1.4),
        height=((0.30 + 0.30 * severity) * size, 1.4),
        gloss=(0.35, 1.5),
    )
    head = size * random.uniform(0.14, 0.30)
    if random.rand() < 0.7:
        patch.dome(u, v, head, pus=(0.9, 2), height=(0.4 * head, 1.5))
        patch.dome(u + 0.2 * head, v, 0.4 * head, crust=(random.uniform(0, 0.8), 2))
    else:
        patch.dome(u, v, head * random.uniform(0.5, 1), crust=(random.uniform(0.4, 0.9), 2))
    # Skin peels in a collar round the head.
    ring = np.hypot(patch.u - u, patch.v - v) / (1.7 * head) + 0.08 * patch.texture("cloud", 150)
    collar = np.exp(-(((ring - 1) / 0.10) ** 2)) * phenotype[1]
    patch.add(scale=0.45 * collar * np.clip(patch.texture("fine", 120), 0, 1))


def granuloma_anulare(patch: Patch, severity: float, phenotype) -> None:
    """Rings of smooth firm papules, skin-coloured to violet-pink, flat and calm within."""
    random = patch.random
    arc = 2 * math.pi * (1 if phenotype[0] > 0.4 else random.uniform(0.6, 0.9))
    count = random.choice((1, 1, 1, 2, 3))
    turn = random.uniform(0, 2 * math.pi)
    for number in range(count):
        ring = random.uniform(0.45, 0.75) if count == 1 else random.uniform(0.25, 0.42)
        # Several rings lie side by side about the centre.
        away = 0.05 if count == 1 else 0.48
        u = away * math.cos(turn + 2 * math.pi * number / count)
        v = away * math.sin(turn + 2 * math.pi * number / count)
        squash = random.uniform(0.7, 1)
        inside = patch.blob(u, v, ring, ring * squash, 0.10)
        patch.add(
            erythema=sigmoid(inside / 0.12) * 0.12 * severity,
            pigment=sigmoid(inside / 0.12) * 0.06 * phenotype[1],
        )
        _papule_ring(patch, (u, v, ring, squash, arc), severity, phenotype)


def _papule_ring(patch: Patch, ring, severity: float, phenotype) -> None:
    """Papules that touch one another along an ellipse that is a little out of round."""
    random = patch.random
    u, v, radius, squash, arc = ring
    start, turn = random.uniform(0, 2 * math.pi, 2)
    waves = random.uniform(-0.07, 0.07, 2)
    coarse = 1.35 if phenotype[2] < 0.3 else 1
    angle = 0.0
    while angle < arc:
        size = random.uniform(0.045, 0.095) * coarse
        here = start + angle
        bulge = 1 + waves[0] * math.cos(2 * here) + waves[1] * math.cos(3 * here)
        away = radius * (bulge + 0.04 * random.randn())
        x, y = away * math.cos(here), away * squash * math.sin(here)
        patch.dome(
            u + x * math.cos(turn) - y * math.sin(turn),
            v + x * math.sin(turn) + y * math.cos(turn),
            size,
            erythema=(random.uniform(0.7, 1.2) * (0.20 + 0.28 * severity), 1.3),
            pigment=(0.05 * phenotype[1], 1),
            height=(0.50 * size, 1.4),
            gloss=(0.15, 1),
        )
        angle += size * random.uniform(0.6, 1.5) / radius


def herpes_zoster(patch: Patch, severity: float, phenotype) -> None:
    """A band of red fields, each with its bunch of vesicles; later pustules and crusts."""
    random = patch.random
    slope = random.uniform(-0.8, 0.8)
    early = phenotype[0] < 0.12
    old = phenotype[1] * random.rand()
    count = random.randint(2, 6)
    for number in range(count):
        along = 0.8 * ((number + 0.5) / count * 2 - 1) + random.uniform(-0.1, 0.1)
        u = along * math.cos(slope) + random.uniform(-0.10, 0.10)
        v = along * math.sin(slope) + random.uniform(-0.16, 0.16)
        size = random.uniform(0.22, 0.36)
        field = patch.blob(u, v, size, 0.8 * size, 0.14)
        patch.add(
            erythema=sigmoid(field / 0.12) * (0.45 + 0.45 * severity),
            height=0.015 * sigmoid(field / 0.15),
        )
        for _ in range(0 if early else random.randint(7, 17)):
            x, y = size * 0.42 * random.randn(2)
            _vesicle(patch, u + x, v + y, random.uniform(0.028, 0.058), old)


def _vesicle(patch: Patch, u: float, v: float, size: float, old: float) -> None:
    """A tense clear bubble, a cloudy one with a dimple, or its crust."""
    random = patch.random
    if random.rand() < old:
        patch.dome(u, v, size, crust=(0.85, 2), height=(0.4 * size, 1.5))
        return
    patch.dome(u, v, 1.4 * size, erythema=(0.20, 1))
    patch.dome(u, v, size, height=(0.7 * size, 1.4), gloss=(0.4, 2))
    patch.dome(u, v, 0.85 * size, pus=(random.uniform(0.15, 0.55), 3))
    if random.rand() < 0.3:
        patch.dome(u, v, 0.35 * size, height=(-0.5 * size, 1), erythema=(0.25, 1))


def larva_migrans(patch: Patch, severity: float, phenotype) -> None:
    """The winding raised track of a creeping larva, freshest at one end; vesicles along it."""
    random = patch.random
    for _ in range(random.choice((1, 1, 1, 1, 2, 2))):
        angle = random.uniform(0, 2 * math.pi)
        length = random.uniform(2.4, 4.4)
        track = walk(random, (0, 0), length, angle, random.uniform(1.1, 1.8), 0.012)
        track -= (track.max(0) + track.min(0)) / 2
        track += random.uniform(-0.25, 0.25, 2)
        track *= min(1, 0.95 / np.abs(track).max())
        width = random.uniform(0.015, 0.025)
        patch.stroke(track, 3.0 * width, erythema=0.12 + 0.16 * severity)
        patch.stroke(track, width, erythema=0.50 + 0.30 * severity, height=1.6 * width)
        # The old end fades and peels, the fresh end is redder.
        patch.stroke(track[-len(track) // 4 :], width, erythema=0.25)
        old = track[: max(4, len(track) // 4)]
        patch.stroke(old, 1.3 * width, scale=0.35 * phenotype[0])
        for index in random.randint(0, len(track), random.poisson(2.5)):
            u, v = track[index]
            size = 2.2 * width
            patch.dome(u, v, size, height=(0.8 * size, 1.5), pus=(0.35, 2), gloss=(0.6, 1))
    if phenotype[3] > 0.6:
        inside = patch.blob(0, 0, 0.8, 0.6, 0.35)
        patch.add(erythema=0.16 * ramp(inside, 0, 0.5))
