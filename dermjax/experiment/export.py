"""A finished run's network as a file for PyTorch and timm, or for the next run to start from."""

import json
from typing import Any

from dermjax import models, stores
from dermjax.experiment.trained_networks import restore
from dermjax.runs.folder import RESULTS, read_config


def export(workdir: str, path: str, stage: str) -> str:
    """Writes a run's network under timm's names.

    Args:
      workdir: folder of a finished run.
      path: of the file, on a disk; ends in .safetensors.
      stage: `finetune` for the selected classifier, `pretrain` for the encoder it started from.

    Returns:
      What was written, in one line.

    Raises:
      ValueError: no finished run, no such stage in it, or another ending.
      OSError: the file cannot be written.
    """
    directory = stores.folder(workdir)
    if stores.is_remote(path):
        raise ValueError(f"{path}: name a file of this disk, and copy it from there")
    path = stores.expanded(path)
    config = read_config(directory)
    if not (directory / RESULTS).exists():
        raise ValueError(f"the run in {workdir} is not finished; the same command continues it")
    results = json.loads((directory / RESULTS).read_text())
    classes = tuple(results["classes"]) if stage == "finetune" else ()
    variables, step = restore(config, directory, stage, classes=len(classes))
    model = models.create(
        config.model.name,
        num_classes=len(classes),
        preprocessing=_preprocessing(results["weights"], config[stage].image_size),
    )
    models.save_weights(path, model, variables, classes=classes)
    what = f"classes {', '.join(classes)}" if classes else "encoder without classifier"
    return f"{path}: {config.model.name}, {what}, step {step} of {stage}"


def _preprocessing(weights: dict[str, Any], size: int) -> models.Preprocessing:
    """What the run fed its network: the whole crop, squeezed to `size` px."""
    how = {name: weights[name] for name in ("mean", "std", "interpolation")}
    return models.Preprocessing(
        **how, train_size=size, train_crop=1.0, test_size=size, test_crop=1.0
    )
