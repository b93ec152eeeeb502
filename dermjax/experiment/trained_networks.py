"""The networks in a finished run's folder, for what comes after it: probe, export, saliency."""

import os
from typing import Any

from dermjax import models
from dermjax.experiment.pretrain import restore_encoder
from dermjax.models import timm
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training import parallel
from dermjax.training.checkpoint import restore_subtree


def restore(
    settings: RunSettings, run: RunFolder, stage: str, *, classes: int = 0
) -> tuple[dict[str, Any], int]:
    """`{'params', 'batch_stats'}` of a stage's network, and the step it is of.

    Args:
      settings: of the run.
      run: its folder.
      stage: `pretrain`: its last encoder; `finetune`: the selected checkpoint.
      classes: of the classifier; 0: the encoder alone.

    Raises:
      ValueError: the run has no such stage, or has not finished it.
    """
    if stage == "pretrain" and settings.pretrain is None:
        raise ValueError(
            f"the run in {run} has no pretraining (its strategy is {settings.strategy})"
        )
    if stage == "finetune" and settings.task == "pretrain":
        raise ValueError(f"the run in {run} is a pretraining alone: nothing is fine-tuned")
    if stage == "finetune" and run.classifier.exists():
        return _exported(settings, run, classes), run.results()["best_step"]
    step = settings.pretraining.steps if stage == "pretrain" else _selected_step(run)
    folder = run.checkpoints(stage)
    if stage == "pretrain" and not folder.exists():  # where there are no links
        folder = _pretraining(run).checkpoints(stage)
    if step is None or not (folder / str(step)).exists():
        raise ValueError(
            f"the {stage} stage of the run in {run} is not finished; the same command continues it"
        )
    devices = parallel.all_devices()
    if stage == "pretrain":
        return restore_encoder(settings, devices, folder), step
    shapes = models.shapes_of(models.create(settings.model.name, num_classes=classes))
    return restore_subtree(folder, step, devices.abstract(shapes)), step


def _exported(settings: RunSettings, run: RunFolder, classes: int) -> dict[str, Any]:
    """The network in an exported folder, under this project's names.

    Raises:
      ValueError: the file is damaged or of another network.
    """
    model = models.create(settings.model.name, num_classes=classes)
    return timm.load(models.read_weights(os.fspath(run.classifier)), model).variables


def _pretraining(run: RunFolder) -> RunFolder:
    """Its own folder, known once the run has been evaluated; else the run's."""
    return RunFolder.named(run.results()["pretraining"]) if run.is_finished else run


def _selected_step(run: RunFolder) -> int | None:
    """Known once the run has been evaluated."""
    return run.results()["best_step"] if run.is_finished else None
