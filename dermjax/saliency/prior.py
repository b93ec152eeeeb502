"""What of the input the bottlenecked features need: the prior of InputIBA.

The paper's way is a Wasserstein GAN per image (`gan_prior`). The quick way (`iba_prior`) is the
mask that the GAN starts from; with the authors' settings its optimizer cannot move that mask's
logits by more than about 1.2.

Letters as in `bottleneck`; G steps of the GAN.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from dermjax.saliency import critic
from dermjax.saliency.bottleneck import FeatureBottleneck, bits_per_pixel, fold
from dermjax.saliency.noise import drawn, stage_key
from dermjax.saliency.setting_checks import check_choice, check_least, check_positive

_DEVIATIONS = (0.0, 5.0)  # of the noise of the groups of real samples
_MEANS = (-2.0, 2.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSettings:
    """Settings of `gan_prior`; the numbers are those of InputIBA's authors."""

    layer: str  # the bottleneck's
    gan_epochs: int = 20
    gan_samples: int = 200  # real samples in an epoch
    gan_groups: int = 10  # of samples whose noise has the same mean and deviation
    gan_batch_size: int = 32
    gan_generator_every: int = 5  # batches: the generator learns at batches 0, 5, ... of an epoch
    # The share of features in a real sample: their `capacity` in nats, which may be above 1, as in
    # the authors' code, or `lambda`, the bottleneck's mask, as in the paper.
    gan_mask: str = "capacity"
    gan_critics: str = "map"  # over images, see `critic.each_image`; no effect on the result
    critic_learning_rate: float = 5e-5
    critic_clip: float = 0.01  # of every parameter, after every step
    mean_learning_rate: float = 0.1  # of the generator's noise
    scale_learning_rate: float = 0.05
    mask_learning_rate: float = 0.003

    def __post_init__(self):
        check_least(self, 1, "gan_epochs", "gan_samples", "gan_groups", "gan_generator_every")
        check_least(self, 2, "gan_batch_size")
        check_positive(self, "critic_learning_rate", "critic_clip")
        check_positive(self, "mean_learning_rate", "scale_learning_rate", "mask_learning_rate")
        check_choice(self, "gan_mask", "capacity", "lambda")
        check_choice(self, "gan_critics", "map", "vmap")
        if self.gan_samples % self.gan_groups:
            raise ValueError(
                f"gan_samples = {self.gan_samples} do not split into gan_groups = "
                f"{self.gan_groups} equal groups; 200 and 10 are usual"
            )

    @property
    def batches(self) -> list[int]:
        """Samples of each batch of an epoch; the last one may be smaller."""
        whole, rest = divmod(self.gan_samples, self.gan_batch_size)
        return [self.gan_batch_size] * whole + [rest] * (rest > 0)


@struct.dataclass
class Generator:
    """Image -> image of which a mask is left, the rest being noise."""

    logits: jax.Array  # of the mask lambda_G, [B, H, W, 3]
    mean: jax.Array  # of the noise, [B, 1, 1, 3]
    scale: jax.Array  # [B, 1, 1, 3]


@struct.dataclass
class GanPrior:
    """What the GAN found."""

    mask: jax.Array  # lambda_G in [0, 1], [B, H, W, 3]
    losses: dict[str, jax.Array]  # `critic` and `generator` (NaN where it rests), [G, B]


@struct.dataclass
class _State:
    generator: Generator
    generator_moments: Any
    critics: Any  # parameters, leaves [B, ...]
    critic_moments: Any


def iba_prior(bottleneck: FeatureBottleneck, size: tuple[int, int]) -> jax.Array:
    """Sigmoid of the bottleneck's bits per pixel: `[B, H, W, 1]` in [0.5, 1)."""
    return jax.nn.sigmoid(bits_per_pixel(bottleneck.capacity, size))[..., None]


@functools.partial(jax.jit, static_argnames=("model", "settings"))
def gan_prior(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    *,
    keys: jax.Array,
    bottleneck: FeatureBottleneck,
    settings: GanSettings,
    critics: Any = None,
) -> GanPrior:
    """Trains a mask of each image until a critic takes its features for the bottleneck's.

    Real: `m R + (1 - m) (s noise + u)`, with s and u of the sample's group. Made up: the layer's
    output of `lambda_G I + (1 - lambda_G) (scale noise + mean)`. The noise is new at each batch. A
    step of the generator takes the same noise as the critic's before it, whose features are
    therefore computed once; the authors' code computes them twice.

    Args:
      model, images, keys: as for `feature_iba`.
      bottleneck: of the same images.
      critics: parameters to start from, leaves `[B, ...]`; None for `critic.initialize`.

    Raises:
      ValueError: the layer's output is smaller than 4 x 4.
    """
    if critics is None:
        start = jax.vmap(lambda key: stage_key(key, "gan_critic", 0))(keys)
        _, height, width, channels = bottleneck.features.shape
        critics = critic.initialize(start, (height, width, channels))
    apply = functools.partial(model.apply, variables, train=False, stop=settings.layer)
    gan = _Gan(apply, images, keys, bottleneck, settings)
    state, losses = jax.lax.scan(gan.epoch, gan.start(critics), jnp.arange(settings.gan_epochs))
    losses = jax.tree.map(fold, losses)
    return GanPrior(jax.nn.sigmoid(state.generator.logits), losses)


