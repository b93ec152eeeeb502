"""Images as the four phases that a stride of two tells apart: even and odd rows and columns.

A layer with stride 2 reads every second row and column, which a TPU can do only by moving all of
its input to another layout and back: its vectors are runs of neighbouring columns. A block that
begins with 1 x 1 layers can take its (narrow) input apart instead: these layers treat every pixel
alike, batch norm counts the pixels of all phases, and the strided convolution is then a sum of
shifts with stride 1. The result is the same to rounding.

Letters: B, H, W, C, k the kernel's size; phase 2 i + j has the rows i, i + 2, ... and the columns
j, j + 2, ...
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dermjax.models.precision import accumulator
from dermjax.models.shifts import Pads, shifted, taps

Phases = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def are_worth_it(shape: tuple[int, ...]) -> bool:
    """Whether images `[B, H, W, C]` have four phases of one shape, and are wide enough.

    Phases should fill half of a TPU's vector, 128 numbers. Of narrower images vectors hold the
    channels, as the native convolution wants it.
    """
    return shape[1] % 2 == 0 and shape[2] % 2 == 0 and shape[2] >= 128


def split(x: jax.Array) -> Phases:
    """`[B, H, W, C]` with even sides -> its phases, each `[B, H / 2, W / 2, C]`."""
    first, second, third, fourth = (x[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    return first, second, third, fourth


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def strided_depthwise_conv(phases: Phases, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The depthwise convolution with stride 2 of the images that the phases are of.

    Args:
        phases: Each `[B, H / 2, W / 2, C]`.
        kernel: `[k, k, 1, C]`, float32 whatever the type of the phases.
        pads: Zeros added before and after in H and in W of the images, pixels; together k - 2 or
            k - 1, so that the output has half of each side.

    Returns:
        `[B, H / 2, W / 2, C]` of the type of the phases.
    """
    phases = _computed_once(phases)
    wide = accumulator(phases[0], kernel)
    total = jnp.zeros((), wide)
    for (row, column), phase, shift in _taps(kernel.shape[0], pads):
        total += shifted(phases[phase], shift).astype(wide) * kernel[row, column, 0].astype(wide)
    return total.astype(phases[0].dtype)


def _forward(phases, kernel, pads):
    return strided_depthwise_conv(phases, kernel, pads), (phases, kernel)


def _backward(pads, residuals, grad):
    phases, kernel = residuals
    phases, grad = _computed_once((phases, grad))
    wide = accumulator(grad, kernel)
    grads = [jnp.zeros((), wide)] * 4
    sums = []
    for (row, column), phase, (down, right) in _taps(kernel.shape[0], pads):
        back = shifted(grad, (-down, -right)).astype(wide)
        grads[phase] = grads[phase] + back * kernel[row, column, 0].astype(wide)
        seen = shifted(phases[phase], (down, right)).astype(wide)
        sums.append((seen * grad.astype(wide)).sum((0, 1, 2)))
    grad_kernel = jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)
    return tuple(one.astype(grad.dtype) for one in grads), grad_kernel


strided_depthwise_conv.defvjp(_forward, _backward)


def _computed_once(tree):
    """The same; without it the activation before is computed anew for each of the shifts."""
    return jax.tree.map(lax.optimization_barrier, tree)


def _taps(size: int, pads: Pads):
    """Yields each kernel position with the phase that it reads, and how far (rows, columns) on."""
    for position, (row, column) in taps(size, pads):
        (down, i), (right, j) = divmod(row, 2), divmod(column, 2)
        yield position, 2 * i + j, (down, right)
