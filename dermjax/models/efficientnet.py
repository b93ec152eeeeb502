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
import jax
import jax.numpy as jnp

from dermjax.models import phases
from dermjax.models.layers import (
    Conv,
    DepthwiseConv,
    DropPath,
    Padding,
    Part,
    SqueezeExcite,
    same_padding,
    symmetric_padding,
)
from dermjax.models.network import Network


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
        phased: Whether its input is taken apart if it is strided, see `dermjax.models.phases`.
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
    phased: bool = False

    @nn.compact
    def __call__(self, x, train: bool, part: Part):
        inputs = x.shape[-1]
        conv = functools.partial(Conv, dtype=self.dtype)
        # timm numbers the norms in the order of use: a block without expansion has only two.
        norms = iter([self.norm(name=f"bn{n}") for n in range(1, 3 + (self.expansion > 1))])
        y = phases.split(x) if self._is_split(x) else x
        if self.expansion > 1:
            y = jax.tree.map(conv(inputs * self.expansion, name="conv_pw"), y)
            y = jax.tree.map(self.activation, next(norms)(y, train))
        y = DepthwiseConv(self.kernel, self.stride, self.padding, self.dtype, name="conv_dw")(y)
        y = self.activation(next(norms)(y, train))
        if self.squeeze_excite:
            y = SqueezeExcite(max(1, round(inputs * 0.25)), self.dtype, name="se")(y)
        y = conv(self.width, name="conv_pwl" if self.expansion > 1 else "conv_pw")(y)
        y = next(norms)(y, train)
        if self.stride > 1 or inputs != self.width:
            return y
        return x + DropPath(self.drop_path_rate, self.axis_name)(y, train, part)

    def _is_split(self, x) -> bool:
        """Whether x is taken apart: there must be layers before the strided one."""
        strided = self.stride == 2 and self.expansion > 1
        return self.phased and strided and phases.are_worth_it(x.shape)


class EfficientNet(Network):
    """EfficientNet of any width and depth; see `Network` for what all networks have.

    Block i of n is dropped with probability `drop_path_rate * i / n`.

    Attributes:
        stages: The seven stages of a variant.
        stem: Width of the first convolution.
        head: F, width of the last one: the length of the pooled features.
        tensorflow: Whether padding and epsilon are those of `tf_efficientnet_*`.
        activation: SiLU; ReLU6 in Lite0.
        squeeze_excite: Whether blocks have a gate; not in Lite0.
    """

    CLASSIFIER: ClassVar[str] = "classifier"

    stages: tuple[Stage, ...]
    stem: int
    head: int
    tensorflow: bool = False
    activation: Callable = nn.silu
    squeeze_excite: bool = True

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stages' outputs, in order, for `start` and `stop`."""
        return tuple(f"blocks.{i}" for i in range(len(self.stages)))

    @property
    def padding(self) -> Callable:
        """Of all convolutions."""
        return same_padding if self.tensorflow else symmetric_padding

    def epsilon(self) -> float:
        """Of batch norm."""
        return 1e-3 if self.tensorflow else 1e-5

    def stem_of(self, x, norm, train: bool):
        """A convolution that halves H and W."""
        conv = Conv(
            self.stem,
            3,
            2,
            padding=self.padding,
            dtype=self.dtype,
            patched=self.phased,
            name="conv_stem",
        )
        return self.activation(norm(name="bn1")(conv(x), train))

    def blocks_of(self, number: int, norm):
        """Inverted bottlenecks, of which the first may halve H and W."""
        depths, stage = [stage.depth for stage in self.stages], self.stages[number]
        for j in range(stage.depth):
            yield Block(
                width=stage.width,
                expansion=stage.expansion,
                kernel=stage.kernel,
                stride=stage.stride if j == 0 else 1,
                activation=self.activation,
                squeeze_excite=self.squeeze_excite,
                drop_path_rate=self.drop_path_rate * (sum(depths[:number]) + j) / sum(depths),
                axis_name=self.axis_name,
                norm=norm,
                padding=self.padding,
                dtype=self.dtype,
                phased=self.phased,
                name=f"blocks_{number}_{j}",
            )

    def head_of(self, x, norm, train: bool):
        """A convolution of one pixel to the features that are pooled."""
        conv = Conv(self.head, dtype=self.dtype, name="conv_head")
        return self.activation(norm(name="bn2")(conv(x), train))


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
