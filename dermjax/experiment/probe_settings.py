"""Settings of a linear probe; `configs/probe.py` says what each is."""

import dataclasses

from dermjax.experiment.encoder_features import ENCODERS, encoder_of
from dermjax.settings import DataSettings, RunSettings
from dermjax.settings.section import Section

_SELECT = ("macro_sensitivity", "accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSettings(Section):
    """A probe of one encoder of a run."""

    task: str
    run: str  # folder of the run
    encoder: str
    alpha: float  # 0: the run's own
    trial: int  # -1: the run's own
    image_size: int  # px; 0: what the encoder was trained at
    batch_size: int
    cs: tuple[float, ...]
    balanced: bool
    select: str

    def __post_init__(self):
        self.check_choice("encoder", ENCODERS)
        self.check_choice("select", _SELECT)
        if not self.run:
            raise ValueError("which run? name its folder, as in configs/probe.py:run=runs/mine")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"config.alpha = {self.alpha} must be above 0 and at most 1, or 0")
        if self.trial < -1:
            raise ValueError(f"config.trial = {self.trial} must be at least 0, or -1")
        self.check_least(0, "image_size")
        self.check_least(1, "batch_size")
        positive = bool(self.cs) and all(c > 0 for c in self.cs)
        self.check("cs", positive, "one number or more, each above 0")

    def subset(self, data: DataSettings) -> DataSettings:
        """The run's data with the labelled subset that is asked for."""
        trial = data.trial if self.trial < 0 else self.trial
        return dataclasses.replace(data, alpha=self.alpha or data.alpha, trial=trial)

    def encoder_of(self, trained: RunSettings) -> str:
        """The encoder that is probed: `auto` is pretraining's where there is one, else the start.

        Raises:
          ValueError: the run has no such encoder.
        """
        return encoder_of(self.encoder, trained)
