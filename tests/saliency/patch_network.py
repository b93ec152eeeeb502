"""A network of one layer that looks at one patch of the image only, and can be cut behind it."""

import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dermjax import saliency

# Compiling is what takes the time here.
_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
SIDE, ROWS, COLUMNS = 24, slice(4, 12), slice(12, 20)


class PatchNetwork(nn.Module):
    """`[B, 24, 24, 3]` -> two logits: for and against a bright patch."""

    layers: ClassVar[tuple[str, ...]] = ("pool",)

    @nn.compact
    def __call__(self, images, train=False, *, start="", stop=""):
        x = images
        if not start:
            gain = self.param("gain", nn.initializers.constant(4.0), ())
            seen = jnp.zeros((SIDE, SIDE, 1)).at[ROWS, COLUMNS].set(gain)
            x = nn.avg_pool(x * seen, (4, 4), (4, 4))  # [B, 6, 6, 3]
        if stop:
            return x
        bright = x.mean((1, 2, 3)) * 9
        return jnp.stack([bright, -bright], -1)


NETWORK = PatchNetwork()
VARIABLES = {"params": {"gain": jnp.float32(4.0)}}


def photographs(count, seed=0):
    """Images whose patch is bright amid noise of deviation 1."""
    images = np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, 3)).astype(np.float32)
    images[:, ROWS, COLUMNS] += 1.5
    return images


@functools.cache
def statistics():
    images = np.random.default_rng(9).normal(size=(64, SIDE, SIDE, 3)).astype(np.float32)
    return saliency.feature_statistics(NETWORK, VARIABLES, [images[:40], images[40:]], "pool")


def given(count, seed=0):
    """Network, variables, images, targets and keys of `count` images."""
    keys = jax.random.split(jax.random.key(seed), 8)[:count]
    targets = jnp.zeros(count, jnp.int32)
    return (NETWORK, VARIABLES, photographs(8)[:count], targets), keys


def quick(function):
    """Compiled in half the time, for a program that runs once or twice."""
    return jax.jit(function, compiler_options=_COMPILE)
