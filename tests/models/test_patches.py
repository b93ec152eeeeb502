"""A convolution by patches: the same as XLA's."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dermjax.models import patches
from dermjax.models.layers import same_padding, symmetric_padding
from tests.models.forms import assert_same_with_gradients


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 1), (5, 2)])
@pytest.mark.parametrize("padding", [symmetric_padding, same_padding])
def test_the_product_of_patches_is_the_convolution(size, stride, padding):
    """With both gradients; H is odd."""
    draw = np.random.default_rng(size)
    x = jnp.asarray(draw.normal(size=(2, 7, 8, 3)), jnp.float32)
    kernel = jnp.asarray(draw.normal(size=(size, size, 3, 4)), jnp.float32)
    pads = tuple(padding(side, size, stride) for side in (7, 8))

    def patched(x, kernel):
        return patches.extract(x, size, stride, pads) @ kernel.reshape(-1, 4)

    def native(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=numbers)

    assert_same_with_gradients(patched, native, x, kernel, 1e-4)


def test_only_large_images_of_few_channels_are_worth_it():
    large, small, between = (1, 512, 512, 3), (1, 224, 224, 3), (1, 380, 380, 3)
    found = [patches.are_worth_it(s, 3, 2) for s in (large, small, between, (1, 512, 512, 32))]
    assert found == [True, False, False, False]
