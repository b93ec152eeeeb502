"""What a user sets, as frozen dataclasses: one for each section of a run's config.

`configs/*.py` say what each field is, in which unit, and where its value comes from. Here a section
is checked when it is made: the first field out of bounds raises `ValueError` with its value, the
bound and the remedy. What ties sections together is checked in `run.py`, what needs the devices at
hand in `devices.py`.
"""

from dermjax.settings.data import DataSettings
from dermjax.settings.finetune import FinetuneSettings
from dermjax.settings.model import InitSettings, ModelSettings
from dermjax.settings.pretrain import MonitorSettings, PretrainSettings
from dermjax.settings.run import EvaluateSettings, RunFields, RunSettings

__all__ = [
    "DataSettings",
    "EvaluateSettings",
    "FinetuneSettings",
    "InitSettings",
    "ModelSettings",
    "MonitorSettings",
    "PretrainSettings",
    "RunFields",
    "RunSettings",
]
