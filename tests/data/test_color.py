"""Colours and blur against Pillow, SciPy and colorsys."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from dermjax.data import color
from tests.data.views import jit, noise, planes_of


@pytest.mark.parametrize(
    "adjust, enhance",
    [
        (color.adjust_brightness, ImageEnhance.Brightness),
        (color.adjust_contrast, ImageEnhance.Contrast),
        (color.adjust_saturation, ImageEnhance.Color),
    ],
)
def test_blends_equal_pillow_to_its_rounding(adjust, enhance):
    images, factors = noise((4, 16, 16, 3)), [0.3, 0.8, 1.0, 1.7]
    planes = jnp.moveaxis(jnp.asarray(images, jnp.float32) / 255, -1, 0)
    got = jax.jit(adjust)(planes, jnp.array(factors))
    for i, factor in enumerate(factors):
        expected = np.asarray(enhance(Image.fromarray(images[i])).enhance(factor), float)
        np.testing.assert_allclose(255 * np.moveaxis(got[:, i], 0, -1), expected, atol=1.6)
    np.testing.assert_array_equal(got[:, 2], planes[:, 2])


def test_contrast_and_saturation_to_float_accuracy():
    planes, factors = planes_of(), np.array([0.4, 1.3, 1.0], np.float32)[:, None, None]
    gray = 0.2989 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    for adjust, other in (
        (color.adjust_contrast, gray.mean((1, 2), keepdims=True)),
        (color.adjust_saturation, gray),
    ):
        expected = np.clip(factors * planes + (1 - factors) * other, 0, 1)
        got = adjust(jnp.asarray(planes), jnp.asarray(factors[:, 0, 0]))
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_hue_equals_colorsys():
    planes, shifts = planes_of(batch=5, size=8), [-0.5, -0.1, 0.0, 0.07, 0.5]
    planes[:, :, 0, 0] = 0.3  # gray has no hue
    planes[:, :, 0, 1] = 0  # nor has black
    planes[:2, :, 0, 2] = planes[:2, :, 0, 2].max()  # two channels tie
    got = np.asarray(jax.jit(color.adjust_hue)(jnp.asarray(planes), jnp.array(shifts)))
    for i, y, x in np.ndindex(5, 8, 8):
        h, s, v = colorsys.rgb_to_hsv(*planes[:, i, y, x].tolist())
        expected = colorsys.hsv_to_rgb((h + shifts[i]) % 1, s, v)
        np.testing.assert_allclose(got[:, i, y, x], expected, atol=2e-6)
    np.testing.assert_array_equal(got[:, 2], planes[:, 2])


def test_blur_equals_scipy_and_spares_the_rest():
    planes, sigmas = planes_of(batch=4), [0.0, 0.1, 1.0, 2.0]
    got = np.asarray(jax.jit(color.gaussian_blur)(jnp.asarray(planes), jnp.array(sigmas)))
    np.testing.assert_array_equal(got[:, 0], planes[:, 0])
    for i, sigma in enumerate(sigmas[1:], 1):
        expected = ndimage.gaussian_filter(
            planes[:, i].astype(float), sigma, axes=(1, 2), mode="mirror", radius=6
        )
        np.testing.assert_allclose(got[:, i], expected, atol=1e-6)
    with pytest.raises(ValueError, match="radius 20 px"):
        color.gaussian_blur(jnp.asarray(planes), jnp.array(sigmas), radius=20)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_jitter_applies_its_parts_in_the_given_order(order):
    planes, factors = jnp.asarray(planes_of()), jnp.array([0.6, 1.0, 1.4])
    parts = [
        (color.adjust_brightness, factors),
        (color.adjust_contrast, factors[::-1]),
        (color.adjust_saturation, factors),
        (color.adjust_hue, jnp.array([-0.1, 0.0, 0.1])),
    ]
    expected = planes
    for index in order:
        adjust, value = parts[index]
        expected = jit(adjust)(expected, value)
    got = jit(color.color_jitter)(planes, jnp.array(order), *(value for _, value in parts))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    two = color.color_jitter(planes, jnp.array([1, 0]), contrast=factors, hue=0 * factors)
    np.testing.assert_allclose(two, color.adjust_contrast(planes, factors), atol=1e-6)
    with pytest.raises(ValueError, match="3 adjustments"):
        color.color_jitter(planes, jnp.arange(4), *(value for _, value in parts[:3]))
