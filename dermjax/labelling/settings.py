"""Settings of choosing what to label; `configs/label.py` says what each is."""

import dataclasses

from dermjax.experiment.encoder_features import ENCODERS
from dermjax.labelling.methods import METHODS
from dermjax.settings.section import Section

AUTO = "auto"
SIMULATE = "simulate"
PROBE, FINETUNE = CLASSIFIERS = ("probe", "finetune")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSettings(Section):
    """How many photographs, chosen how, and how the choice is tried on labels that are known."""

    task: str
    run: str  # folder of a run
    data: str  # a newer table of the run's photographs; '': the run's own
    classes: str  # NAME+NAME, beside those of the table
    encoder: str
    count: int
    trial: str  # '' or simulate
    method: str
    classifier: str  # of CLASSIFIERS
    finetune_steps: int  # of classifier=finetune; 0: the run's own
    per_patient: int
    seed: int
    start: int
    rounds: int
    seeds: int
    shown: int
    image_size: int  # px; 0: what the encoder was trained at
    batch_size: int

    def __post_init__(self):
        if not self.run:
            raise ValueError("which run? name its folder, as in configs/label.py:run=runs/mine")
        self.check_choice("encoder", ENCODERS)
        self.check_choice("method", (AUTO, *METHODS))
        self.check_choice("classifier", CLASSIFIERS)
        self.check("trial", self.trial in ("", SIMULATE), f"{SIMULATE}, or blank")
        self.check_least(1, "count", "per_patient", "rounds", "shown", "batch_size")
        self.check_least(2, "start", "seeds")
        self.check_least(0, "seed", "image_size", "finetune_steps")
        self.check(
            "finetune_steps",
            not self.finetune_steps or self.classifier == FINETUNE,
            f"0 with classifier={self.classifier}, which takes no steps",
        )
