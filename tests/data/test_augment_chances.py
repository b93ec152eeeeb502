"""Every operation of the augmentation happens as often and as strongly as asked."""

import colorsys
import math

import numpy as np
from scipy import stats

from dermjax.data.augment import Augmentation
from tests.data.views import GEOMETRY, RAW, apply, noise


def _share_within(share, probability, count):
    return abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def test_every_operation_happens_as_often_as_asked():
    """Draws have fixed places, so a run with the operation off tells which images had it."""
    count, images = 2000, np.repeat(noise((1, 8, 8, 3)), 2000, axis=0)
    off = dict(crop_scale=(1, 1), crop_ratio=(1, 1), flip_horizontal=0, **GEOMETRY, **RAW)
    plain = apply(Augmentation(8, **off), images)
    for change, probability in (
        (dict(blur_probability=0.5, blur_sigma=(1, 2)), 0.5),
        (dict(jitter_probability=0.8), 0.8),
        (dict(grayscale_probability=0.2), 0.2),
    ):
        changed = (apply(Augmentation(8, **(off | change)), images) != plain).any((1, 2, 3))
        assert _share_within(changed.mean(), probability, count), (change, changed.mean())

        # Those left out are bit for bit what they were, or all would have changed.


def test_flips_are_independent_and_as_frequent_as_asked():
    count, images = 2000, np.repeat(noise((1, 4, 4, 3)), 2000, axis=0)
    still = dict(crop_scale=(1, 1), crop_ratio=(1, 1), **GEOMETRY, **RAW)
    views = apply(Augmentation(4, flip_horizontal=0.5, flip_vertical=0.3, **still), images)
    whole = images[0] / 255
    forms = [whole, whole[:, ::-1], whole[::-1], whole[::-1, ::-1]]
    equal = np.array([np.isclose(views, form, atol=1e-5).all((1, 2, 3)) for form in forms])
    assert (equal.sum(0) == 1).all()
    for form, probability in zip(equal, (0.35, 0.35, 0.15, 0.15), strict=True):
        assert _share_within(form.mean(), probability, count)


def test_strengths_span_torchvisions_intervals():
    count, images = 1000, np.full((1000, 2, 2, 3), 100, np.uint8)
    off = GEOMETRY | dict(jitter_probability=1, contrast=0, saturation=0, hue=0) | RAW
    for strength, low, high in ((0.4, 0.6, 1.4), (1.5, 0.0, 2.5)):
        views = apply(Augmentation(2, brightness=strength, **off), images)
        factors = views[:, 0, 0, 0] / (100 / 255)
        assert stats.kstest(factors, stats.uniform(low, high - low).cdf).pvalue > 1e-3, count
    images[:] = (200, 100, 100)  # hue 0, so that the shift is the new hue
    off = off | dict(brightness=0, hue=0.1)
    pixels = apply(Augmentation(2, **off), images)[:, 0, 0].tolist()
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels])
    hues = (hues + 0.5) % 1 - 0.5
    assert stats.kstest(hues, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3


def test_rotation_spans_its_interval():
    ramp = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[None, :, None], 40, axis=0)
    images = np.tile(ramp[None], (500, 1, 1, 3))
    still = dict(crop_scale=(0.05, 0.05), crop_ratio=(1, 1), flip_horizontal=0)
    views = apply(Augmentation(4, rotation=30, **still, **GEOMETRY, **RAW), images)[..., 0]
    right = (views[:, :, 3] - views[:, :, 0]).mean(1)
    down = (views[:, 3] - views[:, 0]).mean(1)
    angles = np.degrees(np.arctan2(down, right))
    assert abs(angles).max() < 31 and angles.min() < -25 and angles.max() > 25
    assert abs(angles.mean()) < 4 * 30 / math.sqrt(3 * 500)
