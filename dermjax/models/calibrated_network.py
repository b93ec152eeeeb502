"""A trained network with all that is needed to turn images into probabilities."""

import dataclasses
import math
from typing import Any

import flax.linen as nn


@dataclasses.dataclass(frozen=True)
class CalibratedNetwork:
    """What is written into one file for those who have neither a run nor dermjax.

    Attributes:
        model: Of `create`, for whole images that are squeezed to its preprocessing's `test_size` as
            in a run's evaluation: its `crop_mode` is `squash`.
        variables: `{'params', 'batch_stats'}` of the model.
        classes: Names of the N logits, in order.
        temperature: The logits are divided by it before the softmax; 1 leaves them as they are.

    Raises:
        ValueError: When it is built with another number of names than logits, with a preprocessing
            that crops, or with a temperature that is not a number above 0.
    """

    model: nn.Module
    variables: dict[str, Any]
    classes: tuple[str, ...]
    temperature: float = 1.0

    def __post_init__(self):
        if not self.classes or len(self.classes) != self.model.num_classes:
            raise ValueError(
                f"{len(self.classes)} classes are named, but the network has "
                f"{self.model.num_classes} logits: name each of them"
            )
        if self.model.preprocessing.crop_mode != "squash":
            raise ValueError(
                "the network is for a part of an image (its preprocessing's crop_mode is "
                f"{self.model.preprocessing.crop_mode!r}); only one for whole images, squash, can "
                "be handed on"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature} must be a finite number above 0")

    @property
    def size(self) -> int:
        """S, the side of the network's input, px."""
        return self.model.preprocessing.test_size
