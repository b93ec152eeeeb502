"""The CPU's and the TPU's forms of the depthwise convolution against XLA's grouped convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax.models import depthwise
from dermjax.models.layers import same_padding, symmetric_padding

CASES = [
    (size, stride, shape, padding)
    for size in (3, 5)
    for stride in (1, 2)
    for shape in ((8, 7), (5, 6))
    for padding in (symmetric_padding, same_padding)
]


def both_forms(size, stride, shape, padding, dtype):
    """Outputs and both gradients of the form under test and of XLA's, in that order."""
    draw = np.random.default_rng(size * 10 + stride)
    x = jnp.asarray(draw.normal(size=(2, *shape, 4)), dtype)
    kernel = jnp.asarray(draw.normal(size=(size, size, 1, 4)), jnp.float32)
    pads = tuple(padding(length, size, stride) for length in shape)

    def run(form, dtype):
        y, pull = jax.vjp(lambda x, w: form(x, w, stride, pads), x.astype(dtype), kernel)
        grad = np.random.default_rng(0).normal(size=y.shape)
        return y, *pull(jnp.asarray(grad, x.dtype).astype(dtype))

    return jax.jit(
        lambda: (run(depthwise.depthwise_conv, dtype), run(depthwise.native_forward, jnp.float32))
    )()


@pytest.mark.parametrize(("size", "stride", "shape", "padding"), CASES)
def test_equals_native_in_float32(size, stride, shape, padding):
    fast, native = both_forms(size, stride, shape, padding, jnp.float32)
    for ours, theirs in zip(fast, native, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_is_as_exact_as_one_rounding(stride):
    # The reference gets the rounded inputs but computes in float32: only the result is rounded.
    fast, exact = both_forms(5, stride, (8, 7), symmetric_padding, jnp.bfloat16)
    assert [a.dtype for a in fast] == [jnp.bfloat16, jnp.bfloat16, jnp.float32]
    for ours, theirs in zip(fast, exact, strict=True):
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, rtol=2**-8, atol=1e-5)


def test_the_cpu_runs_no_grouped_convolution():
    def loss(x, kernel):
        return depthwise.depthwise_conv(x, kernel, 1, ((1, 1), (1, 1))).sum()

    args = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 1, 2))
    text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*args).as_text()
    assert "convolution" not in text


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("padding", [symmetric_padding, same_padding])
def test_the_tpu_form_equals_native(size, padding):
    draw = np.random.default_rng(size)
    x = jnp.asarray(draw.normal(size=(2, 6, 7, 4)), jnp.float32)
    kernel = jnp.asarray(draw.normal(size=(size, size, 1, 4)), jnp.float32)
    pads = tuple(padding(length, size, 1) for length in (6, 7))

    @jax.jit
    def both(x, kernel):
        y, pull = jax.vjp(lambda x, w: depthwise.native_forward(x, w, 1, pads), x, kernel)
        grad = y - 1
        grad_x = depthwise.tapped_forward(grad, *depthwise.transposed(kernel, pads))
        grad_kernel = depthwise.tapped_grad_kernel(x, grad, kernel, pads)
        return (depthwise.tapped_forward(x, kernel, pads), grad_x, grad_kernel), (y, *pull(grad))

    for ours, theirs in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("platform", "width", "stride", "summed"),
    [("tpu", 128, 1, True), ("tpu", 64, 1, False), ("tpu", 128, 2, False), ("cuda", 128, 1, False)],
)
def test_only_tpus_sum_and_only_wide_images(platform, width, stride, summed):
    def loss(x, kernel):
        return depthwise.depthwise_conv(x, kernel, stride, ((1, 1), (1, 1))).sum()

    args = jnp.ones((1, 4, width, 2)), jnp.ones((3, 3, 1, 2))
    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(*args)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("convolution" not in text) == summed
