"""InputIBA stated in PyTorch, eager and one image at a time, as the authors' code runs it.

Zhang et al., "Fine-Grained Neural Network Explanation by Identifying Input Features with Predictive
Information" (NeurIPS 2021, https://arxiv.org/abs/2110.01471), by its public code
(CAMP-eXplain-AI/InputIBA): what that code does where it differs from the paper. Nothing of ours is
in it; random numbers are given. Its waste is kept, since it is the measure of speed: the first
stage sends the constant image through the whole network at every step, and the generator's batch
is computed a second time.

Letters: image `[C0, H, W]`, a layer's output `[C, h, w]`; N noise draws.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from skimage import transform
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Settings:
    """The authors' for ImageNet and dermatology."""

    feature_beta: float = 20.0
    feature_steps: int = 10
    input_beta: float = 20.0
    input_steps: int = 60
    learning_rate: float = 1.0  # of Adam, in both bottlenecks
    draws: int = 10
    start: float = 5.0  # of all logits of both bottlenecks
    sigma: float = 1.0  # pixels, of the input mask's smoothing alone
    min_std: float = 0.01
    prior: str = "gan"  # or "iba": the feature saliency as it is, without a GAN
    gan_mask: str = "capacity"  # nats, as the code has it; or "lambda", in [0, 1]
    gan_samples: int = 200
    gan_groups: int = 10
    gan_batch: int = 32
    gan_epochs: int = 20
    generator_every: int = 5  # batches, counted anew in each epoch
    critic_rate: float = 5e-5
    clip: float = 0.01
    mean_rate: float = 0.1
    scale_rate: float = 0.05
    mask_rate: float = 0.003


class Statistics(NamedTuple):
    """Of a layer's outputs, each `[C, h, w]`."""

    mean: torch.Tensor
    std: torch.Tensor
    active: torch.Tensor  # bool: not zero in more than a hundredth of the images


class Feature(NamedTuple):
    """What the feature bottleneck computed; lists have an entry a step."""

    logits: torch.Tensor  # `[C, h, w]` after the last update
    capacity: torch.Tensor  # `[C, h, w]` nats, of the last forward pass: before that update
    saliency: torch.Tensor  # `[H, W]` bits a pixel
    cross_entropies: list = ()
    divergences: list = ()  # means over elements, nats
    losses: list = ()


class Prior(NamedTuple):
    """The mask at the input: what the GAN learned, or what it would have begun with."""

    logits: torch.Tensor  # `[C0, H, W]`
    mean: torch.Tensor | None = None  # `[C0, 1, 1]`, of the generator's noise, as the next
    scale: torch.Tensor | None = None
    critic: nn.Module | None = None
    critic_losses: list = ()  # of every batch
    generator_losses: list = ()  # of its own steps


class Input(NamedTuple):
    """What the input bottleneck computed."""

    logits: torch.Tensor  # `[C0, H, W]`
    cross_entropies: list
    divergences: list
    losses: list


class Explanation(NamedTuple):
    """Of one image."""

    feature: Feature
    prior: Prior
    input: Input
    map: torch.Tensor  # `[H, W]` in [0, 1]


