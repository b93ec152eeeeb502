"""ShuffleBN (He et al. 2020, section 3.3): keys are computed among other images than queries are.

Batch norm groups of the key encoder must not hold the same images as those of the query encoder, or
their statistics give the positive away.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dermjax.steps import collectives


def in_shuffled_groups(
    compute: Callable[[jax.Array], tuple[Any, jax.Array]],
    rng: jax.Array,
    count: int,
    axis: str | None,
) -> tuple[Any, jax.Array]:
    """Rows of the global batch, computed in a random order over the devices, in their own order.

    Args:
      compute: numbers `[b]` in the global batch of what this device has to compute -> anything
        beside, and the rows `[b, D]`.
      rng: the same on all devices.
      count: B, rows of the global batch.
      axis: name of the collective axis; None for a single device.

    Returns:
      What `compute` has beside, and all rows `[B, D]` on every device.
    """
    permutation = jax.random.permutation(rng, count)
    beside, made = compute(collectives.own_share(permutation, axis))
    shuffled = collectives.all_gather(made, axis)
    return beside, jnp.zeros_like(shuffled).at[permutation].set(shuffled, unique_indices=True)
