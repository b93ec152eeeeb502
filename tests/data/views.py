"""Images to augment, and the augmentation compiled in a moment."""

import functools

import jax
import numpy as np

GEOMETRY = dict(jitter_probability=0, grayscale_probability=0, blur_probability=0)
RAW = dict(mean=(0, 0, 0), std=(1, 1, 1))  # no normalisation: outputs stay in [0, 1]


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def planes_of(batch=3, size=20, seed=0):
    return np.random.default_rng(seed).random((3, batch, size, size), np.float32)


# Compiling is what takes the time here: unoptimised code, and one compilation per configuration.
QUICK = dict(compiler_options={"xla_backend_optimization_level": 0})
jit = functools.cache(functools.partial(jax.jit, **QUICK))


def apply(augmentation, images, sizes=None, key=0, positions=None):
    batch, side = images.shape[:2]
    sizes = np.full((batch, 2), side) if sizes is None else np.asarray(sizes)
    positions = np.arange(batch) if positions is None else np.asarray(positions)
    return np.asarray(jit(augmentation)(jax.random.key(key), positions, images, sizes))
