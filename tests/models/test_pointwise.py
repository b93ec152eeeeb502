"""The CPU's gradient of the convolution of one pixel against double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax.models.pointwise import flat_grad_kernel, pointwise_conv

DRAW = np.random.default_rng(0)
X = jnp.asarray(DRAW.normal(size=(3, 4, 5, 6)), jnp.float32)
KERNEL = jnp.asarray(DRAW.normal(size=(6, 7)), jnp.float32)
GRAD = jnp.asarray(DRAW.normal(size=(3, 4, 5, 7)), jnp.float32)


@jax.jit
def _ours(x, kernel, grad):
    y, pull = jax.vjp(pointwise_conv, x, kernel)
    return y, *pull(grad)


def _exact(x, kernel, grad):
    """Output, gradient of the input, gradient of the kernel."""
    return x @ kernel, grad @ kernel.T, np.einsum("bhwc,bhwd->cd", x, grad)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_output_and_gradients_equal_those_of_double_precision(dtype):
    # XLA's own gradient is no oracle: on some processors it adds bfloat16 numbers in bfloat16.
    given = [one.astype(dtype) for one in (X, KERNEL, GRAD)]
    wide = [np.asarray(one, np.float64) for one in given]
    ours, exact = _ours(*given), _exact(*wide)
    magnitudes = _exact(*map(np.abs, wide))
    for one, expected, magnitude in zip(ours, exact, magnitudes, strict=True):
        assert (one.dtype, one.shape) == (dtype, expected.shape)
        error = np.abs(np.asarray(one, np.float64) - expected)
        assert (error <= jnp.finfo(dtype).eps * magnitude).all()


def test_only_the_cpu_multiplies_flat_matrices():
    def products(platform):
        traced = jax.jit(jax.grad(lambda w: (pointwise_conv(X, w) * GRAD).sum())).trace(KERNEL)
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        return [line for line in text.splitlines() if "dot_general" in line]

    rows = GRAD.shape[0] * GRAD.shape[1] * GRAD.shape[2]
    assert any(f"{rows}x7xf32" in line for line in products("cpu"))
    assert not any(f"{rows}x7xf32" in line for line in products("tpu"))


def test_the_kernels_gradient_of_one_pixel_is_an_outer_product():
    x, grad = X[:1, :1, :1], GRAD[:1, :1, :1]
    outer = np.outer(x.ravel(), grad.ravel())
    np.testing.assert_allclose(flat_grad_kernel(x, grad), outer, rtol=1e-6)
