"""Shifted images: what the depthwise convolutions of a TPU are sums of.

Letters: B, H, W, C, k the kernel's size.
"""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]  # zeros before and after, in H and in W, pixels
Shift = tuple[int, int]  # pixels down and to the right


def taps(size: int, pads: Pads) -> Iterator[tuple[tuple[int, int], Shift]]:
    """Each position (row, column) of a kernel `[k, k, ...]`, and where it reads.

    That is as far down and to the right of the pixel where the kernel's output pixel begins,
    `stride` times its row and column.
    """
    for row, column in itertools.product(range(size), repeat=2):
        yield (row, column), (row - pads[0][0], column - pads[1][0])


def shifted(x: jax.Array, shift: Shift) -> jax.Array:
    """`y[b, h, w, c] = x[b, h + shift[0], w + shift[1], c]`, 0 outside; `[B, H, W, C]` both."""
    edges = [(0, 0, 0), *((-by, by, 0) for by in shift), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)
