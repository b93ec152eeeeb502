"""From a config to the task that it is of, with typed settings."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from dermjax.settings.section import Section


def start(config: ConfigDict, workdir: str = "") -> int:
    """Checks every field of a config and does its task; returns the process's exit status.

    Args:
      config: of one of the files in `configs/`.
      workdir: where results go; '' for the task's default.

    Raises:
      ValueError: a user's mistake, in words.
    """
    settings, run = _TASKS.get(str(config.get("task")), _run)()
    return run(settings.from_config(config), workdir)


def settings_of(config: ConfigDict) -> Any:
    """The typed settings of a config, every field checked; nothing is done.

    Raises:
      ValueError: the first field that is out of bounds, in words.
    """
    settings, _ = _TASKS.get(str(config.get("task")), _run)()
    return settings.from_config(config)


# A task's imports take seconds, and no other task needs them.


def _run() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.experiment import run
    from dermjax.settings import RunSettings

    return RunSettings, run.run


def _study() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.study import run_study
    from dermjax.study.settings import StudySettings

    return StudySettings, run_study.run


def _saliency() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.saliency import explain
    from dermjax.saliency.settings import SaliencySettings

    return SaliencySettings, explain.run


def _probe() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.experiment import linear_probe
    from dermjax.experiment.probe_settings import ProbeSettings

    return ProbeSettings, linear_probe.run


def _predict() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.prediction import predict
    from dermjax.prediction.settings import PredictSettings

    return PredictSettings, predict.run


def _label() -> tuple[type[Section], Callable[..., int]]:
    from dermjax.labelling import choose
    from dermjax.labelling.settings import LabelSettings

    return LabelSettings, choose.run


_TASKS = {
    "study": _study,
    "saliency": _saliency,
    "probe": _probe,
    "predict": _predict,
    "label": _label,
}
