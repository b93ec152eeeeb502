"""Settings of stage 2 of every strategy, fine-tuning, and of its remedies for rare classes."""

import dataclasses
from typing import Any, ClassVar

from dermjax.data import pipeline
from dermjax.settings.stage import StageSettings

_SELECT = ("macro_sensitivity", "accuracy", "log_loss")
_LOSSES = ("cross_entropy", "focal")
_CLASS_WEIGHTS = ("none", "effective_number")
# Of these one at a time: each makes up for the same unequal counts.
_REMEDIES = {"sampling": "uniform", "class_weights": "none", "logit_adjustment": 0.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(StageSettings):
    """The classifier, trained on the labelled share."""

    SECTION: ClassVar[str] = "finetune"
    EVERY: ClassVar[tuple[str, ...]] = ("evaluate_every",)

    encoder_rate: float = 1.0
    label_smoothing: float
    sampling: str
    loss: str
    focal_gamma: float
    class_weights: str
    effective_number_beta: float
    logit_adjustment: float
    evaluate_every: int  # steps
    select: str

    def __post_init__(self):
        StageSettings.__post_init__(self)
        self.check_factor("encoder_rate")
        self.check_below_one("label_smoothing", "effective_number_beta")
        self.check_choice("sampling", pipeline.SAMPLINGS)
        self.check_choice("loss", _LOSSES)
        self.check_least(0, "focal_gamma", "logit_adjustment")
        self.check_choice("class_weights", _CLASS_WEIGHTS)
        self.check_choice("select", _SELECT)
        self._check_one_remedy()
        self._check_smoothing()

    def _check_one_remedy(self) -> None:
        """Unequal counts of the classes are to be made up for once."""
        used = [name for name, off in _REMEDIES.items() if getattr(self, name) != off]
        if len(used) > 1:
            first, second = used[:2]
            raise ValueError(
                f"config.finetune.{first} = {getattr(self, first)!r} and finetune.{second} = "
                f"{getattr(self, second)!r} both make up for unequal classes: together they would "
                f"count the rare ones twice; set --config.finetune.{second}={_REMEDIES[second]}, "
                f"or --config.finetune.{first}={_REMEDIES[first]}"
            )

    def _check_smoothing(self) -> None:
        """Two of the options are defined for labels that are not smoothed."""
        reasons: dict[str, str] = {}
        if self.loss == "focal":
            reasons["loss"] = "the focal loss is defined for one true class, not a spread target"
        if self.logit_adjustment:
            reasons["logit_adjustment"] = (
                "the even share that smoothing gives every class would be divided by the class's "
                "share of the images, and favour the rarest for any image"
            )
        for name, reason in reasons.items():
            if self.label_smoothing:
                value: Any = getattr(self, name)
                raise ValueError(
                    f"config.finetune.{name} = {value!r} needs finetune.label_smoothing = 0, not "
                    f"{self.label_smoothing}: {reason}; set --config.finetune.label_smoothing=0"
                )
