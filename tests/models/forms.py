"""Two forms of one layer, side by side."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def assert_same_with_gradients(ours: Callable, theirs: Callable, x, kernel, tolerance: float):
    """Results of `form(x, kernel)` and both gradients, for a gradient that differs everywhere."""

    def run(form):
        y, pull = jax.vjp(form, x, kernel)
        return y, *pull(jnp.cos(jnp.arange(y.size).reshape(y.shape)))

    for one, other in zip(*jax.jit(lambda: (run(ours), run(theirs)))(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
