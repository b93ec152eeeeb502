"""Gradient accumulation: a device's share of the batch, one part after the other, as one step.

Equal parts that hold whole batch norm groups give the step of the whole share to float32's
rounding: every draw is by an image's position in the global batch, all parts start from the same
running statistics, whose update is a mean over groups, and loss and gradient are means over images.
Only what the largest part needs for its gradient is in memory at once.

Letters: b images on this device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dermjax.steps import collectives


class Part(NamedTuple):
    """Which of how many parts of this device's share."""

    place: jax.Array | int
    parts: int

    def positions(self, rows: int, axis: str | None) -> jax.Array:
        """Indices `[rows]` in the global batch of the part's images."""
        return (collectives.index(axis) * self.parts + self.place) * rows + jnp.arange(rows)

    @property
    def options(self) -> dict[str, Any]:
        """The network's arguments that name the part: none where there is one part."""
        return {"part": tuple(self)} if self.parts > 1 else {}


def check_parts(accumulate_steps: int) -> None:
    """Refuses a number of parts that is none.

    Raises:
      ValueError: it is below 1.
    """
    if accumulate_steps < 1:
        raise ValueError(
            f"accumulate_steps = {accumulate_steps} must be at least 1; 1 computes the whole share "
            "at once"
        )


def in_parts(compute: Callable, rows: Any, count: int) -> tuple[Any, Any]:
    """`compute` of each part, one after the other in one scan.

    Args:
      compute: `(part, rows [b / count, ...]) -> (means, made [b / count, ...])`, trees.
      rows: tree of arrays `[b, ...]`.
      count: of the parts; 1 computes the whole share without a scan.

    Returns:
      The mean of `means` over the parts, and `made [b, ...]` of all.

    Raises:
      ValueError: `count` does not divide b.
    """
    share = jax.tree.leaves(rows)[0].shape[0]
    if share % count:
        near = [n for n in range(1, share + 1) if share % n == 0]
        raise ValueError(
            f"accumulate_steps = {count} does not divide the {share} images of a device; the "
            f"nearest that does is {min(near, key=lambda n: abs(n - count))}"
        )
    if count == 1:
        return compute(Part(0, 1), rows)
    split = jax.tree.map(lambda x: x.reshape(count, share // count, *x.shape[1:]), rows)

    def add(total, numbered):
        index, part = numbered
        means, made = compute(Part(index, count), part)
        return jax.tree.map(jnp.add, total, means), made

    first = jax.tree.map(lambda x: x[0], split)
    shapes, _ = jax.eval_shape(lambda part: compute(Part(jnp.int32(0), count), part), first)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, made = jax.lax.scan(add, nothing, (jnp.arange(count), split))
    joined = jax.tree.map(lambda x: x.reshape(share, *x.shape[2:]), made)
    return jax.tree.map(lambda x: x / count, total), joined
