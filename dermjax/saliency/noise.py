"""Random numbers of the bottlenecks: every image has its own, so its map has no neighbours.

An image's numbers are folded from its key, the stage's place in `STAGES`, and the step.
"""

from collections.abc import Callable

import jax

# Of one image: (key, stage, step, shape) -> numbers.
Draw = Callable[[jax.Array, str, jax.Array | int, tuple[int, ...]], jax.Array]

# New ones go to the end: the place is part of the key.
STAGES = (
    "feature",  # normal, [draws, h, w, C] at each step
    "input",  # normal, [draws, H, W, 3] at each step
    "gan_groups",  # uniform, [2, groups], step 0: deviations and means of the groups' noise
    "gan_order",  # uniform, [samples] at each epoch: their ranks are the order of the samples
    "gan_real",  # normal, [batch, h, w, C] at each batch
    "gan_fake",  # normal, [batch, H, W, 3] at each batch
    "gan_critic",  # step 0, no numbers: the key from which a critic starts
    "sets",  # bits, [H, W] of each set of n pixels, at step n
)
_UNIFORM = ("gan_groups", "gan_order")


def stage_key(key: jax.Array, stage: str, step: jax.Array | int) -> jax.Array:
    """The key of one image's numbers at a step of a stage."""
    return jax.random.fold_in(jax.random.fold_in(key, STAGES.index(stage)), step)


def noise(key: jax.Array, stage: str, step: jax.Array | int, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal numbers, or uniform in [0, 1) where `STAGES` says so, float32."""
    draw = jax.random.uniform if stage in _UNIFORM else jax.random.normal
    return draw(stage_key(key, stage, step), shape)


def drawn(keys: jax.Array, stage: str, step, shape: tuple[int, ...]) -> jax.Array:
    """`[B, *shape]`: the noise of each of the keys `[B]`."""
    return jax.vmap(lambda key: noise(key, stage, step, shape))(keys)
