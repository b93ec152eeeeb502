"""What all networks are: a stem, layers one after the other, pooling, a linear classifier."""

import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models.layers import WHOLE, Dropout, Part, linear_init
from dermjax.models.norm import BatchNorm
from dermjax.models.precision import accumulator
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.section import section


class Network(nn.Module, kw_only=True):
    """A network; `create` in `dermjax.models` builds one by name.

    Attributes:
        num_classes: 0 returns the features instead of logits.
        architecture: The name it was created by.
        preprocessing: What it expects of its input.
        drop_rate: Probability in [0, 1) of dropping a feature before the classifier.
        drop_path_rate: Of stochastic depth, which grows from block to block.
        bn_groups: Statistics groups of the global batch, see `BatchNorm`.
        axis_name: The axis the batch is spread over.
        dtype: What the network computes in; parameters, statistics and results are float32.
        phased: Whether strided layers take their input apart, see `dermjax.models.phases` and
            `dermjax.models.patches`: the same results to rounding, faster on TPUs. Only those of
            EfficientNets can.
    """

    CLASSIFIER: ClassVar[str]

    num_classes: int
    architecture: str = ""
    preprocessing: Preprocessing = Preprocessing()
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    bn_groups: int = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32
    phased: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers' outputs, in order, for `start` and `stop`."""
        raise NotImplementedError

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
            epsilon=self.epsilon(),
            parts=part[1],
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        if not start:
            x = self.stem_of(x, norm, train)
        for number in range(first, last):
            for block in self.blocks_of(number, norm):
                x = block(x, train, part)
        if stop:
            return x.astype(accumulator(x))
        x = self.head_of(x, norm, train)
        x = jnp.mean(x, axis=(1, 2), dtype=accumulator(x))
        if self.num_classes == 0:
            return x
        x = Dropout(self.drop_rate, self.axis_name)(x, train, part)
        return nn.Dense(self.num_classes, kernel_init=linear_init, name=self.CLASSIFIER)(x)

    def epsilon(self) -> float:
        """Of batch norm."""
        return 1e-5

    def stem_of(self, x, norm, train: bool):
        """What stands before the first layer: `[B, H, W, 3]` -> `[B, h, w, C]`."""
        raise NotImplementedError

    def blocks_of(self, number: int, norm):
        """The blocks of a layer, in order, each made when it is asked for."""
        raise NotImplementedError

    def head_of(self, x, norm, train: bool):
        """What stands between the last layer and the pooling."""
        return x
