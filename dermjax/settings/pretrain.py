"""Settings of stage 1 of SS and SS-IN, MoCo-v2, and of the nearest neighbours that watch it."""

import dataclasses
from typing import ClassVar

from dermjax.data import partners
from dermjax.settings.section import Section
from dermjax.settings.stage import StageSettings
from dermjax.steps import moco


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorSettings(Section):
    """The nearest neighbours that say whether pretraining learns."""

    SECTION: ClassVar[str] = "pretrain.monitor"

    every: int  # steps; 0: so that it takes 2 % of the time
    k: int  # neighbours; 0: the root of the labels
    temperature: float
    features: str

    def __post_init__(self):
        self.check_least(0, "every", "k")
        self.check_above(0, "temperature")
        self.check_choice("features", ("encoder", "embedding"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(StageSettings):
    """MoCo-v2 on all training images."""

    SECTION: ClassVar[str] = "pretrain"
    EVERY: ClassVar[tuple[str, ...]] = ("save_every",)

    directory: str
    repeat: int = 0
    init: str  # random | imagenet
    queue_size: int  # keys; 0: those of two steps, or of one
    dim: int
    hidden_dim: int
    head_norm: bool = False
    momentum: float
    momentum_end: float
    temperature: float
    symmetric: bool
    batch_negatives: bool
    mask_same_image: bool
    positives: str = "image"
    optimizer: str
    milestones: tuple[float, ...]
    decay: float
    sgd_momentum: float
    nesterov: bool
    monitor: MonitorSettings
    save_every: int  # steps

    def __post_init__(self):
        StageSettings.__post_init__(self)
        self.check_choice("init", ("random", "imagenet"))
        self.check_choice("positives", partners.KINDS)
        self.check_choice("optimizer", ("sgd", "adamw"))
        self.check_between(0, 1000, "repeat")
        self.check_least(0, "queue_size", "hidden_dim")
        self.check_least(1, "dim")
        self.check_above(0, "temperature")
        self.check_below_one("momentum", "sgd_momentum")
        self.check_factor("decay")
        ascending = list(self.milestones) == sorted(set(self.milestones))
        self.check(
            "milestones",
            all(0 < one < 1 for one in self.milestones) and ascending,
            "ascending shares of the steps between 0 and 1",
        )
        self._check_contrast()
        if self.monitor.every % self.report_every:
            raise ValueError(
                f"config.pretrain.monitor.every = {self.monitor.every} must be a multiple of "
                f"pretrain.report_every = {self.report_every}"
            )

    @property
    def keys_per_step(self) -> int:
        """Keys that a step writes into the queue."""
        return moco.keys_per_step(self.batch_size, symmetric=self.symmetric)

    def queue_length(self, images: int) -> int:
        """K; automatic: two steps' keys, or one's, that a query seldom meets its own image in it.

        Args:
          images: that are trained on.
        """
        if self.queue_size:
            return self.queue_size
        keys = self.keys_per_step
        return keys * (2 if 2 * keys <= images - self.batch_size else 1)

    def _check_contrast(self) -> None:
        """What only contrastive learning asks."""
        if self.batch_size < 2:
            raise ValueError(
                "config.pretrain.batch_size = 1, but a contrast needs at least 2 images"
            )
        if 0 < self.queue_size < self.keys_per_step:
            raise ValueError(
                f"config.pretrain.queue_size = {self.queue_size} must be at least "
                f"{self.keys_per_step}: the keys of one step (pretrain.batch_size = "
                f"{self.batch_size}{', symmetric' if self.symmetric else ''}) have to fit; 0 fits "
                "two steps'"
            )
        if not self.momentum <= self.momentum_end < 1:
            raise ValueError(
                f"config.pretrain.momentum_end = {self.momentum_end} must lie between "
                f"pretrain.momentum = {self.momentum} and 1; equal is constant"
            )
