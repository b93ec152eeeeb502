"""What InputIBA is compared with: Grad-CAM, integrated gradients, and maps by chance.

Letters: B images of H x W px; `[h, w, C]` a layer's output; S steps.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames=("model", "layer"))
def grad_cam(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    layer: str,
) -> jax.Array:
    """Maps `[B, H, W]` in [0, 1] by Grad-CAM (Selvaraju et al. 2017, equations 1 and 2).

    Channels of the layer are weighed by the mean gradient of the target's logit; what speaks
    against the target is cut off. Upsampled bilinearly, the largest value of an image is 1; an
    image without any evidence has zeros.

    Args:
      images: `[B, H, W, 3]`, normalised.
      targets: `[B]` int32.
      keys: unused; every method takes them.
      layer: one of `model.layers`.
    """
    del keys
    features = model.apply(variables, images, train=False, stop=layer)

    def score(features):
        return _chosen(model.apply(variables, features, train=False, start=layer), targets).sum()

    weights = jax.grad(score)(features).mean((1, 2), keepdims=True)
    cells = jax.nn.relu((weights * features).sum(-1))
    maps = jax.image.resize(cells, images.shape[:3], "bilinear", antialias=False)
    most = maps.max((1, 2), keepdims=True)
    return maps / jnp.where(most > 0, most, 1)


@functools.partial(jax.jit, static_argnames=("model", "steps"))
def integrated_gradients(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    steps: int = 32,
) -> jax.Array:
    """Maps `[B, H, W]`, at least 0, by integrated gradients (Sundararajan et al. 2017, equation 1).

    From the mean image (0 when normalised) to the image, by the midpoint rule. The map is the
    channels' sum of magnitudes: a pixel counts whether it speaks for or against the target, as it
    does to a reader who asks where the network looks.

    Args:
      steps: S, at least 1.
      model, variables, images, targets, keys: as for `grad_cam`.

    Raises:
      ValueError: no steps.
    """
    del keys
    return jnp.abs(attributions(model, variables, images, targets, steps=steps)).sum(-1)


def attributions(model, variables, images, targets, *, steps: int) -> jax.Array:
    """Integrated gradients with their signs, `[B, H, W, 3]`.

    Summed over an image they are, up to the rule's error, the target's logit less that of the mean
    image (completeness).
    """
    if steps < 1:
        raise ValueError(f"steps = {steps} must be at least 1; 32 are usual")

    def score(images):
        return _chosen(model.apply(variables, images, train=False), targets).sum()

    def add(total, share):
        return total + jax.grad(score)(share * images), None

    shares = (jnp.arange(steps) + 0.5) / steps
    total, _ = jax.lax.scan(add, jnp.zeros_like(images), shares)
    return total / steps * images


def random_map(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
) -> jax.Array:
    """Maps `[B, H, W]`, uniform in [0, 1): what any method has to do better than.

    Args:
      keys: `[B]` PRNG keys, one per image.
    """
    del model, variables, targets
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:3]))(keys)


def _chosen(logits, targets) -> jax.Array:
    """The targets' logits, `[B]` float32."""
    return jnp.take_along_axis(logits.astype(jnp.float32), targets[:, None], -1)[:, 0]
