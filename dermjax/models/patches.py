"""A convolution of few channels as one product of matrices: each pixel beside its neighbours.

A TPU's compiler wants the images of a convolution in another layout than those of the layers of
wide images that follow it, and copies its result from one to the other and the gradient back. It
multiplies matrices in the layout that the neighbours have.

Letters: B, H, W, C, k the kernel's size.
"""

import jax
import jax.numpy as jnp

from dermjax.models.shifts import Pads


def are_worth_it(shape: tuple[int, ...], size: int, stride: int) -> bool:
    """Whether a k x k convolution of images `[B, H, W, C]` is faster by patches on a TPU.

    They are k * k C numbers a pixel, which a matrix unit takes 128 of at a time, and the result's W
    has to fill whole vectors of 128 numbers: in narrower images they hold the channels, as
    convolutions want it, and of other widths (380 px) the compiler could not say how long the
    product takes.
    """
    width = shape[2] // stride
    return size * size * shape[3] <= 128 and width > 0 and width % 128 == 0


def extract(x: jax.Array, size: int, stride: int, pads: Pads) -> jax.Array:
    """What a k x k kernel covers around every `stride`-th pixel.

    Args:
        x: `[B, H, W, C]`.
        size: k, pixels.
        stride: Of both directions, pixels.
        pads: Zeros added before and after in H and in W, pixels.

    Returns:
        `[B, H', W', k * k * C]` in the order of a kernel `[k, k, C, ...]`,
        `H' = (H + padding - k) // stride + 1`.
    """
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    stops = [side - size + 1 for side in x.shape[1:3]]
    views = [
        x[:, row : row + stops[0] : stride, column : column + stops[1] : stride]
        for row in range(size)
        for column in range(size)
    ]
    return jnp.concatenate(views, axis=-1)
