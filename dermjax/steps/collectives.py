"""Collectives over the one axis that a batch is spread over; without an axis they do nothing.

The axis is the one that `jit(shard_map)`, `jax.pmap` or `vmap(axis_name=...)` names. `axis=None` is
for a single device: the same step then runs under a plain `jax.jit`.
"""

from typing import Any

import jax


def all_gather(tree: Any, axis: str | None) -> Any:
    """All devices' rows `[B, ...]` of arrays `[b, ...]`, in the devices' order."""
    return tree if axis is None else jax.lax.all_gather(tree, axis, tiled=True)


def mean(tree: Any, axis: str | None) -> Any:
    """The mean over devices of each array."""
    return tree if axis is None else jax.lax.pmean(tree, axis)


def index(axis: str | None) -> jax.Array | int:
    """The number of this device along the axis."""
    return 0 if axis is None else jax.lax.axis_index(axis)


def size(axis: str | None) -> int:
    """How many devices the axis has."""
    return 1 if axis is None else jax.lax.axis_size(axis)


def own_share(rows: jax.Array, axis: str | None) -> jax.Array:
    """This device's rows `[b, ...]` of those of all devices `[B, ...]`."""
    share = rows.shape[0] // size(axis)
    return jax.lax.dynamic_slice_in_dim(rows, index(axis) * share, share)
