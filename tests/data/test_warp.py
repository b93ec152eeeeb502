"""Crop, flip, rotation and resize against plain NumPy and SciPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy import ndimage

from dermjax.data import augment
from dermjax.data.augment import Augmentation
from tests.data.views import GEOMETRY, QUICK, apply, noise

_jit_warp = jax.jit(augment.warp, static_argnames=("size", "samples"), **QUICK)


def _warp(images, sizes, crops, size, samples=1, **pose):
    """`warp` with NumPy in and channels last out, in [0, 255]."""
    given = map(np.asarray, (images, sizes, crops))
    planes = _jit_warp(*given, size=size, pose=augment.Pose(**pose), samples=samples)
    return 255 * np.moveaxis(np.asarray(planes), 0, -1)


def _bilinear(image, valid, crop, size):
    """One pixel after the other, by the definition: half-pixel centres, mirrored outside."""
    image = np.pad(
        image[: valid[0], : valid[1]].astype(float), ((1, 1), (1, 1), (0, 0)), "symmetric"
    )
    top, left, height, width = crop
    out = np.empty((size, size, 3))
    for i in range(size):
        for j in range(size):
            y = top + (i + 0.5) * height / size - 0.5
            x = left + (j + 0.5) * width / size - 0.5
            r, c = math.floor(y), math.floor(x)
            square = image[r + 1 : r + 3, c + 1 : c + 3]
            rows = square[0] * (1 - (y - r)) + square[1] * (y - r)
            out[i, j] = rows[0] * (1 - (x - c)) + rows[1] * (x - c)
    return out


def test_crop_and_resize_equal_the_definition():
    images = noise((3, 24, 24, 3))
    sizes = [(24, 24), (17, 23), (24, 11)]
    crops = [(0, 0, 24, 24), (4, 2, 13, 9), (1, 0, 23, 11)]
    for size in (7, 16, 31):
        expected = [_bilinear(*each, size) for each in zip(images, sizes, crops, strict=True)]
        np.testing.assert_allclose(_warp(images, sizes, crops, size), expected, atol=5e-3)


def test_flips_mirror_the_view_they_belong_to():
    images, sizes = noise((4, 20, 20, 3)), [(20, 17)] * 4
    crops = [(1, 3, 16, 12)] * 4
    mirror, upend = jnp.array([0, 1, 0, 1], bool), jnp.array([0, 0, 1, 1], bool)
    plain = _warp(images, sizes, crops, 13)
    got = _warp(images, sizes, crops, 13, mirror=mirror, upend=upend)
    expected = [plain[0], plain[1][:, ::-1], plain[2][::-1], plain[3][::-1, ::-1]]
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_quarter_turns_are_exact_and_counter_clockwise():
    images, sizes = noise((4, 16, 16, 3)), [(16, 16)] * 4
    angles = jnp.arange(4) * jnp.pi / 2
    got = _warp(images, sizes, [(0, 0, 16, 16)] * 4, 16, angles=angles)
    expected = [np.rot90(image, turns) for turns, image in enumerate(images)]
    np.testing.assert_allclose(got, expected, atol=2e-2)


def test_any_rotation_equals_scipy_with_mirrored_borders():
    image, (height, width), angle, size = noise((1, 30, 30, 3)), (30, 22), 0.7, 15
    top, left, h, w = crop = (3, 5, 24, 15)
    v = ((np.arange(size) + 0.5) / size - 0.5)[:, None] * h
    u = ((np.arange(size) + 0.5) / size - 0.5)[None] * w
    y = top + h / 2 + math.sin(angle) * u + math.cos(angle) * v - 0.5
    x = left + w / 2 + math.cos(angle) * u - math.sin(angle) * v - 0.5
    assert x.min() < 0 and x.max() > width - 1  # the mirror is needed
    valid = image[0, :height, :width].astype(float)
    expected = [
        ndimage.map_coordinates(valid[..., c], [y, x], order=1, mode="reflect") for c in range(3)
    ]
    got = _warp(image, [(height, width)], [crop], size, angles=jnp.array([angle]))[0]
    np.testing.assert_allclose(got, np.moveaxis(expected, 0, -1), atol=2e-2)


def test_supersampling_comes_closer_to_the_area_average():
    image = noise((1, 48, 48, 3))
    area = image.reshape(16, 3, 16, 3, 3).mean((1, 3))
    assert augment.default_samples(48, 16) == 2
    assert augment.default_samples(160, 128) == augment.default_samples(32, 16) == 1
    assert augment.default_samples(512, 96) == 3
    whole = [(0, 0, 48, 48)]
    error = [np.abs(_warp(image, [(48, 48)], whole, 16, samples=n) - area).mean() for n in (1, 2)]
    assert error[1] < 0.4 * error[0]


def test_without_randomness_it_is_a_plain_resize_and_normalisation():
    images = noise((2, 20, 20, 3))
    still = dict(crop_scale=(1, 1), crop_ratio=(1, 1), flip_horizontal=0)
    for size in (20, 33):
        got = apply(Augmentation(size, **still, **GEOMETRY), images)
        expected = np.empty((2, size, size, 3))
        for i, c in np.ndindex(2, 3):
            plane = Image.fromarray(images[i, ..., c].astype(np.float32))
            expected[i, ..., c] = plane.resize((size, size), Image.Resampling.BILINEAR)
        expected = (expected / 255 - augment.IMAGENET_MEAN) / augment.IMAGENET_STD
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=2e-4)
