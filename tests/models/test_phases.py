"""Strided layers on an image taken apart into its four phases: the same as on the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models
from dermjax.models import depthwise, patches, phases
from dermjax.models.layers import same_padding, symmetric_padding
from tests.models.forms import assert_same_with_gradients


def test_the_phases_are_the_images():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    joined = np.zeros_like(x)
    for number, phase in enumerate(phases.split(x)):
        joined[:, number // 2 :: 2, number % 2 :: 2] = phase
    np.testing.assert_array_equal(joined, x)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("padding", [symmetric_padding, same_padding])
def test_the_convolution_of_phases_is_that_of_the_image(size, padding):
    """With both gradients, against XLA's grouped convolution."""
    draw = np.random.default_rng(size)
    x = jnp.asarray(draw.normal(size=(2, 6, 8, 4)), jnp.float32)
    kernel = jnp.asarray(draw.normal(size=(size, size, 1, 4)), jnp.float32)
    pads = tuple(padding(side, size, 2) for side in (6, 8))

    def phased(x, kernel):
        return phases.strided_depthwise_conv(phases.split(x), kernel, pads)

    def native(x, kernel):
        return depthwise.native_forward(x, kernel, 2, pads)

    assert_same_with_gradients(phased, native, x, kernel, 1e-5)


def test_bfloat16_is_as_exact_as_one_rounding():
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(2, 6, 8, 4)), jnp.bfloat16)
    kernel = jnp.asarray(draw.normal(size=(5, 5, 1, 4)), jnp.float32)
    pads = ((2, 2), (2, 2))
    ours = phases.strided_depthwise_conv(phases.split(x), kernel, pads)
    exact = depthwise.native_forward(x.astype(jnp.float32), kernel, 2, pads)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("tensorflow", [False, True])
def test_a_network_in_phases_is_the_network(tensorflow, monkeypatch):
    """Results, new statistics and gradients of training, whose parameters have the same names.

    Its stem multiplies patches.
    """
    whole = models.create("efficientnet_tiny", num_classes=3, bn_groups=2)
    whole = whole.clone(tensorflow=tensorflow)
    variables = models.initialize(whole, seed=0)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    monkeypatch.setattr(phases, "are_worth_it", lambda shape: shape[1] % 2 == shape[2] % 2 == 0)
    monkeypatch.setattr(patches, "are_worth_it", lambda shape, size, stride: True)
    found = []
    for model in (whole, whole.clone(phased=True)):

        @functools.partial(jax.jit, static_argnums=0)
        def train(model, params, images):
            def loss(params):
                given = variables | {"params": params}
                logits, new = model.apply(given, images, train=True, mutable=["batch_stats"])
                return jnp.square(logits - 1).mean(), (logits, new)

            return jax.grad(loss, has_aux=True)(params)

        predicted = jax.jit(model.apply)(variables, images)
        found.append((train(model, variables["params"], images), predicted))
    for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_only_wide_images_with_even_sides_are_taken_apart():
    shapes = {(1, 128, 128, 3): True, (1, 127, 128, 3): False, (1, 126, 126, 3): False}
    assert {shape: phases.are_worth_it(shape) for shape in shapes} == shapes
