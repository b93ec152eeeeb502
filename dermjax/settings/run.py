"""Settings of one run: its sections, and the rules between them."""

import dataclasses
from typing import ClassVar

from dermjax import models, stores
from dermjax.settings.data import DataSettings
from dermjax.settings.finetune import FinetuneSettings
from dermjax.settings.model import InitSettings, ModelSettings
from dermjax.settings.pretrain import PretrainSettings
from dermjax.settings.section import Section
from dermjax.strategies import STRATEGIES, VARIANTS, Strategy, file_name

_TASKS = ("run", "pretrain")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Section):
    """Stage 3, the test images."""

    SECTION: ClassVar[str] = "evaluate"

    batch_size: int  # images, global
    features: bool

    def __post_init__(self):
        self.check_least(1, "batch_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFields(Section):
    """Every field that a run can have, each checked for itself: what a study's runs are made of."""

    task: str  # run | pretrain
    strategy: str  # of STRATEGIES
    variant: str = ""  # of VARIANTS: the option for rare classes that the strategy's name has
    scale: str
    seed: int
    control: bool = False
    distributed: str
    patience: float  # s
    model: ModelSettings
    data: DataSettings
    init: InitSettings
    pretrain: PretrainSettings | None = None  # of strategies that pretrain
    finetune: FinetuneSettings | None = None  # None: the task is `pretrain` and no more is known
    evaluate: EvaluateSettings

    def __post_init__(self):
        self.check_choice("task", _TASKS)
        self.check_choice("strategy", tuple(STRATEGIES))
        self.check_choice("variant", ("", *VARIANTS))
        self.check_least(0, "seed")
        self.check_above(0, "patience")

    @property
    def kind(self) -> Strategy:
        """What the strategy is."""
        return STRATEGIES[self.strategy]

    @property
    def pretraining(self) -> PretrainSettings:
        """Settings of stage 1.

        Raises:
          ValueError: the strategy has no such stage.
        """
        if self.pretrain is None:
            raise ValueError(f"strategy {self.strategy} has no pretraining")
        return self.pretrain

    @property
    def finetuning(self) -> FinetuneSettings:
        """Settings of stage 2.

        Raises:
          ValueError: the config is of a pretraining alone.
        """
        if self.finetune is None:
            raise ValueError("this config is of a pretraining alone: it has no fine-tuning")
        return self.finetune

    @property
    def starts_from_weights(self) -> bool:
        """Whether the encoder's first weights are read, not drawn."""
        if self.kind.pretrains:
            return self.pretraining.init == "imagenet"
        return self.kind.from_weights

    @property
    def first_weights(self) -> str:
        """What the user named, or the network's own ImageNet weights; '' where it has none."""
        return self.init.weights or models.default_weights(self.model.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(RunFields):
    """The settings of one run, whose sections fit together."""

    def __post_init__(self):
        RunFields.__post_init__(self)
        self._check_strategy()
        self._check_variant()
        if self.control and self.pretrain is None:
            raise ValueError(
                f"config.control = True: {self.strategy} has no pretraining to go without; leave "
                "it False, or take configs/ss.py"
            )
        self._check_weights()

    def check_files(self) -> None:
        """Looks at what the settings name outside, before anything is trained.

        A run that is finished needs it no more: its folder is read without it.

        Raises:
          ValueError: the first weights are not there, or a folder cannot be written.
        """
        if self.starts_from_weights:
            try:
                models.check_weights_name(self.first_weights, self.model.name)
            except ValueError as error:
                raise ValueError(f"config.init.weights: {error}") from None
        if self.pretrain is not None and self.pretrain.directory:
            stores.writable_folder(self.pretrain.directory)

    def _check_strategy(self) -> None:
        """Whether the strategy is that of the config's file, and has what is asked of it."""
        if self.kind.pretrains != (self.pretrain is not None):
            raise ValueError(
                f"config.strategy = {self.strategy!r} does not belong to the other fields of this "
                f"config: take configs/{file_name(self.strategy)}.py"
            )
        if self.task == "pretrain" and not self.kind.pretrains:
            raise ValueError(
                f"config.task = 'pretrain' needs strategy SS or SS-IN, not {self.strategy}: take "
                "configs/ss.py or configs/ss_in.py"
            )
        if self.kind.pretrains and self.kind.from_weights and not self.starts_from_weights:
            raise ValueError(
                f"config.pretrain.init = {self.pretraining.init!r}, but {self.strategy} starts "
                "from weights: leave it at imagenet, or take configs/ss.py"
            )

    def _check_variant(self) -> None:
        """Whether fine-tuning is what the variant's name says."""
        for field, value in VARIANTS.get(self.variant, {}).items():
            if getattr(self.finetuning, field) != value:
                raise ValueError(
                    f"config.variant = {self.variant!r} is fine-tuning with {field} = {value}, not "
                    f"{getattr(self.finetuning, field)!r}: set --config.finetune.{field}={value}, "
                    "or leave the variant blank"
                )

    def _check_weights(self) -> None:
        """Whether there are first weights, and they have a use."""
        if not self.starts_from_weights:
            if self.init.weights:
                raise ValueError(
                    f"config.init.weights = {self.init.weights!r} would not be used by strategy "
                    f"{self.strategy}; leave it empty, or take configs/in.py or configs/ss_in.py"
                )
            return
        if not self.first_weights:
            known = [name for name in models.list_models() if models.default_weights(name)]
            raise ValueError(
                f"no ImageNet weights are published for {self.model.name}; name a file with its "
                f"weights by --config.init.weights=FILE, or take one of {', '.join(known)}"
            )
