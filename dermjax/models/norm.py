"""Batch normalisation over groups of the global batch, the same on any number of devices."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dermjax.models.precision import accumulator


class BatchNorm(nn.Module):
    """Normalises `[B, H, W, C]` or `[B, C]` per channel, with statistics of groups of the batch.

    Instead of one array a tuple of several of one shape may be given, such as the phases of
    `dermjax.models.phases`: their pixels are counted together, and a tuple is returned.

    `groups` counts the groups of the GLOBAL batch: 8 groups on one device give what 8 devices give
    with one group each, and one group is synchronised batch normalisation on any number of devices.
    Groups are runs of neighbouring samples. MoCo's shuffle needs several (they are its "devices").

    The running statistics are means over the groups, the variance unbiased (n / (n - 1) with n
    elements per group), both as in PyTorch. Devices holding different groups leave with different
    running statistics; the step must average them over `axis_name`, which gives the result of one
    device.

    Attributes:
        groups: Statistics groups of the global batch, a multiple or a divisor of the device count.
        axis_name: The axis the batch is spread over; None means one device.
        momentum: Share of the old running statistics kept by a step (PyTorch's momentum is 1 - it).
        epsilon: Added to the variance.
        parts: Equal runs of this device's share, of which `x` is one (gradient accumulation). They
            hold whole groups; the mean of what they leave as running statistics is the share's.
        affine: Whether a scale and a bias are learned.
        zero_scale: Whether the scale starts at 0 instead of 1 (the last norm of a residual branch).
        dtype: Type of the result; statistics are float32.
    """

    groups: int = 1
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    parts: int = 1
    affine: bool = True
    zero_scale: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool):
        """Normalises with the batch's statistics if `train`, else with the running ones.

        Raises:
            ValueError: If the groups fit neither the devices nor the batch nor its parts, or hold
                one element.
        """
        arrays = x if isinstance(x, tuple) else (x,)
        batch, *_, channels = arrays[0].shape
        scale, bias = 1.0, 0.0
        if self.affine:
            start = nn.initializers.zeros if self.zero_scale else nn.initializers.ones
            scale = self.param("scale", start, (channels,))
            bias = self.param("bias", nn.initializers.zeros, (channels,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not train or self.is_initializing():
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            around = running_mean.value
            return jax.tree.map(lambda one: _scaled(one, around, factor, bias, self.dtype), x)

        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        local_groups, span = _split_groups(self.groups, devices, self.parts, batch)
        count = sum(one.size for one in arrays) // channels // local_groups * span
        if count < 2:
            raise ValueError(
                "batch normalisation over 1 element returns its bias: "
                f"use fewer groups than {self.groups}, a larger batch or larger images"
            )
        mean, var = _moments(arrays, local_groups)
        if span > 1:
            mean, var = _span_devices(mean, var, span, self.axis_name)
        if self.is_mutable_collection("batch_stats"):
            unbiased = var.mean(0) * (count / (count - 1))
            kept, new = self.momentum, 1.0 - self.momentum
            running_mean.value = kept * running_mean.value + new * mean.mean(0)
            running_var.value = kept * running_var.value + new * unbiased
        factor = scale * lax.rsqrt(var + self.epsilon)
        around, factor = _spread(mean, arrays[0]), _spread(factor, arrays[0])
        return jax.tree.map(lambda one: _scaled(one, around, factor, bias, self.dtype), x)


def _scaled(x, mean, factor, bias, dtype):
    return ((x.astype(accumulator(x)) - mean) * factor + bias).astype(dtype)


def _split_groups(groups: int, devices: int, parts: int, batch: int) -> tuple[int, int]:
    """How many groups the batch of this device holds, and over how many devices each spans."""
    if groups % devices == 0:
        local, span = groups // devices, 1
    elif devices % groups == 0:
        local, span = 1, devices // groups
    else:
        fits = [n for n in range(1, groups + devices + 1) if n % devices == 0 or devices % n == 0]
        below, above = max(n for n in fits if n < groups), min(n for n in fits if n > groups)
        raise ValueError(
            f"{groups} batch-norm groups do not fit {devices} devices: "
            f"the nearest counts that do are {below} and {above}"
        )
    if local % parts:
        raise ValueError(
            f"{parts} parts of a batch tear its batch-norm groups ({local} of {groups} on each of "
            f"{devices} devices): the number of parts must divide {local}"
        )
    local //= parts
    if batch % local:
        lower, upper = batch // local * local, -(-batch // local) * local
        raise ValueError(
            f"a batch of {batch} per device does not split into {local} batch-norm groups "
            f"({groups} over {devices} devices): use a batch of {lower or upper} or {upper}"
        )
    return local, span


def _moments(arrays, groups):
    """Mean and biased variance `[G, C]` of arrays `[B, ..., C]` together, at least float32."""
    in_two = functools.partial(moments_in_two_passes, groups=groups)
    if arrays[0].dtype != jnp.bfloat16:
        return in_two(arrays)
    in_one = functools.partial(moments_in_one_pass, groups=groups)
    return lax.platform_dependent(arrays, tpu=in_one, cuda=in_one, default=in_two)


def moments_in_two_passes(arrays: Sequence[jax.Array], groups: int):
    """The mean, then the mean of the squares around it; arguments as for `_moments`.

    E[x^2] - E[x]^2 would save a pass and lose the variance of channels far from zero.
    """
    arrays = [x.astype(accumulator(x)) for x in arrays]
    mean = _group_mean(arrays, groups)
    around = _spread(mean, arrays[0])
    return mean, _group_mean([jnp.square(x - around) for x in arrays], groups)


def moments_in_one_pass(arrays: Sequence[jax.Array], groups: int):
    """E[x] and E[x^2] - E[x]^2 in one pass over bfloat16; arguments as for `_moments`.

    Of a channel far from zero float32 loses some 1e-7 E[x]^2 of the variance: less than the 1e-6
    E[x]^2 that rounding x to bfloat16 has added to it.
    """
    arrays = [x.astype(accumulator(x)) for x in arrays]
    mean = _group_mean(arrays, groups)
    squares = _group_mean([jnp.square(x) for x in arrays], groups)
    return mean, jnp.maximum(squares - jnp.square(mean), 0.0)


# The two functions below leave the shape of the images alone and regroup only `[B, C]`: a reshape
# of the images to [G, B / G, ...] makes XLA's CPU code of the neighbouring layers 3x slower.


def _group_mean(arrays, groups):
    """Arrays `[B, ..., C]` of one shape -> `[G, C]`."""
    means = [jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) for x in arrays]
    per_sample = functools.reduce(jnp.add, means)
    per_sample = per_sample / len(means) if len(means) > 1 else per_sample
    return per_sample.reshape(groups, -1, per_sample.shape[-1]).mean(1)


def _spread(values, x):
    """`[G, C]` -> something that broadcasts against `[B, ..., C]`: each sample gets its group's."""
    groups, channels = values.shape
    if groups > 1:
        values = jnp.repeat(values, x.shape[0] // groups, axis=0)
    return values.reshape(-1, *(1,) * (x.ndim - 2), channels)


def _span_devices(mean, var, span, axis_name):
    """Combines the moments `[1, C]` of the devices that share a group (Chan et al., 1979)."""
    # Gathering every device's moments is small and its gradient is right under pmap, shard_map and
    # vmap alike, which `axis_index_groups` is not available for.
    means, variances = lax.all_gather(jnp.concatenate([mean, var]), axis_name, axis=1)
    own = lax.axis_index(axis_name) // span * span
    means = lax.dynamic_slice_in_dim(means, own, span)
    variances = lax.dynamic_slice_in_dim(variances, own, span)
    mean = means.mean(0, keepdims=True)
    return mean, (variances + jnp.square(means - mean)).mean(0, keepdims=True)
