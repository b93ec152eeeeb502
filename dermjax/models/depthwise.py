"""Depthwise convolution with a form of its own for CPUs, where XLA's native one is 100x slower.

On CPUs the output is a sum of k * k shifted copies of the padded input, each times one row of the
kernel, and both gradients are written out the same way (https://github.com/jax-ml/jax/issues/23713).
On TPUs large images of few channels are summed alike, with the padding inside of each summand.
Everywhere else XLA's grouped convolution runs. All forms agree to rounding.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from dermjax.models.precision import accumulator
from dermjax.models.shifts import Pads, shifted, taps


# jit, so that a call outside of one compiles once instead of slice by slice.
@functools.partial(jax.jit, static_argnums=(2, 3))
def depthwise_conv(x, kernel, stride: int, pads: Pads):
    """Convolves every channel with its own filter.

    Args:
        x: `[B, H, W, C]`.
        kernel: `[k, k, 1, C]`, float32 whatever the type of `x`.
        stride: Of both directions, pixels.
        pads: Zeros added before and after in H and in W, pixels.

    Returns:
        `[B, H', W', C]` of the type of `x`, `H' = (H + padding - k) // stride + 1`.
    """
    return _depthwise(x, kernel, stride, pads)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x, kernel, stride, pads):
    shifted = functools.partial(shifted_forward, stride=stride, pads=pads)
    native = functools.partial(native_forward, stride=stride, pads=pads)
    tpu = native
    if is_summed_on_tpu(x.shape, kernel.shape[0], stride):
        tpu = functools.partial(tapped_forward, pads=pads)
    return lax.platform_dependent(x, kernel, cpu=shifted, tpu=tpu, default=native)


def _forward(x, kernel, stride, pads):
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _backward(stride, pads, residuals, grad):
    def cpu(x, kernel, grad):
        grad_x = phased_grad_input(grad, kernel, stride, pads, x.shape[1:3])
        return grad_x, reduced_grad_kernel(x, grad, kernel, stride, pads)

    def native(x, kernel, grad):
        forward = functools.partial(native_forward, stride=stride, pads=pads)
        return jax.vjp(forward, x, kernel)[1](grad)

    def tapped(x, kernel, grad):
        grad_x = tapped_forward(grad, *transposed(kernel, pads))
        return grad_x, tapped_grad_kernel(x, grad, kernel, pads)

    summed = is_summed_on_tpu(residuals[0].shape, residuals[1].shape[0], stride)
    tpu = tapped if summed else native
    return lax.platform_dependent(*residuals, grad, cpu=cpu, tpu=tpu, default=native)


_depthwise.defvjp(_forward, _backward)


def native_forward(x, kernel, stride: int, pads: Pads):
    """XLA's grouped convolution; arguments as for `depthwise_conv`."""
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def shifted_forward(x, kernel, stride: int, pads: Pads):
    """A sum of shifted inputs; arguments as for `depthwise_conv`."""
    wide = accumulator(x, kernel)
    total = jnp.zeros((), wide)
    # In bfloat16 a running sum of 25 products loses about 6 % of the gradient: add in float32.
    for (row, column), view in _views(x, kernel.shape[0], stride, pads):
        total += view.astype(wide) * kernel[row, column, 0].astype(wide)
    return total.astype(x.dtype)


