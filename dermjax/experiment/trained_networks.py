"""The networks in a finished run's folder, for what comes after it: probe, export."""

import json
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from dermjax import models, stores
from dermjax.experiment.pretrain import restore_encoder
from dermjax.runs.folder import RESULTS
from dermjax.strategies import STRATEGIES
from dermjax.training import parallel
from dermjax.training.checkpoint import restore_subtree


def restore(
    config: ConfigDict, directory: epath.Path, stage: str, *, classes: int = 0
) -> tuple[dict[str, Any], int]:
    """`{'params', 'batch_stats'}` of a stage's network, and the step it is of.

    Args:
      stage: `pretrain`: its last encoder; `finetune`: the selected checkpoint.
      classes: of the classifier; 0: the encoder alone.

    Raises:
      ValueError: the run has no such stage, or has not finished it.
    """
    if stage == "pretrain" and not STRATEGIES[config.strategy].pretrains:
        raise ValueError(
            f"the run in {directory} has no pretraining (its strategy is {config.strategy})"
        )
    if stage == "finetune" and config.task == "pretrain":
        raise ValueError(f"the run in {directory} is a pretraining alone: nothing is fine-tuned")
    step = config.pretrain.steps if stage == "pretrain" else _selected_step(directory)
    folder = directory / "checkpoints" / stage
    if stage == "pretrain" and not folder.exists():  # where there are no links
        folder = _pretraining(directory) / "checkpoints" / stage
    if step is None or not (folder / str(step)).exists():
        raise ValueError(
            f"the {stage} stage of the run in {directory} is not finished; the same command "
            "continues it"
        )
    devices = parallel.all_devices()
    if stage == "pretrain":
        return restore_encoder(config, devices, folder), step
    shapes = models.shapes_of(models.create(config.model.name, num_classes=classes))
    return restore_subtree(folder, step, devices.abstract(shapes)), step


def _pretraining(directory: epath.Path) -> epath.Path:
    """Its own folder, known once the run has been evaluated; else the run's."""
    results = directory / RESULTS
    if not results.exists():
        return directory
    return stores.folder(json.loads(results.read_text())["pretraining"])


def _selected_step(directory: epath.Path) -> int | None:
    """Known once the run has been evaluated."""
    results = directory / RESULTS
    return json.loads(results.read_text())["best_step"] if results.exists() else None
