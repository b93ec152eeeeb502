"""The critic of InputIBA's prior: it distinguishes masked features from features of masked images.

Wasserstein's (Arjovsky et al. 2017), one for each image, in float32 like everything but the network
that is explained. Widths 2 C, 4 C, C of convolutions, then 512, 256, 1.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

_CONVOLUTIONS = ((4, 2), (4, 2), (3, 1))  # size and stride; all with a border of 1
_SLOPE = 0.2  # of leaky ReLU
_EPSILON = 1e-5


def initialize(keys: jax.Array, shape: tuple[int, int, int]) -> Any:
    """Parameters of one critic for each of the keys `[B]`, leaves `[B, ...]`.

    Uniform within 1 / sqrt(fan_in), PyTorch's rule.

    Args:
      shape: h, w, C of the features.

    Raises:
      ValueError: h or w is too small for two halvings.
    """
    height, width, channels = shape
    if min(height, width) < 4:
        raise ValueError(
            f"a critic needs features of at least 4 x 4, not {height} x {width}: "
            "take an earlier layer, larger images or prior='iba'"
        )
    kernels: dict[str, tuple[int, ...]] = {}
    inputs = channels
    for i, features in enumerate((2 * channels, 4 * channels, channels)):
        size, _ = _CONVOLUTIONS[i]
        kernels[f"conv{i + 1}"] = (size, size, inputs, features)
        inputs = features
    inputs *= (height // 4) * (width // 4)
    for i, features in enumerate((512, 256, 1)):
        kernels[f"fc{i + 1}"] = (inputs, features)
        inputs = features
    return jax.vmap(lambda key: _drawn(key, kernels))(keys)


def _drawn(key, kernels):
    """One critic; all its numbers are drawn at once, for each draw takes CPUs .25 s to compile."""
    sizes = {name: math.prod(shape) + shape[-1] for name, shape in kernels.items()}
    numbers, first, params = jax.random.uniform(key, (sum(sizes.values()),), minval=-1), 0, {}
    for name, shape in kernels.items():
        own = numbers[first : first + sizes[name]] * math.prod(shape[:-1]) ** -0.5
        features, first = shape[-1], first + sizes[name]
        params[name] = {"kernel": own[:-features].reshape(shape), "bias": own[-features:]}
        if name.startswith("conv"):
            norm = {"scale": jnp.ones(features), "bias": jnp.zeros(features)}
            params[name.replace("conv", "bn")] = norm
    return params


def judge(params: Any, features: jax.Array) -> jax.Array:
    """Features `[n, h, w, C]` -> `[n]`.

    Batch norm always has the batch's statistics: real and made-up features must come apart.
    """
    x = features
    for i, (size, stride) in enumerate(_CONVOLUTIONS, start=1):
        x = _batch_norm(params[f"bn{i}"], _linear(params[f"conv{i}"], _patches(x, size, stride)))
        x = jax.nn.leaky_relu(x, _SLOPE)
    x = x.reshape(len(x), -1)
    for name in ("fc1", "fc2"):
        x = jax.nn.leaky_relu(_linear(params[name], x), _SLOPE)
    return _linear(params["fc3"], x)[:, 0]


def _linear(params, x):
    """`[..., k k C]` -> `[..., features]`; kernel `[k, k, C, features]`, or of two axes."""
    return x @ params["kernel"].reshape(x.shape[-1], -1) + params["bias"]


def _batch_norm(params, x):
    mean = x.mean((0, 1, 2))
    variance = jnp.square(x - mean).mean((0, 1, 2))
    return (x - mean) * (params["scale"] * jax.lax.rsqrt(variance + _EPSILON)) + params["bias"]


def _patches(x, size: int, stride: int):
    """What a convolution sees of `[n, h, w, C]` with a border of 1: `[n, h', w', k k C]`.

    A critic's kernels are one image's own. For several images a product of matrices is quick, while
    a convolution becomes a grouped one, which few backends are quick at.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = ((side + 2 - size) // stride + 1 for side in x.shape[1:3])
    rows = [
        jax.lax.slice_in_dim(padded, i, i + stride * (height - 1) + 1, stride, axis=1)
        for i in range(size)
    ]
    cells = [
        jax.lax.slice_in_dim(row, j, j + stride * (width - 1) + 1, stride, axis=2)
        for row in rows
        for j in range(size)
    ]
    return jnp.concatenate(cells, axis=-1)


def critic_loss(params: Any, real: jax.Array, fake: jax.Array) -> jax.Array:
    """`mean D(fake) - mean D(real)` of one image's critic; features `[n, h, w, C]`."""
    return judge(params, fake).mean() - judge(params, real).mean()


def generator_loss(params: Any, fake: jax.Array) -> jax.Array:
    """`-mean D(fake)` of one image's critic; features `[n, h, w, C]`."""
    return -judge(params, fake).mean()


def each_image(function: Callable, how: str) -> Callable:
    """`function` of one image for all of them, its arguments with a leading B.

    Args:
      how: `map` (one image after the other) or `vmap` (all at once, with B times the gradients).
    """
    if how == "vmap":
        return jax.vmap(function)
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)
