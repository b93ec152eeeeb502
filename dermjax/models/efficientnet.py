"""EfficientNet B0 to B7 (https://arxiv.org/abs/1905.11946) and Lite0, named as in timm.

timm has two families of equal shapes that must not be mixed up: `efficientnet_*` pads symmetrically
and adds 1e-5 to variances; `tf_efficientnet_*` pads like TensorFlow and adds 1e-3. Lite0 is B0 with
ReLU6 and without squeeze-and-excitation.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models.layers import (
    WHOLE,
    Conv,
    DepthwiseConv,
    Dropout,
    DropPath,
    Padding,
    Part,
    SqueezeExcite,
    linear_init,
    same_padding,
    symmetric_padding,
)
from dermjax.models.norm import BatchNorm
from dermjax.models.precision import accumulator
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.section import section


class Stage(NamedTuple):
    """A run of equal blocks, of which only the first strides and changes the width."""

    depth: int
    kernel: int
    stride: int
    width: int
    expansion: int


class Scaling(NamedTuple):
    """What distinguishes B0 to B7: the multipliers of width and depth."""

    width: float
    depth: float


# Table 1 of the paper.
B0_STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(2, 3, 2, 24, 6),
    Stage(2, 5, 2, 40, 6),
    Stage(3, 3, 2, 80, 6),
    Stage(3, 5, 1, 112, 6),
    Stage(4, 5, 2, 192, 6),
    Stage(1, 3, 1, 320, 6),
)

SCALINGS = {
    "b0": Scaling(1.0, 1.0),
    "b1": Scaling(1.0, 1.1),
    "b2": Scaling(1.1, 1.2),
    "b3": Scaling(1.2, 1.4),
    "b4": Scaling(1.4, 1.8),
    "b5": Scaling(1.6, 2.2),
    "b6": Scaling(1.8, 2.6),
    "b7": Scaling(2.0, 3.1),
}


class Block(nn.Module):
    """An inverted residual block (MBConv); without expansion, a depthwise-separable one.

    Attributes:
        width: C_out.
        expansion: Width inside the block over C_in; 1 leaves the first convolution out.
        kernel: Size of the depthwise kernel, pixels.
        stride: pixels; the skip exists where it is 1 and C_in = C_out.
        activation: After every norm but the last.
        squeeze_excite: Whether channels are scaled by a gate.
        drop_path_rate: Probability in [0, 1) of skipping the block for a sample.
        axis_name: The axis the batch is spread over.
        norm: Constructor of a batch normalisation.
        padding: Rule for the pixels added at the border.
        dtype: What the block computes in.
    """

    width: int
    expansion: int
    kernel: int
    stride: int
    activation: Callable
    squeeze_excite: bool
    drop_path_rate: float
    axis_name: str | None
    norm: Callable[..., nn.Module]
    padding: Padding
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool, part: Part):
        inputs = x.shape[-1]
        conv = functools.partial(Conv, dtype=self.dtype)
        # timm numbers the norms in the order of use: a block without expansion has only two.
        norms = iter([self.norm(name=f"bn{n}") for n in range(1, 3 + (self.expansion > 1))])
        y = x
        if self.expansion > 1:
            y = conv(inputs * self.expansion, name="conv_pw")(y)
            y = self.activation(next(norms)(y, train))
        y = DepthwiseConv(self.kernel, self.stride, self.padding, self.dtype, name="conv_dw")(y)
        y = self.activation(next(norms)(y, train))
        if self.squeeze_excite:
            y = SqueezeExcite(max(1, round(inputs * 0.25)), self.dtype, name="se")(y)
        y = conv(self.width, name="conv_pwl" if self.expansion > 1 else "conv_pw")(y)
        y = next(norms)(y, train)
        if self.stride > 1 or inputs != self.width:
            return y
        return x + DropPath(self.drop_path_rate, self.axis_name)(y, train, part)


class EfficientNet(nn.Module):
    """The network; `create` in `dermjax.models` builds it by name.

    Attributes:
        stages: The seven stages of a variant.
        stem: Width of the first convolution.
        head: F, width of the last one: the length of the pooled features.
        num_classes: 0 returns the features instead of logits.
        tensorflow: Whether padding and epsilon are those of `tf_efficientnet_*`.
        activation: SiLU; ReLU6 in Lite0.
        squeeze_excite: Whether blocks have a gate; not in Lite0.
        architecture: The name it was created by.
        preprocessing: What it expects of its input.
        drop_rate: Probability in [0, 1) of dropping a feature before the classifier.
        drop_path_rate: Block i of n is dropped with probability `drop_path_rate * i / n`.
        bn_groups: Statistics groups of the global batch, see `BatchNorm`.
        axis_name: The axis the batch is spread over.
        dtype: What the network computes in; parameters, statistics and results are float32.
    """

    CLASSIFIER: ClassVar[str] = "classifier"

    stages: tuple[Stage, ...]
    stem: int
    head: int
    num_classes: int
    tensorflow: bool = False
    activation: Callable = nn.silu
    squeeze_excite: bool = True
    architecture: str = ""
    preprocessing: Preprocessing = Preprocessing()
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    bn_groups: int = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stages' outputs, in order, for `start` and `stop`."""
        return tuple(f"blocks.{i}" for i in range(len(self.stages)))

    @nn.compact
    def __call__(
        self, images, train: bool = False, *, start: str = "", stop: str = "", part: Part = WHOLE
    ):
        """Classifies or embeds a batch, or runs a section of the network.

        Args:
            images: `[B, H, W, 3]` float, normalised; with `start`, what `stop` of it returned.
            train: Whether to use batch statistics (`batch_stats` must be mutable to store them) and
                to drop (the stream `dropout` must be given, with the same key on every device).
            start: One of `layers`, whose output is given; "" for images.
            stop: One of `layers`, whose output is wanted; "" for the end.
            part: (index, count): images are this one of equal runs of the device's share.

        Returns:
            Logits `[B, num_classes]`, or features `[B, F]` if `num_classes` is 0, float32; with
            `stop`, the layer's output `[B, h, w, C]`, float32.

        Raises:
            ValueError: There is no such layer, or `stop` does not come after `start`.
        """
        first, last = section(self.layers, start, stop)
        padding = same_padding if self.tensorflow else symmetric_padding
        norm = functools.partial(
            BatchNorm,
            groups=self.bn_groups,
            axis_name=self.axis_name,
            epsilon=1e-3 if self.tensorflow else 1e-5,
            parts=part[1],
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        if not start:
            x = Conv(self.stem, 3, 2, padding=padding, dtype=self.dtype, name="conv_stem")(x)
            x = self.activation(norm(name="bn1")(x, train))
        depths = [stage.depth for stage in self.stages]
        for i, stage in enumerate(self.stages[first:last], start=first):
            for j in range(stage.depth):
                x = Block(
                    width=stage.width,
                    expansion=stage.expansion,
                    kernel=stage.kernel,
                    stride=stage.stride if j == 0 else 1,
                    activation=self.activation,
                    squeeze_excite=self.squeeze_excite,
                    drop_path_rate=self.drop_path_rate * (sum(depths[:i]) + j) / sum(depths),
                    axis_name=self.axis_name,
                    norm=norm,
                    padding=padding,
                    dtype=self.dtype,
                    name=f"blocks_{i}_{j}",
                )(x, train, part)
        if stop:
            return x.astype(accumulator(x))
        x = Conv(self.head, dtype=self.dtype, name="conv_head")(x)
        x = self.activation(norm(name="bn2")(x, train))
        x = jnp.mean(x, axis=(1, 2), dtype=accumulator(x))
        if self.num_classes == 0:
            return x
        x = Dropout(self.drop_rate, self.axis_name)(x, train, part)
        return nn.Dense(self.num_classes, kernel_init=linear_init, name=self.CLASSIFIER)(x)


def round_width(width: float) -> int:
    """The multiple of 8 nearest to a scaled width, but never below 90 % of it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def _variant(scaling: Scaling, tensorflow: bool) -> dict[str, Any]:
    """The architecture of one of B0 to B7."""
    stages = tuple(
        stage._replace(
            depth=math.ceil(stage.depth * scaling.depth),
            width=round_width(stage.width * scaling.width),
        )
        for stage in B0_STAGES
    )
    stem, head = round_width(32 * scaling.width), round_width(1280 * scaling.width)
    return {"stages": stages, "stem": stem, "head": head, "tensorflow": tensorflow}


LITE = {"activation": nn.relu6, "squeeze_excite": False}

# For tests and smoke runs: it has every kind of block and compiles in about two seconds.
TINY = {
    "stages": (Stage(1, 3, 1, 8, 1), Stage(2, 3, 2, 16, 4)),
    "stem": 8,
    "head": 64,
}

# For small images on a CPU: it halves H and W twice before it is wide, and compiles in ten seconds.
MINI = {
    "stages": (Stage(1, 3, 2, 24, 1), Stage(2, 3, 2, 48, 4), Stage(2, 3, 1, 64, 3)),
    "stem": 16,
    "head": 256,
    "activation": nn.relu,
    "squeeze_excite": False,
}

VARIANTS: dict[str, dict[str, Any]] = {
    **{f"efficientnet_{name}": _variant(scaling, False) for name, scaling in SCALINGS.items()},
    **{f"tf_efficientnet_{name}": _variant(scaling, True) for name, scaling in SCALINGS.items()},
    "efficientnet_lite0": {**_variant(SCALINGS["b0"], False), **LITE},
    "tf_efficientnet_lite0": {**_variant(SCALINGS["b0"], True), **LITE},
    "efficientnet_tiny": TINY,
    "efficientnet_mini": MINI,
}