class _Gan:
    """The steps of the GAN, over what does not change in them."""

    def __init__(self, apply, images, keys, bottleneck, settings: GanSettings):
        self.apply, self.images, self.keys, self.settings = apply, images, keys, settings
        self.draw = functools.partial(drawn, keys)
        self.features, self.capacity = bottleneck.features, bottleneck.capacity
        self.mask = (
            bottleneck.capacity
            if settings.gan_mask == "capacity"
            else jax.nn.sigmoid(bottleneck.logits)
        )
        uniform = self.draw("gan_groups", 0, (2, settings.gan_groups))
        self.deviations, self.means = (
            low + (high - low) * uniform[:, i]
            for i, (low, high) in enumerate((_DEVIATIONS, _MEANS))
        )
        self.rms = optax.scale_by_rms(decay=0.99, eps=1e-8, eps_in_sqrt=False)  # PyTorch's
        self.rates = (  # of the leaves of `Generator`, in their order
            settings.mask_learning_rate,
            settings.mean_learning_rate,
            settings.scale_learning_rate,
        )

    def start(self, critics) -> _State:
        count, height, width, channels = self.images.shape
        bits = bits_per_pixel(self.capacity, (height, width))[..., None]
        generator = Generator(
            jnp.broadcast_to(bits, self.images.shape),
            jnp.zeros((count, 1, 1, channels)),
            jnp.ones((count, 1, 1, channels)),
        )
        return _State(generator, self.rms.init(generator), critics, self.rms.init(critics))

    def epoch(self, state: _State, number):
        """All real samples once, in a new order; losses `[batches, B]`."""
        sizes, every = self.settings.batches, self.settings.gan_generator_every
        order = jnp.argsort(self.draw("gan_order", number, (self.settings.gan_samples,)))
        group = order // (self.settings.gan_samples // self.settings.gan_groups)
        first, size = number * len(sizes), sizes[0]
        whole = sizes.count(size)

        def batch(state, i):
            members = jax.lax.dynamic_slice_in_dim(group, i * size, size, axis=1)
            return self.batch(state, first + i, members, i % every == 0)

        state, losses = jax.lax.scan(batch, state, jnp.arange(whole))
        if whole < len(sizes):  # the rest makes a smaller batch
            members = group[:, whole * size :]
            state, last = self.batch(state, first + whole, members, whole % every == 0)
            losses = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), losses, last)
        return state, losses

    def batch(self, state: _State, step, group, learns):
        """A step of the critics and, if it `learns`, one of the generators with the same noise.

        Args:
          group: `[B, batch]` of each real sample.
        """
        size = group.shape[1]
        fake, pull = jax.vjp(lambda g: self.made_up(g, step, size), state.generator)
        state, critic_loss = self.critic_step(state, step, group, fake)
        state, loss = jax.lax.cond(
            learns,
            lambda state: self.generator_step(state, fake, pull),
            lambda state: (state, jnp.full_like(critic_loss, jnp.nan)),
            state,
        )
        return state, {"critic": critic_loss, "generator": loss}

    def generator_step(self, state: _State, fake, pull):
        """RMSprop; `pull` takes slopes of the made-up features back to the generators."""
        judge = jax.value_and_grad(critic.generator_loss, argnums=1)
        loss, slope = critic.each_image(judge, self.settings.gan_critics)(state.critics, fake)
        direction, moments = self.rms.update(pull(slope)[0], state.generator_moments)
        leaves, slopes = jax.tree.leaves(state.generator), jax.tree.leaves(direction)
        moved = (p - rate * d for p, rate, d in zip(leaves, self.rates, slopes, strict=True))
        generator = Generator(*moved)
        state = dataclasses.replace(state, generator=generator, generator_moments=moments)
        return state, loss

    def critic_step(self, state: _State, step, group, fake):
        """RMSprop, then the clip that keeps a critic Lipschitz."""
        gradient = jax.value_and_grad(critic.critic_loss)
        loss, slopes = critic.each_image(gradient, self.settings.gan_critics)(
            state.critics, self.real(step, group), fake
        )
        direction, moments = self.rms.update(slopes, state.critic_moments)
        rate, clip = self.settings.critic_learning_rate, self.settings.critic_clip
        critics = jax.tree.map(
            lambda p, d: jnp.clip(p - rate * d, -clip, clip), state.critics, direction
        )
        return dataclasses.replace(state, critics=critics, critic_moments=moments), loss

    def real(self, step, group):
        """Features that the bottleneck lets pass, amid noise: `[B, batch, h, w, C]`."""
        normal = self.draw("gan_real", step, (group.shape[1], *self.features.shape[1:]))
        deviation, mean = (
            jnp.take_along_axis(of, group, axis=1)[..., None, None, None]
            for of in (self.deviations, self.means)
        )
        mask = self.mask[:, None]
        return mask * self.features[:, None] + (1 - mask) * (deviation * normal + mean)

    def made_up(self, generator: Generator, step, size: int):
        """Features of masked images: `[B, size, h, w, C]`."""
        normal = self.draw("gan_fake", step, (size, *self.images.shape[1:]))
        keep, drop = jax.nn.sigmoid(generator.logits), jax.nn.sigmoid(-generator.logits)
        replaced = generator.scale[:, None] * normal + generator.mean[:, None]
        masked = (keep * self.images)[:, None] + drop[:, None] * replaced
        features = self.apply(fold(masked))
        return features.reshape(len(masked), size, *features.shape[1:])


def gan_forwards(settings: GanSettings, *, computed_twice: bool) -> tuple[int, int]:
    """Images that go forward and backward through the part before the layer.

    Args:
      computed_twice: whether a generator's step computes the critic's features again, as in the
        authors' code.
    """
    sizes = settings.batches
    learning = [size for i, size in enumerate(sizes) if i % settings.gan_generator_every == 0]
    backward = settings.gan_epochs * sum(learning)
    critics = settings.gan_epochs * sum(sizes)
    return critics + backward * computed_twice, backward