def phased_grad_input(grad, kernel, stride: int, pads: Pads, size: tuple[int, int]):
    """The gradient of the input, `[B, H, W, C]`, from that of the output `[B, H', W', C]`.

    Input row `h` met output row `o` through kernel row `i` when `o * stride + i - pad = h`. The
    rows of equal `h % stride` (a phase) meet the same kernel rows, so every phase is a small sum of
    shifted gradients without the zeros that a dilated gradient would be filled with.
    """
    batch, _, _, channels = grad.shape
    counts = [-(-length // stride) for length in size]  # rows and columns of one phase
    plans = [_phase_taps(kernel.shape[0], stride, pad[0]) for pad in pads]
    borders = [
        _phase_border(plan, count, length)
        for plan, count, length in zip(plans, counts, grad.shape[1:3], strict=True)
    ]
    padded = jnp.pad(grad, ((0, 0), *borders, (0, 0)))
    wide = accumulator(grad, kernel)

    def phase(row_taps, column_taps):
        total = jnp.zeros((batch, *counts, channels), wide)
        for (row, top), (column, left) in itertools.product(row_taps, column_taps):
            top, left = top + borders[0][0], left + borders[1][0]
            start, stop = (0, top, left, 0), (batch, top + counts[0], left + counts[1], channels)
            view = lax.slice(padded, start, stop).astype(wide)
            total += view * kernel[row, column, 0].astype(wide)
        return total.astype(grad.dtype)

    if stride == 1:
        return phase(plans[0][0], plans[1][0])
    rows = [jnp.stack([phase(a, b) for b in plans[1]], axis=3) for a in plans[0]]
    whole = jnp.stack(rows, axis=2)  # [B, H / s, s, W / s, s, C]
    whole = whole.reshape(batch, counts[0] * stride, counts[1] * stride, channels)
    return whole[:, : size[0], : size[1]]


def reduced_grad_kernel(x, grad, kernel, stride: int, pads: Pads):
    """The gradient of the kernel, `[k, k, 1, C]`, from `x` and the gradient of the output.

    One reduction with several operands reads the gradient once for all of them; separate sums would
    read it k * k times. More than nine operands spill the registers, so 5x5 goes row by row.
    """
    size, channels = kernel.shape[0], x.shape[-1]
    wide = accumulator(x, grad)
    grad = grad.astype(wide)
    views = [view for _, view in _views(x, size, stride, pads)]
    per_pass = size * size if size <= 3 else size
    sums = []
    for first in range(0, len(views), per_pass):
        products = [view.astype(wide) * grad for view in views[first : first + per_pass]]
        sums += [total.reshape(-1, channels).sum(0) for total in sum_together(products, axis=2)]
    return jnp.stack(sums).reshape(size, size, 1, channels).astype(kernel.dtype)


def is_summed_on_tpu(shape, size: int, stride: int) -> bool:
    """Whether a TPU should sum 3 x 3 shifts of an input of this shape instead of convolving it.

    A TPU's vectors are 128 numbers long. While W fills them, its compiler keeps W innermost for all
    other layers, and the native convolution, which wants C there, costs two copies of the input.
    """
    return stride == 1 and size == 3 and shape[2] >= 128


def tapped_forward(x, kernel, pads: Pads):
    """A sum of shifted inputs, each with zeros of its own, at stride 1.

    The CPU's form slices one padded copy, which a TPU would write out: here every shift stays
    inside of the loop that adds them up. Arguments as for the others; the pads are together k - 1
    in either direction, so that the output has the input's sides.
    """
    # Otherwise the activation before is computed anew for each of the shifts.
    x, wide = lax.optimization_barrier(x), accumulator(x, kernel)
    total = jnp.zeros((), wide)
    for (row, column), shift in taps(kernel.shape[0], pads):
        total += shifted(x, shift).astype(wide) * kernel[row, column, 0].astype(wide)
    return total.astype(x.dtype)


def transposed(kernel, pads: Pads):
    """Kernel and pads of the convolution that takes the output's gradient to the input's."""
    (top, bottom), (left, right) = pads
    last = kernel.shape[0] - 1
    back = ((last - top, last - bottom), (last - left, last - right))
    return kernel[::-1, ::-1], back


def tapped_grad_kernel(x, grad, kernel, pads: Pads):
    """The gradient of the kernel, `[k, k, 1, C]`, at stride 1; pads as for `tapped_forward`."""
    x, wide = lax.optimization_barrier(x), accumulator(x, grad)
    grad = grad.astype(wide)
    views = (shifted(x, shift).astype(wide) for _, shift in taps(kernel.shape[0], pads))
    sums = jnp.stack([(view * grad).sum((0, 1, 2)) for view in views])
    return sums.reshape(kernel.shape).astype(kernel.dtype)


def sum_together(operands, axis: int):
    """Sums several arrays of one shape and type over one axis in a single pass."""

    def add(left, right):
        return tuple(a + b for a, b in zip(left, right, strict=True))

    zeros = tuple(jnp.zeros((), operand.dtype) for operand in operands)
    return lax.reduce(tuple(operands), zeros, add, (axis,))


def _views(x, size, stride, pads):
    """Yields each kernel position with the part of the padded input that it multiplies."""
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    batch, height, width, channels = padded.shape
    last_row = (height - size) // stride * stride
    last_column = (width - size) // stride * stride
    for row, column in itertools.product(range(size), repeat=2):
        stop = (batch, row + last_row + 1, column + last_column + 1, channels)
        yield (row, column), lax.slice(padded, (0, row, column, 0), stop, (1, stride, stride, 1))


def _phase_taps(size, stride, before):
    """The (kernel index, offset of the output index) pairs of each phase of the input."""
    return [
        [
            (tap, (phase + before - tap) // stride)
            for tap in range(size)
            if (phase + before - tap) % stride == 0
        ]
        for phase in range(stride)
    ]


def _phase_border(plan, count, length):
    """Zeros needed before and after the output's gradient so that every offset stays inside."""
    offsets = [offset for taps in plan for _, offset in taps]
    return max(0, -min(offsets)), max(0, max(offsets) + count - length)
