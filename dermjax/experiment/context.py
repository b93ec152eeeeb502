"""What the stages of a run share: settings, data, devices, first weights, folder, and a voice."""

import dataclasses

from dermjax import models
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.networks import Beginning
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training.parallel import Devices
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class RunContext:
    """One run at work."""

    settings: RunSettings
    dataset: Dataset
    devices: Devices
    beginning: Beginning
    folder: RunFolder
    writer: Writer

    @property
    def preprocessing(self) -> models.Preprocessing:
        """What all stages feed the network."""
        return self.beginning.preprocessing
