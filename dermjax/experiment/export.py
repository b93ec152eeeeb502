"""A finished run's network as a file for PyTorch and timm, or for the next run to start from."""

from typing import Any

from dermjax import models, stores
from dermjax.experiment.trained_networks import restore
from dermjax.runs.run_folder import RunFolder


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
    run = RunFolder.named(workdir)
    if stores.is_remote(path):
        raise ValueError(f"{path}: name a file of this disk, and copy it from there")
    path = stores.expanded(path)
    settings, results = run.settings(), run.results()
    classes = tuple(results["classes"]) if stage == "finetune" else ()
    variables, step = restore(settings, run, stage, classes=len(classes))
    size = (settings.finetuning if stage == "finetune" else settings.pretraining).image_size
    model = models.create(settings.model.name, num_classes=len(classes))
    model = model.clone(preprocessing=_preprocessing(results["weights"], size))
    models.save_weights(path, model, variables, classes=classes)
    what = f"classes {', '.join(classes)}" if classes else "encoder without classifier"
    return f"{path}: {settings.model.name}, {what}, step {step} of {stage}"


def _preprocessing(weights: dict[str, Any], size: int) -> models.Preprocessing:
    """What the run fed its network: the whole crop, squeezed to `size` px."""
    how = {name: weights[name] for name in ("mean", "std", "interpolation")}
    return models.Preprocessing(
        **how, train_size=size, train_crop=1.0, test_size=size, test_crop=1.0
    )
