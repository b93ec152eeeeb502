"""What the two stages of training have in common: length, batches, views, learning rate."""

import dataclasses
from typing import ClassVar

from dermjax import models
from dermjax.data.augment import Augmentation
from dermjax.settings.section import Section

_SCHEDULES = ("cosine", "step", "constant")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentSettings(Section):
    """Random views of a stage; `dermjax.data.augment.Augmentation` has the units and bounds."""

    crop_scale: tuple[float, float]
    flip_horizontal: float
    flip_vertical: float
    rotation: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    jitter_probability: float
    grayscale_probability: float
    blur_probability: float
    blur_sigma: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSettings(Section):
    """Fields of both stages."""

    EVERY: ClassVar[tuple[str, ...]] = ()  # fields that are multiples of `report_every`

    steps: int
    batch_size: int  # images, global
    image_size: int  # px
    bn_groups: int
    accumulate_steps: int
    learning_rate: float
    schedule: str
    warmup_steps: int
    weight_decay: float
    augment: AugmentSettings
    report_every: int  # steps

    def __post_init__(self):
        self.check_least(1, "steps", "batch_size", "bn_groups", "accumulate_steps", "report_every")
        self.check_least(16, "image_size")
        self.check_above(0, "learning_rate")
        self.check_least(0, "weight_decay")
        self.check_choice("schedule", _SCHEDULES)
        self.check_least(1, *self.EVERY)
        self._check_steps()
        self._check_groups()
        try:
            self.augmentation(models.Preprocessing())
        except ValueError as error:
            raise ValueError(f"config.{self.SECTION}.augment: {error}") from None

    def augmentation(self, preprocessing: models.Preprocessing) -> Augmentation:
        """The stage's random views, normalised as the network's weights expect."""
        return Augmentation(
            image_size=self.image_size,
            **self.augment.to_dict(),
            mean=preprocessing.mean,
            std=preprocessing.std,
        )

    def _check_steps(self) -> None:
        name = self.SECTION
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                f"config.{name}.warmup_steps = {self.warmup_steps} must be at least 0 and below "
                f"{name}.steps = {self.steps}"
            )
        for every in self.EVERY:
            if getattr(self, every) % self.report_every:
                raise ValueError(
                    f"config.{name}.{every} = {getattr(self, every)} must be a multiple of "
                    f"{name}.report_every = {self.report_every}"
                )

    def _check_groups(self) -> None:
        """Batch norm groups are equal parts of the batch, of two images at least."""
        name, batch, groups = self.SECTION, self.batch_size, self.bn_groups
        if batch % groups:
            divisors = [n for n in range(1, batch + 1) if batch % n == 0]
            near = min(divisors, key=lambda n: abs(n - groups))
            raise ValueError(
                f"config.{name}.bn_groups = {groups} does not divide {name}.batch_size = {batch}; "
                f"the nearest that does is {near}"
            )
        if batch == groups:
            raise ValueError(
                f"config.{name}.bn_groups = {groups} leaves one image to a batch norm group; "
                "take fewer groups or a larger batch"
            )
