"""ResNet-18 and ResNet-50 as timm has them (https://arxiv.org/abs/1512.03385, version 1.5).

Version 1.5 strides in the 3x3 convolution of a bottleneck instead of its first 1x1.
`resnet18_cifar` is torchvision's ResNet-18 as MoCo's CIFAR-10 notebook changes it
(https://github.com/facebookresearch/moco/tree/colab-notebook).
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models.layers import Conv, DropPath, Part
from dermjax.models.network import Network


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 if `bottleneck`.

    Attributes:
        width: Width of the inner convolutions; a bottleneck returns four times as many channels.
        stride: pixels.
        bottleneck: Which of the two forms.
        zero_init_last: Whether the last norm's scale starts at 0, the block thus as its shortcut.
        drop_path_rate: Probability in [0, 1) of skipping the block for a sample.
        axis_name: The axis the batch is spread over.
        norm: Constructor of a batch normalisation.
        dtype: What the block computes in.
    """

    width: int
    stride: int
    bottleneck: bool
    zero_init_last: bool
    drop_path_rate: float
    axis_name: str | None
    norm: Callable[..., nn.Module]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool, part: Part):
        conv = functools.partial(Conv, dtype=self.dtype)
        if self.bottleneck:
            plan = [(self.width, 1, 1), (self.width, 3, self.stride), (4 * self.width, 1, 1)]
        else:
            plan = [(self.width, 3, self.stride), (self.width, 3, 1)]
        y = x
        for n, (width, size, stride) in enumerate(plan, start=1):
            last = n == len(plan)
            y = conv(width, size, stride, name=f"conv{n}")(y)
            y = self.norm(zero_scale=last and self.zero_init_last, name=f"bn{n}")(y, train)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            x = conv(y.shape[-1], 1, self.stride, name="downsample_0")(x)
            x = self.norm(name="downsample_1")(x, train)
        return nn.relu(x + DropPath(self.drop_path_rate, self.axis_name)(y, train, part))


class ResNet(Network):
    """ResNet of four layers; see `Network` for what all networks have.

    Block i of n is dropped with probability `drop_path_rate * i / (n - 1)`.

    Attributes:
        depths: Blocks of the four layers.
        bottleneck: Form of the blocks.
        small_images: Whether the stem keeps H and W (3x3, stride 1, no pooling): for about 32 px.
        zero_init_last: Whether blocks start as their shortcut: timm's rule, not torchvision's.
    """

    CLASSIFIER: ClassVar[str] = "fc"

    depths: tuple[int, ...]
    bottleneck: bool
    small_images: bool = False
    zero_init_last: bool = True

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers' outputs, in order, for `start` and `stop`."""
        return tuple(f"layer{i + 1}" for i in range(len(self.depths)))

    def stem_of(self, x, norm, train: bool):
        """A convolution, and pooling where images are large."""
        size, stride = (3, 1) if self.small_images else (7, 2)
        x = Conv(64, size, stride, dtype=self.dtype, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x, train))
        return x if self.small_images else nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    def blocks_of(self, number: int, norm):
        """Residual blocks, of which the first halves H and W in all layers but the first."""
        depths = self.depths
        for j in range(depths[number]):
            before = sum(depths[:number]) + j
            yield Block(
                width=64 * 2**number,
                stride=2 if number > 0 and j == 0 else 1,
                bottleneck=self.bottleneck,
                zero_init_last=self.zero_init_last,
                drop_path_rate=self.drop_path_rate * before / (sum(depths) - 1),
                axis_name=self.axis_name,
                norm=norm,
                dtype=self.dtype,
                name=f"layer{number + 1}_{j}",
            )


VARIANTS: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 2, 2), "bottleneck": False},
    "resnet18_cifar": {
        "depths": (2, 2, 2, 2),
        "bottleneck": False,
        "small_images": True,
        "zero_init_last": False,
    },
    "resnet50": {"depths": (3, 4, 6, 3), "bottleneck": True},
}
