"""Settings of predictions; `configs/predict.py` says what each is."""

import dataclasses

from dermjax.data import layouts
from dermjax.experiment.class_predictor import TURNS
from dermjax.settings.section import Section


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictSettings(Section):
    """Which photographs, by which networks, and what is promised of the answers."""

    task: str
    run: str  # folder of a run, or what the folders of several begin with
    images: str  # folder, pattern, table; '': the run's own unlabelled images
    layout: str
    on_bad_image: str
    redact: str
    tta: int  # 0 or 8
    coverage: float
    unfamiliar: float
    sensitivity: float
    batch_size: int  # images, global
    shown: int
    workers: int
    read_threads: int

    def __post_init__(self):
        if not self.run:
            raise ValueError("which run? name its folder, as in configs/predict.py:run=runs/mine")
        self.check("tta", self.tta in (0, TURNS), f"0, or {TURNS} for flips and quarter turns")
        for share in ("coverage", "unfamiliar", "sensitivity"):
            self.check(share, 0 < getattr(self, share) < 1, "above 0 and below 1")
        self.check_least(1, "batch_size", "read_threads")
        self.check_least(0, "shown", "workers")
        self.check_choice("on_bad_image", layouts.POLICIES)
