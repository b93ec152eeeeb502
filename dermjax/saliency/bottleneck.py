"""The information bottleneck at a layer (Schulz et al. 2020, "Restricting the Flow", IBA).

Noise replaces what the class does not need: of the layer's output R a mask lets
`lambda R + (1 - lambda) noise` pass, and what passes is paid for by its information about R.

Letters: B images of H x W px, N classes, n draws of noise; R `[h, w, C]` the layer's output.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dermjax.saliency.noise import drawn
from dermjax.saliency.setting_checks import check_least, check_positive

INITIAL_LOGIT = 5.0  # lambda = .993: the search starts with nearly everything passing
_LEAST_STD = 0.01
_LEAST_ACTIVE = 0.01  # share of images in which an element is not 0


@struct.dataclass
class FeatureStatistics:
    """How a layer's elements are distributed over images, `[h, w, C]` each."""

    mean: jax.Array  # float32
    std: jax.Array  # float32, divided by count - 1
    active: jax.Array  # bool, whether it is not 0 in more than 1 % of images


@struct.dataclass
class FeatureBottleneck:
    """What the bottleneck of a layer found out about each image."""

    features: jax.Array  # R, [B, h, w, C]
    logits: jax.Array  # of lambda after the last step, [B, h, w, C]
    capacity: jax.Array  # nats that passed before the last step, [B, h, w, C]
    losses: dict[str, jax.Array]  # `class` and `information` before each step, [steps, B], nats


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Settings of `feature_iba`; numbers are those of InputIBA's authors for EfficientNet-B4."""

    layer: str  # one of the network's `layers`
    beta_feature: float = 20.0  # price of information; 50 for cars, 10 in IBA
    steps_feature: int = 10
    draws: int = 10  # of noise, in each step
    learning_rate: float = 1.0  # of Adam

    def __post_init__(self):
        check_least(self, 1, "steps_feature", "draws")
        check_least(self, 0, "beta_feature")
        check_positive(self, "learning_rate")


def feature_statistics(
    model: nn.Module, variables: Any, batches: Iterable[jax.Array], layer: str
) -> FeatureStatistics:
    """Mean and deviation of a layer's elements, which the bottleneck's noise has, too.

    Args:
      batches: of images `[b, H, W, 3]`, normalised, without padding; 1,000 images are usual.
      layer: one of `model.layers`.

    Raises:
      ValueError: fewer than 2 images, an unknown layer, or features that are not finite.
    """
    count, mean, squares, nonzero = 0, 0.0, 0.0, 0.0
    for images in batches:
        size, moments = len(images), _moments(model, variables, images, layer=layer)
        batch_mean, batch_squares, batch_nonzero = (np.asarray(m, np.float64) for m in moments)
        difference = batch_mean - mean
        # Chan et al. 1979: batches are merged, so that their sizes do not matter.
        mean = mean + difference * size / (count + size)
        squares = squares + batch_squares + difference**2 * count * size / (count + size)
        count, nonzero = count + size, nonzero + batch_nonzero
    if count < 2:
        raise ValueError(f"{count} images have no deviation; give at least 2, 1,000 are usual")
    if not (np.isfinite(mean).all() and np.isfinite(squares).all()):
        raise ValueError(f"features of {layer} are not finite: look at the network's weights")
    std = np.sqrt(squares / (count - 1))
    active = nonzero / count > _LEAST_ACTIVE
    return FeatureStatistics(jnp.float32(mean), jnp.float32(std), jnp.asarray(active))


@functools.partial(jax.jit, static_argnames=("model", "layer"))
def _moments(model, variables, images, *, layer):
    """Mean, sum of squared deviations, and count of non-zeros of a batch, `[h, w, C]` each."""
    features = model.apply(variables, images, train=False, stop=layer)
    mean = features.mean(0)
    return mean, jnp.square(features - mean).sum(0), (features != 0).sum(0)


