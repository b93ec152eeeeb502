"""InputIBA (Zhang et al. 2021, NeurIPS): the information bottleneck on the pixels.

Three stages: a bottleneck at a layer, the prior that its features imply for the pixels, and a
bottleneck on the pixels whose information is counted beyond that prior.

Deviations from the authors' code: images in batches; no logarithm of 0 where a mask is saturated.
As in the code: the layer's mask is not smoothed, the pixels' is, and the map is the mean over
channels of the pixels' mask before smoothing.

Letters as in `bottleneck`.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dermjax.saliency.bottleneck import (
    INITIAL_LOGIT,
    FeatureBottleneck,
    FeatureSettings,
    FeatureStatistics,
    bits_per_pixel,
    class_loss,
    feature_iba,
    fold,
    minimise,
)
from dermjax.saliency.noise import drawn
from dermjax.saliency.prior import GanSettings, gan_forwards, gan_prior, iba_prior
from dermjax.saliency.setting_checks import check_choice, check_least

_LEAST = 1e-30  # of 1 - lambda, before its logarithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputIBASettings(FeatureSettings, GanSettings):
    """Settings of `input_iba`; the numbers are those of the authors for EfficientNet-B4.

    Raises:
      ValueError: a number is out of range, or a choice is unknown.
    """

    prior: str = "iba"  # or `gan`, as the authors, about 8 times the work
    beta_input: float = 20.0  # price of information; 50 for cars, 100 for CIFAR
    steps_input: int = 60
    sigma: float = 1.0  # px, of the Gaussian that smooths the mask; 0 for none

    def __post_init__(self):
        FeatureSettings.__post_init__(self)
        GanSettings.__post_init__(self)
        check_choice(self, "prior", "iba", "gan")
        check_least(self, 1, "steps_input")
        check_least(self, 0, "beta_input", "sigma")


@struct.dataclass
class InputBottleneck:
    """What the bottleneck on the pixels found out about each image."""

    logits: jax.Array  # of lambda before smoothing, [B, H, W, 3]
    losses: dict[str, jax.Array]  # `class` and `information` before each step, [steps, B], nats


def input_iba(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    statistics: FeatureStatistics,
    settings: InputIBASettings,
) -> jax.Array:
    """Maps `[B, H, W]` float32 in [0, 1] of the pixels that the targets need.

    A network whose numbers are not finite gives a map that is not; the caller should look.

    Args:
      model: with `start` and `stop`, see `dermjax.models`; it chooses what it computes in.
      images: `[B, H, W, 3]` float32, normalised.
      targets: `[B]` int32, the classes that are explained.
      keys: `[B]` PRNG keys; an image's map does not depend on the others in the batch.
      statistics: of `feature_statistics`, at `settings.layer` and this image size.

    Raises:
      ValueError: statistics of another shape, images too small for `settings.sigma`, or, with the
        prior `gan`, a layer whose output is smaller than 4 x 4.
    """
    bottleneck = feature_iba(
        model, variables, images, targets,
        keys=keys, statistics=statistics, settings=settings,
    )  # fmt: skip
    prior = prior_mask(model, variables, images, bottleneck, keys=keys, settings=settings)
    found = input_bottleneck(
        model, variables, images, targets, keys=keys, prior=prior, settings=settings
    )
    return jax.nn.sigmoid(found.logits).mean(-1)


def iba(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    statistics: FeatureStatistics,
    settings: FeatureSettings,
) -> jax.Array:
    """Maps `[B, H, W]` of the layer's bottleneck alone, bits per pixel; as for `input_iba`."""
    bottleneck = feature_iba(
        model, variables, images, targets,
        keys=keys, statistics=statistics, settings=settings,
    )  # fmt: skip
    _, height, width, _ = images.shape
    return bits_per_pixel(bottleneck.capacity, (height, width))


def prior_mask(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    bottleneck: FeatureBottleneck,
    *,
    keys: jax.Array,
    settings: InputIBASettings,
) -> jax.Array:
    """lambda_G by the settings' prior, `[B, H, W, 1 or 3]` in [0, 1]."""
    if settings.prior == "iba":
        _, height, width, _ = images.shape
        return iba_prior(bottleneck, (height, width))
    return gan_prior(
        model, variables, images,
        keys=keys, bottleneck=bottleneck, settings=settings,
    ).mask  # fmt: skip


