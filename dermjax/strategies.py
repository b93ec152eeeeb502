"""What a strategy is: what its encoder starts from, and whether MoCo-v2 trains it first.

SS, IN and FS are those of the paper (Kramer et al., JEADV 2022). All are fine-tuned alike, but that
a config can ask for a smaller learning rate of encoders that were trained before.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Strategy:
    """The stages before fine-tuning."""

    name: str
    pretrains: bool  # MoCo-v2 on all training images, without their labels
    from_weights: bool  # always; SS does so where `pretrain.init` is imagenet


STRATEGIES = {
    one.name: one
    for one in (
        Strategy("SS", pretrains=True, from_weights=False),
        Strategy("SS-IN", pretrains=True, from_weights=True),
        Strategy("IN", pretrains=False, from_weights=True),
        Strategy("FS", pretrains=False, from_weights=False),
    )
}


# Fine-tuning for rare classes, as a further strategy of a study: SS-balanced, IN-logit, ... The
# last two need labels that are not smoothed.
VARIANTS: dict[str, dict[str, Any]] = {
    "balanced": {"sampling": "balanced"},
    "weights": {"class_weights": "effective_number"},
    "logit": {"logit_adjustment": 1.0, "label_smoothing": 0.0},
    "focal": {"loss": "focal", "label_smoothing": 0.0},
}


def split(name: str) -> tuple[str, str]:
    """The strategy and the option for rare classes: `SS-IN-balanced` -> `SS-IN`, `balanced`.

    The option is blank where there is none, and of a name that begins with no known strategy.
    """
    known = [base for base in STRATEGIES if f"{name}-".startswith(f"{base}-")]
    base = max(known, key=len, default=name)
    return base, name[len(base) + 1 :]


def file_name(name: str) -> str:
    """A strategy's config and the beginning of its runs' folders: `ss_in-focal` of `SS-IN-focal`.

    A hyphen is before the option alone, so that the folder's name tells both.
    """
    base, option = split(name)
    return "-".join(filter(None, (base.lower().replace("-", "_"), option)))
