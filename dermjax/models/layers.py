"""The layers that every network is made of; shapes are B, H, W, C and a kernel's size is k.

Kernels are stored as `[k, k, C_in / groups, C_out]`, so one transposition turns any of timm's
convolutions into ours. Parameters and statistics are float32; `dtype` is what a layer computes in.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dermjax.models import patches, phases
from dermjax.models.depthwise import depthwise_conv
from dermjax.models.pointwise import pointwise_conv
from dermjax.models.precision import accumulator

Padding = Callable[[int, int, int], tuple[int, int]]


def symmetric_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after: `kernel // 2` on both sides, as PyTorch does."""
    del size, stride
    return kernel // 2, kernel // 2


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after so that the output has `ceil(size / stride)` (TensorFlow)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@functools.partial(jax.jit, static_argnums=(1, 2))
def conv_init(key, shape, dtype=jnp.float32):
    """Normal of variance `2 / (k * k * C_out / groups)`, timm's rule for both families."""
    height, width, inputs, outputs = shape
    # A depthwise kernel has one input channel: each output channel then is its own group.
    fan_out = height * width * (1 if inputs == 1 else outputs)
    # XLA's CPU backend takes .25 s to compile each draw of jax.random, 50 s for B4's 160 kernels.
    # The key, which Flax derives from the parameter's name, seeds a PCG hash of the element's
    # number instead (https://jcgt.org/published/0009/03/02): the same quality here, in 12 s.
    bits = lax.iota(jnp.uint32, math.prod(shape))
    for seed in jax.random.key_data(key)[:2]:
        bits = bits * jnp.uint32(747796405) + seed
        bits = ((bits >> ((bits >> 28) + 4)) ^ bits) * jnp.uint32(277803737)
        bits = (bits >> 22) ^ bits
    uniform = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-22 - 1.0  # inside (-1, 1)
    normal = math.sqrt(2.0) * lax.erf_inv(uniform)
    return (math.sqrt(2.0 / fan_out) * normal).reshape(shape).astype(dtype)


# Uniform within 1 / sqrt(fan_in), PyTorch's rule. timm's EfficientNet draws within
# 1 / sqrt(classes) instead, which starts a two-class head with logits in the tens.
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Conv(nn.Module):
    """A convolution of `[B, H, W, C_in]` with a square kernel; 1x1 kernels run as a matmul.

    Attributes:
        features: C_out.
        kernel_size: k, pixels.
        stride: pixels.
        use_bias: Whether to add one number per output channel.
        padding: Rule for the pixels added at the border.
        dtype: What the layer computes in and returns.
        patched: Whether it may multiply patches of the image instead: the same to rounding, see
            `dermjax.models.patches`.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    use_bias: bool = False
    padding: Padding = symmetric_padding
    dtype: Any = jnp.float32
    patched: bool = False

    @nn.compact
    def __call__(self, x):
        size, stride = self.kernel_size, self.stride
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", conv_init, shape).astype(self.dtype)
        x = x.astype(self.dtype)
        if size == 1:
            # XLA's CPU backend multiplies matrices several times faster than it convolves.
            x = x[:, ::stride, ::stride] if stride > 1 else x
            x = pointwise_conv(x, kernel[0, 0])
        else:
            pads = tuple(self.padding(side, size, stride) for side in x.shape[1:3])
            if self.patched and patches.are_worth_it(x.shape, size, stride):
                x = patches.extract(x, size, stride, pads) @ kernel.reshape(-1, self.features)
            else:
                x = lax.conv_general_dilated(
                    x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return x


class DepthwiseConv(nn.Module):
    """One `k x k` filter per channel of `[B, H, W, C]`; kernel `[k, k, 1, C]`, no bias.

    With stride 2 the input may be given as its phases, see `dermjax.models.phases`.
    """

    kernel_size: int
    stride: int = 1
    padding: Padding = symmetric_padding
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        size, phased = self.kernel_size, isinstance(x, tuple)
        shape = x[0].shape if phased else x.shape
        kernel = self.param("kernel", conv_init, (size, size, 1, shape[-1]))
        sides = [2 * side if phased else side for side in shape[1:3]]
        pads = tuple(self.padding(side, size, self.stride) for side in sides)
        x = jax.tree.map(lambda one: one.astype(self.dtype), x)
        if phased:
            return phases.strided_depthwise_conv(x, kernel, pads)
        return depthwise_conv(x, kernel, self.stride, pads)


class SqueezeExcite(nn.Module):
    """Scales the channels of `[B, H, W, C]` by a gate in (0, 1) computed from their means."""

    reduced: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        gate = jnp.mean(x, axis=(1, 2), keepdims=True, dtype=accumulator(x))
        gate = Conv(self.reduced, use_bias=True, dtype=self.dtype, name="conv_reduce")(gate)
        gate = nn.silu(gate)
        gate = Conv(x.shape[-1], use_bias=True, dtype=self.dtype, name="conv_expand")(gate)
        return x * nn.sigmoid(gate)


Part = tuple[jax.Array | int, int]  # (index, count) among equal runs of a device's share
WHOLE: Part = (0, 1)


def sample_keys(key, batch: int, axis_name: str | None, part: Part):
    """One key per sample `[B]`, numbered over the global batch, not over the device's share.

    A sample then draws the same numbers however many devices the batch is spread over, and in
    however many parts a device computes its share; `key` must be the same for all of them.
    """
    index, count = part
    device = 0 if axis_name is None else lax.axis_index(axis_name)
    first = (device * count + index) * batch
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(first + jnp.arange(batch))


class DropPath(nn.Module):
    """Zeroes whole samples with probability `rate` in [0, 1); scales the others to keep the mean.

    Stochastic depth, https://arxiv.org/abs/1603.09382. Uses the stream `dropout`.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool, part: Part = WHOLE):
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        keys = sample_keys(self.make_rng("dropout"), x.shape[0], self.axis_name, part)
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.rate))(keys)
        scale = (keep / (1.0 - self.rate)).astype(x.dtype)
        return x * scale.reshape(-1, *(1,) * (x.ndim - 1))


class Dropout(nn.Module):
    """Zeroes single features of `[B, F]` with probability `rate` in [0, 1), scaling the others."""

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool, part: Part = WHOLE):
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        keys = sample_keys(self.make_rng("dropout"), x.shape[0], self.axis_name, part)
        draw = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.rate, x.shape[1:]))
        return jnp.where(draw(keys), x / (1.0 - self.rate), 0.0)