class Critic(nn.Module):
    """Tells features from features, `[B, C, h, w]` -> `[B, 1]`; h and w at least 4."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        c = channels
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(c, 2 * c, 4, stride=2, padding=1),
                nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1),
                nn.Conv2d(4 * c, c, 3, padding=1),
            ]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(n) for n in (2 * c, 4 * c, c)])
        flat = c * (height // 2 // 2) * (width // 2 // 2)
        self.dense = nn.ModuleList([nn.Linear(flat, 512), nn.Linear(512, 256), nn.Linear(256, 1)])

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        x = F.leaky_relu(self.dense[0](x.flatten(1)), 0.2)
        x = F.leaky_relu(self.dense[1](x), 0.2)
        return self.dense[2](x)


def feature_statistics(to_layer: Callable, batches: Iterable[torch.Tensor]) -> Statistics:
    """Of images `[B, C0, H, W]`, all of whose features are held at once; std with n - 1."""
    with torch.no_grad():
        features = torch.cat([to_layer(batch) for batch in batches])
    share = (features != 0).to(features.dtype).mean(0)
    return Statistics(features.mean(0), features.std(0), share > 0.01)


def random_noise(seed: int, device="cpu", dtype=torch.float32) -> Callable:
    """A source of noise as `InputIBA` needs it."""
    generator = torch.Generator(device).manual_seed(seed)

    def noise(stage: str, step: int, shape):
        draw = torch.rand if stage in ("gan_groups", "gan_order") else torch.randn
        return draw(shape, generator=generator, device=device, dtype=dtype)

    return noise


class InputIBA:
    """The three stages of one network.

    Args:
      to_layer: `[B, C0, H, W]` -> `[B, C, h, w]`, in evaluation mode, parameters without gradients.
      from_layer: goes on from there to the logits `[B, K]`.
      statistics: of the layer.
      noise: called with stage, step and shape; standard normal numbers of stages `feature`
        `[N, C, h, w]`, `gan_real` `[B, C, h, w]`, `gan_fake` `[B, C0, H, W]`, `input`
        `[N, C0, H, W]`; uniform ones in [0, 1) of `gan_groups` `[2, J]`, of spread and shift, and
        `gan_order` `[n]`, whose ranks are an epoch's order of the samples (step: the epoch).
      dtype: of everything; the network's as well.
      make_critic: of C, h and w; the test gives one with known weights.
    """

    def __init__(
        self,
        to_layer: Callable,
        from_layer: Callable,
        statistics: Statistics,
        noise: Callable,
        settings: Settings = Settings(),
        *,
        dtype: torch.dtype = torch.float32,
        make_critic: Callable = Critic,
    ):
        self.to_layer, self.from_layer = to_layer, from_layer
        self.statistics = Statistics(
            statistics.mean.to(dtype),
            statistics.std.to(dtype).clamp(min=settings.min_std),
            statistics.active.to(dtype),
        )
        self.settings, self.dtype, self._noise = settings, dtype, noise
        self.make_critic = make_critic

    def explain(self, image: torch.Tensor, target: int) -> Explanation:
        """All stages on an image `[C0, H, W]`, normalised."""
        image = image.to(self.dtype)
        feature = self.feature_bottleneck(image, target)
        prior = self.prior(image, feature)
        learned = self.input_bottleneck(image, target, prior.logits)
        return Explanation(feature, prior, learned, torch.sigmoid(learned.logits).mean(0))

    # 1. The feature bottleneck.

    def feature_bottleneck(self, image, target: int) -> Feature:
        """A mask on the layer's output: as little of it as the class needs."""
        settings, (mean, std, active) = self.settings, self.statistics
        logits = torch.full_like(mean, settings.start, requires_grad=True)
        optimizer = torch.optim.Adam([logits], settings.learning_rate)
        steps = []
        for step in range(settings.feature_steps):
            with torch.no_grad():
                features = self.to_layer(image.expand(settings.draws, -1, -1, -1))
            noise = mean + std * self.noise("feature", step, features.shape, image)
            keep, lose = self.feature_mask(logits)
            passed = active * (keep * features + lose * noise)
            capacity = active * self.feature_divergence(keep, lose, (features[0] - mean) / std)
            optimizer.zero_grad()
            steps.append(self.loss(passed, target, capacity, settings.feature_beta, "feature"))
            steps[-1][-1].backward()
            optimizer.step()
        capacity = self.feature_capacity(logits, features[0], capacity)
        return self.given_feature(logits.detach(), capacity, image, *_columns(steps))

    def given_feature(self, logits, capacity, image, *columns) -> Feature:
        """The first stage's result by what it learned."""
        saliency = self.saliency(capacity, image.shape[1:])
        return Feature(logits, capacity, saliency, *columns)

    def feature_mask(self, logits):
        """How much of the signal passes, and how much noise replaces it; the sum is one."""
        return torch.sigmoid(logits), torch.sigmoid(-logits)

    def feature_divergence(self, keep, lose, standardised):
        """KL of the noised feature from the noise, nats an element."""
        return -0.5 * (1 + 2 * torch.log(lose) - (keep * standardised) ** 2 - lose**2)

    def feature_capacity(self, logits, features, last):
        """What the later stages are told: `last`, of the last forward pass."""
        return last.detach()

    def saliency(self, capacity, size):
        """Bits a pixel of the image: scikit-image's bilinear resizing, on the CPU."""
        bits = capacity.sum(0) / math.log(2)
        bits = bits * bits.numel() / (size[0] * size[1])
        grown = transform.resize(bits.cpu().numpy(), tuple(size), order=1, preserve_range=True)
        return torch.as_tensor(grown).to(capacity)

    # 2. The prior at the input.

    def prior(self, image, feature: Feature) -> Prior:
        """The input mask whose features are as those that the feature bottleneck lets through."""
        start = feature.saliency.expand_as(image).clone()
        if self.settings.prior == "iba":
            return Prior(start)
        settings = self.settings
        features, through = self.to_layer(image[None]).detach()[0], self.gan_mask(feature)
        critic = self.make_critic(*features.shape).to(image).train()
        mask, mean, scale = self.generator_start(start)
        critic_steps = torch.optim.RMSprop(critic.parameters(), settings.critic_rate)
        generator_steps = torch.optim.RMSprop(
            [
                {"params": [mean], "lr": settings.mean_rate},
                {"params": [scale], "lr": settings.scale_rate},
                {"params": [mask], "lr": settings.mask_rate},
            ]
        )
        spread, shift = self.real_groups(image)
        critic_losses, generator_losses = [], []
        for step, (in_epoch, rows) in enumerate(self.batches(image)):
            n = self.noise("gan_real", step, (len(rows), *features.shape), image)
            real = through * features + (1 - through) * (spread[rows] * n + shift[rows])
            z = self.noise("gan_fake", step, (len(rows), *image.shape), image)
            fake = self.generate(image, mask, mean, scale, z).detach()
            loss = critic(fake).mean() - critic(real).mean()
            self.update(critic_steps, loss)
            self.clip(critic)
            critic_losses.append(loss.detach())
            if in_epoch % settings.generator_every == 0:
                loss = -critic(self.generate(image, mask, mean, scale, z)).mean()
                self.update(generator_steps, loss)
                generator_losses.append(loss.detach())
        learned = [tensor.detach() for tensor in (mask, mean, scale)]
        return Prior(*learned, critic, critic_losses, generator_losses)

    def gan_mask(self, feature: Feature):
        """What weighs the features of the real samples; nats can exceed one."""
        if self.settings.gan_mask == "lambda":
            return torch.sigmoid(feature.logits)
        return feature.capacity

    def generator_start(self, mask):
        """The generator's parameters: mask logits, and mean and scale of a channel's noise."""
        channels = (len(mask), 1, 1)
        mean, scale = mask.new_zeros(channels), mask.new_ones(channels)
        return [tensor.requires_grad_() for tensor in (mask, mean, scale)]

    def generate(self, image, mask, mean, scale, z):
        """Features of the masked and noised image."""
        return self.to_layer(
            torch.sigmoid(mask) * image + torch.sigmoid(-mask) * (scale * z + mean)
        )

    def real_groups(self, image):
        """Spread in [0, 5) and shift in [-2, 2) of every real sample's noise, `[n, 1, 1, 1]`."""
        groups = self.settings.gan_groups
        uniform = self.noise("gan_groups", 0, (2, groups), image)
        uniform = uniform.repeat_interleave(self.settings.gan_samples // groups, 1)
        spread, shift = 5 * uniform[0], 4 * uniform[1] - 2
        return spread.view(-1, 1, 1, 1), shift.view(-1, 1, 1, 1)

    def batches(self, image):
        """Place in the epoch, and the samples' rows, of every batch of all epochs."""
        for epoch in range(self.settings.gan_epochs):
            order = self.noise("gan_order", epoch, (self.settings.gan_samples,), image).argsort()
            yield from enumerate(order.split(self.settings.gan_batch))

    def update(self, optimizer, loss):
        optimizer.zero_grad()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters)  # the other player's are not computed
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()

    @torch.no_grad()
    def clip(self, critic):
        for parameter in critic.parameters():
            parameter.clamp_(-self.settings.clip, self.settings.clip)

    # 3. The input bottleneck.

    def input_bottleneck(self, image, target: int, prior) -> Input:
        """A mask on the image, which pays for what it tells beyond the prior (logits)."""
        settings = self.settings
        logits = torch.full_like(image, settings.start, requires_grad=True)
        optimizer = torch.optim.Adam([logits], settings.learning_rate)
        steps = []
        for step in range(settings.input_steps):
            noise = self.noise("input", step, (settings.draws, *image.shape), image)
            keep, lose = self.input_mask(logits)
            passed = self.to_layer(keep * image + lose * noise)
            divergence = self.input_divergence(image, keep, lose, prior)
            optimizer.zero_grad()
            steps.append(self.loss(passed, target, divergence, settings.input_beta, "input"))
            steps[-1][-1].backward()
            optimizer.step()
        return Input(logits.detach(), *_columns(steps))

    def input_mask(self, logits):
        """As `feature_mask`, smoothed."""
        return tuple(self.smooth(torch.sigmoid(side * logits)) for side in (1, -1))

    def smooth(self, mask):
        """Each channel `[C0, H, W]` by a Gaussian, mirrored at the border without its edge."""
        radius = round(2 * self.settings.sigma)
        place = torch.arange(-radius, radius + 1, dtype=mask.dtype, device=mask.device)
        weights = torch.exp(-(place**2) / (2 * self.settings.sigma**2))
        kernel = torch.outer(weights, weights) / weights.sum() ** 2
        kernel = kernel.expand(len(mask), 1, -1, -1)
        padded = F.pad(mask[None], [radius] * 4, mode="reflect")
        return F.conv2d(padded, kernel, groups=len(mask))[0]

    def input_divergence(self, image, keep, lose, prior):
        """KL of the noised image from the noised prior's, nats an element; noise is N(0, 1)."""
        beyond = torch.sigmoid(-prior)  # 1 - lambda_G
        rest = lose + keep * beyond  # 1 - lambda lambda_G
        log_ratio = 2 * (torch.log(lose) - torch.log(rest))
        distance = keep * beyond * image / rest
        return -0.5 * (1 + log_ratio - distance**2 - (lose / rest) ** 2)

    # Of both bottlenecks.

    def loss(self, passed, target: int, divergence, beta: float, stage: str):
        """Cross entropy, mean divergence, and their weighted sum."""
        labels = torch.full((len(passed),), target, device=passed.device)
        cross_entropy = F.cross_entropy(self.from_layer(passed), labels)
        mean = divergence.mean()
        return cross_entropy.detach(), mean.detach(), cross_entropy + beta * mean

    def noise(self, stage: str, step: int, shape, like):
        return torch.as_tensor(self._noise(stage, step, tuple(shape))).to(like)


def _columns(steps):
    """Rows of scalars as lists, one a quantity."""
    return [[row[place].detach() for row in steps] for place in range(3)]