@functools.partial(jax.jit, static_argnames=("model", "settings"))
def input_bottleneck(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    *,
    keys: jax.Array,
    prior: jax.Array,
    settings: InputIBASettings,
) -> InputBottleneck:
    """Searches what of the pixels each image's class needs.

    Args:
      prior: lambda_G in [0, 1], `[B, H, W, 1 or 3]`; 0 gives IBA on the pixels.
      model, images, targets, keys: as for `input_iba`.

    Raises:
      ValueError: images too small for the reflected border of the smoothing.
    """
    shape = (settings.draws, *images.shape[1:])

    def objective(logits, step):
        # 1 - lambda is smoothed, not lambda: it keeps its digits where lambda is rounded to 1.
        drop = smooth(jax.nn.sigmoid(-logits), settings.sigma)
        normal = drawn(keys, "input", step, shape)
        passed = ((1 - drop) * images)[:, None] + drop[:, None] * normal
        scores = model.apply(variables, fold(passed), train=False)
        return class_loss(scores, targets), input_kl(images, drop, prior).mean((1, 2, 3))

    logits, _, losses = minimise(
        objective,
        jnp.full_like(images, INITIAL_LOGIT),
        beta=settings.beta_input,
        steps=settings.steps_input,
        learning_rate=settings.learning_rate,
    )
    return InputBottleneck(logits, losses)


def input_kl(images: jax.Array, drop: jax.Array, prior: jax.Array) -> jax.Array:
    """Nats beyond the prior that pass: KL of the masked pixel from the masked prior's pixel.

    InputIBA's information term, per element. Both are normal: of mean `lambda I` and deviation
    `1 - lambda`, and of mean `lambda lambda_G I` and deviation `1 - lambda lambda_G`.
    By logarithms, for the derivative of a quotient squares a deviation that may be as small as
    1e-30.

    Args:
      images: I, normalised: the noise is standard normal.
      drop: 1 - lambda in [0, 1].
      prior: lambda_G in [0, 1].
    """
    keep, drop = 1 - drop, jnp.maximum(drop, _LEAST)
    log_deviation = jnp.log(drop + keep * (1 - prior))
    log_ratio = jnp.log(drop) - log_deviation
    shift = keep * (1 - prior) * images * jnp.exp(-log_deviation)
    return -0.5 * (1 + 2 * log_ratio - jnp.square(shift) - jnp.exp(2 * log_ratio))


def smooth(masks: jax.Array, sigma: float) -> jax.Array:
    """Gaussian of `sigma` px over H and W of `[B, H, W, C]`, 2.5 sigma wide, border reflected.

    Raises:
      ValueError: H or W is no longer than the border.
    """
    if not sigma:
        return masks
    border = round(2 * sigma)
    if min(masks.shape[1:3]) <= border:
        raise ValueError(
            f"images of {masks.shape[1]} x {masks.shape[2]} px are too small to be smoothed with "
            f"sigma = {sigma}; at most {(min(masks.shape[1:3]) - 1) / 2} is possible"
        )
    weights = np.exp(-0.5 * np.square(np.arange(-border, border + 1) / sigma))
    weights = weights / weights.sum()
    for axis in (1, 2):
        size, pads = masks.shape[axis], [(0, 0)] * 4
        pads[axis] = (border, border)
        padded = jnp.pad(masks, pads, mode="reflect")
        parts = (
            float(weight) * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
            for i, weight in enumerate(weights)
        )
        masks = sum(parts, jnp.zeros((), masks.dtype))
    return masks


def forwards_per_image(settings: InputIBASettings, *, as_authors: bool = False) -> tuple[int, int]:
    """Images that go forward and backward through the network, or a part of it, for one map.

    With the authors' settings and prior `gan`: 5,981 forward and 1,980 backward in their code
    (`as_authors`). Here 1,280 forward fewer, those that the code computes twice; and the 100 of the
    layer's bottleneck go through the part behind the layer only.
    """
    feature = settings.steps_feature * settings.draws
    pixels = settings.steps_input * settings.draws
    gan = (0, 0)
    if settings.prior == "gan":
        gan = gan_forwards(settings, computed_twice=as_authors)
    return 1 + feature + gan[0] + pixels, feature + gan[1] + pixels