@functools.partial(jax.jit, static_argnames=("model", "settings"))
def feature_iba(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    statistics: FeatureStatistics,
    settings: FeatureSettings,
) -> FeatureBottleneck:
    """Searches what of a layer's output each image's class needs: IBA's per-sample bottleneck.

    It minimises the cross-entropy of the class plus beta times the information that passes, by Adam
    on the mask's logits. The mask is not smoothed, as in InputIBA's code and unlike IBA's. The part
    before the layer runs once, for its input is the same in all steps.

    Args:
      model: with `start` and `stop`, see `dermjax.models`; it chooses what it computes in.
      images: `[B, H, W, 3]`, normalised.
      targets: `[B]` int32, the classes that are explained.
      keys: `[B]` PRNG keys; an image's result does not depend on the others in the batch.
      statistics: of the same layer at the same image size.

    Raises:
      ValueError: the statistics are not of this layer's shape.
    """
    # A tuple comes back only where variables may change.
    features = cast(jax.Array, model.apply(variables, images, train=False, stop=settings.layer))
    if features.shape[1:] != statistics.mean.shape:
        raise ValueError(
            f"statistics {statistics.mean.shape} are not of {settings.layer}, whose output is "
            f"{features.shape[1:]}: take them at the same layer and image size"
        )
    mean, std = statistics.mean, jnp.maximum(statistics.std, _LEAST_STD)
    active = statistics.active.astype(jnp.float32)
    shape = (settings.draws, *features.shape[1:])

    def capacity(logits):
        return feature_kl(logits, (features - mean) / std) * active

    def objective(logits, step):
        replaced = mean + std * drawn(keys, "feature", step, shape)
        keep, drop = jax.nn.sigmoid(logits)[:, None], jax.nn.sigmoid(-logits)[:, None]
        passed = active * (keep * features[:, None] + drop * replaced)
        scores = model.apply(variables, fold(passed), train=False, start=settings.layer)
        return class_loss(scores, targets), capacity(logits).mean((1, 2, 3))

    logits, before, losses = minimise(
        objective,
        jnp.full_like(features, INITIAL_LOGIT),
        beta=settings.beta_feature,
        steps=settings.steps_feature,
        learning_rate=settings.learning_rate,
    )
    return FeatureBottleneck(features, logits, capacity(before), losses)


def feature_kl(logits: jax.Array, standardised: jax.Array) -> jax.Array:
    """Nats that pass: KL of N(lambda r, (1 - lambda)^2) from N(0, 1).

    IBA's upper bound on the information that the masked output has of R: the divergence of what
    passes from pure noise, which knows nothing of the image.

    Args:
      logits: of lambda; 1 - lambda is taken from them, for from 17 on lambda is rounded to 1.
      standardised: r, the features in deviations from their mean.
    """
    keep, drop = jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)
    log_variance = -2 * jax.nn.softplus(logits)
    return -0.5 * (1 + log_variance - jnp.square(keep * standardised) - jnp.square(drop))


def bits_per_pixel(capacity: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Nats `[B, h, w, C]` -> bits of all channels, spread over the pixels: `[B, H, W]`.

    Bilinear between the centres of the h x w cells. Within half a cell of the border the values are
    mirrored at the outer centres, as in the authors' code (scikit-image's `resize` as it is called
    there, IBA's `to_saliency_map`): they return towards those of the second cell from the border.

    Args:
      size: H and W, px.
    """
    bits = capacity.sum(-1) / jnp.log(2.0)
    (cells_high, cells_wide), (high, wide) = bits.shape[1:], size
    bits = bits * (cells_high * cells_wide / (high * wide))
    rows, columns = _between_centres(cells_high, high), _between_centres(cells_wide, wide)
    rows, columns = (jnp.asarray(of, bits.dtype) for of in (rows, columns))
    # Products are of few numbers; an accelerator's quick, short ones would be felt as stripes.
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("Hh,bhw,Ww->bHW", rows, bits, columns, precision=exact)


def _between_centres(cells: int, pixels: int) -> np.ndarray:
    """How much each cell counts at a pixel, `[pixels, cells]`; rows sum to 1."""
    place = np.abs((np.arange(pixels) + 0.5) * cells / pixels - 0.5)  # in cells from the first
    place = (cells - 1) - np.abs((cells - 1) - place)
    place = np.clip(place, 0, cells - 1)  # of a single cell
    return np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, None)


def minimise(
    objective: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
    *,
    beta: float,
    steps: int,
    learning_rate: float,
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Adam on `class + beta information`, in one scan; images do not see each other.

    Args:
      objective: (logits `[B, ...]`, step) -> class loss `[B]`, information `[B]`.
      start: logits of the mask.

    Returns:
      Logits after the last step, those before it, and both losses `[steps, B]`.
    """
    adam = optax.adam(learning_rate)

    def total(logits, step):
        loss, information = objective(logits, step)
        return (loss + beta * information).sum(), {"class": loss, "information": information}

    def step(state, number):
        logits, _, moments = state
        gradient, losses = jax.grad(total, has_aux=True)(logits, number)
        update, moments = adam.update(gradient, moments)
        return (logits + update, logits, moments), losses

    state = start, start, adam.init(start)
    (logits, before, _), losses = jax.lax.scan(step, state, jnp.arange(steps))
    return logits, before, losses


def fold(x: jax.Array) -> jax.Array:
    """`[B, n, ...]` -> `[B n, ...]`: one batch for the network, whose weights all share."""
    return x.reshape(-1, *x.shape[2:])


def class_loss(scores: jax.Array, targets: jax.Array) -> jax.Array:
    """Logits `[B n, N]` -> `-log p(target)` `[B]`, mean over draws, nats."""
    scores = scores.astype(jnp.float32).reshape(len(targets), -1, scores.shape[-1])
    chosen = jnp.take_along_axis(scores, targets[:, None, None], -1)[..., 0]
    return (jax.nn.logsumexp(scores, -1) - chosen).mean(-1)
