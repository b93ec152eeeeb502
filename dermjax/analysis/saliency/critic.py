"""The critic of InputIBA's prior: it tells masked features from features of masked images.

In float32 like everything but the network that is explained.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

_KERNEL = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's rule
_SLOPE = 0.2
_EPSILON = 1e-5


class Critic(nn.Module):
    """Features `[n, h, w, C]` -> `[n]`; h and w at least 4 (WGAN, Arjovsky et al. 2017).

    Widths 2 C, 4 C, C, then 512, 256, 1. Batch norm always has the batch's statistics, so the
    critic must see real and made-up features apart.
    """

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        for i, (width, size, stride) in enumerate(
            [(2 * channels, 4, 2), (4 * channels, 4, 2), (channels, 3, 1)], start=1
        ):
            bias = _bias(size * size * x.shape[-1])
            x = nn.Conv(
                width, (size, size), stride, padding=1, kernel_init=_KERNEL, bias_init=bias,
                name=f"conv{i}",
            )(x)  # fmt: skip
            x = nn.leaky_relu(_BatchNorm(name=f"bn{i}")(x), _SLOPE)
        x = x.reshape(len(x), -1)
        for i, width in enumerate((512, 256, 1), start=1):
            bias = _bias(x.shape[-1])
            x = nn.Dense(width, kernel_init=_KERNEL, bias_init=bias, name=f"fc{i}")(x)
            x = x if width == 1 else nn.leaky_relu(x, _SLOPE)
        return x[:, 0]


class _BatchNorm(nn.Module):
    """Per channel of `[n, h, w, C]`, with the batch's own statistics only."""

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        mean = x.mean((0, 1, 2))
        variance = jnp.square(x - mean).mean((0, 1, 2))
        return (x - mean) * (scale * jax.lax.rsqrt(variance + _EPSILON)) + bias


def _bias(fan_in: int):
    """Uniform within 1 / sqrt(fan_in), PyTorch's rule."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, -bound, bound
    )


def initialize(keys: jax.Array, shape: tuple[int, int, int]) -> Any:
    """Parameters of one critic for each of the keys `[B]`, leaves `[B, ...]`.

    Args:
      shape: h, w, C of the features.

    Raises:
      ValueError: h or w is too small for two halvings.
    """
    if min(shape[:2]) < 4:
        raise ValueError(
            f"a critic needs features of at least 4 x 4, not {shape[0]} x {shape[1]}: "
            "take an earlier layer, larger images or prior='iba'"
        )
    return jax.vmap(lambda key: Critic().init(key, jnp.zeros((1, *shape)))["params"])(keys)


def critic_loss(params: Any, real: jax.Array, fake: jax.Array) -> jax.Array:
    """`mean D(fake) - mean D(real)` of one image's critic; features `[n, h, w, C]`."""
    judge = lambda features: Critic().apply({"params": params}, features).mean()  # noqa: E731
    return judge(fake) - judge(real)


def generator_loss(params: Any, fake: jax.Array) -> jax.Array:
    """`-mean D(fake)` of one image's critic; features `[n, h, w, C]`."""
    return -Critic().apply({"params": params}, fake).mean()


def each_image(function: Callable, how: str) -> Callable:
    """`function` of one image for all of them, its arguments with a leading B.

    Args:
      how: `map` (one image after the other) or `vmap` (all at once: their kernels differ, so XLA
        makes grouped convolutions of it, which few backends are quick at).
    """
    if how == "vmap":
        return jax.vmap(function)
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)
