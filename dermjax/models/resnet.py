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

from dermjax.models.layers import WHOLE, Conv, Dropout, DropPath, Part, linear_init
from dermjax.models.norm import BatchNorm
from dermjax.models.precision import accumulator
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.section import section


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


class ResNet(nn.Module):
    """The network; `create` in `dermjax.models` builds it by name.

    Attributes:
        depths: Blocks of the four layers.
        bottleneck: Form of the blocks.
        small_images: Whether the stem keeps H and W (3x3, stride 1, no pooling): for about 32 px.
        zero_init_last: Whether blocks start as their shortcut: timm's rule, not torchvision's.
        num_classes: 0 returns the features instead of logits.
        architecture: The name it was created by.
        preprocessing: What it expects of its input.
        drop_rate: Probability in [0, 1) of dropping a feature before the classifier.
        drop_path_rate: Block i of n is dropped with probability `drop_path_rate * i / (n - 1)`.
        bn_groups: Statistics groups of the global batch, see `BatchNorm`.
        axis_name: The axis the batch is spread over.
        dtype: What the network computes in; parameters, statistics and results are float32.
    """

    CLASSIFIER: ClassVar[str] = "fc"

    depths: tuple[int, ...]
    bottleneck: bool
    num_classes: int
    small_images: bool = False
    zero_init_last: bool = True
    architecture: str = ""
    preprocessing: Preprocessing = Preprocessing()
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    bn_groups: int = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers' outputs, in order, for `start` and `stop`."""
        return tuple(f"layer{i + 1}" for i in range(len(self.depths)))

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
        norm = functools.partial(
            BatchNorm,
            groups=self.bn_groups,
            axis_name=self.axis_name,
            parts=part[1],
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        if not start:
            size, stride = (3, 1) if self.small_images else (7, 2)
            x = Conv(64, size, stride, dtype=self.dtype, name="conv1")(x)
            x = nn.relu(norm(name="bn1")(x, train))
            if not self.small_images:
                x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        depths = self.depths
        for i, depth in enumerate(depths[first:last], start=first):
            for j in range(depth):
                x = Block(
                    width=64 * 2**i,
                    stride=2 if i > 0 and j == 0 else 1,
                    bottleneck=self.bottleneck,
                    zero_init_last=self.zero_init_last,
                    drop_path_rate=self.drop_path_rate * (sum(depths[:i]) + j) / (sum(depths) - 1),
                    axis_name=self.axis_name,
                    norm=norm,
                    dtype=self.dtype,
                    name=f"layer{i + 1}_{j}",
                )(x, train, part)
        if stop:
            return x.astype(accumulator(x))
        x = jnp.mean(x, axis=(1, 2), dtype=accumulator(x))
        if self.num_classes == 0:
            return x
        x = Dropout(self.drop_rate, self.axis_name)(x, train, part)
        return nn.Dense(self.num_classes, kernel_init=linear_init, name=self.CLASSIFIER)(x)


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
