"""A finished run's network as a file: for timm, for a server, or for the next run to start from."""

import pathlib
from typing import Any

from dermjax import atomic, models, stores
from dermjax.experiment.trained_networks import restore
from dermjax.models import stablehlo
from dermjax.models.calibrated_network import CalibratedNetwork
from dermjax.runs.run_folder import RunFolder

WEIGHTS, ONNX, STABLEHLO = ".safetensors", ".onnx", ".stablehlo"
SUFFIXES = (WEIGHTS, ONNX, STABLEHLO)


def export(workdir: str, path: str, stage: str, *, temperature: float = 1.0) -> str:
    """Writes a run's network in the format that the file's ending names.

    Args:
      workdir: folder of a finished run.
      path: of the file, on a disk. `.safetensors`: weights under timm's names; `.onnx` and
        `.stablehlo`: a program that turns images into probabilities.
      stage: `finetune` for the selected classifier, `pretrain` for the encoder it started from,
        whose weights alone can be written.
      temperature: of a program's probabilities, which are the softmax of the logits over it.

    Returns:
      What was written, in one line.

    Raises:
      ValueError: no finished run, no such stage in it, another ending, an encoder as a program, or
        the package that writes the format is missing.
      OSError: the file cannot be written.
    """
    suffix = pathlib.PurePath(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if suffix != WEIGHTS and stage == "pretrain":
        raise ValueError(
            f"{path}: an encoder has no classes to tell apart; write it as {WEIGHTS}, or take "
            "--stage=finetune"
        )
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
    if suffix == WEIGHTS:
        models.save_weights(path, model, variables, classes=classes)
    else:
        content = _program(CalibratedNetwork(model, variables, classes, temperature), suffix)
        with atomic.replace(pathlib.Path(path)) as beside:
            beside.write_bytes(content)
    what = f"classes {', '.join(classes)}" if classes else "encoder without classifier"
    return f"{path}: {settings.model.name}, {what}, step {step} of {stage}"


def _program(classifier: CalibratedNetwork, suffix: str) -> bytes:
    """The content of an .onnx or .stablehlo file."""
    if suffix == STABLEHLO:
        return stablehlo.to_bytes(classifier)
    try:
        from dermjax.models import onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ValueError("an .onnx file needs the package onnx: pip install -e '.[onnx]'") from None
    return onnx.to_bytes(classifier)


def _preprocessing(weights: dict[str, Any], size: int) -> models.Preprocessing:
    """What the run fed its network: the whole crop, squeezed to `size` px."""
    how = {name: weights[name] for name in ("mean", "std", "interpolation")}
    return models.Preprocessing(
        **how,
        train_size=size,
        train_crop=1.0,
        test_size=size,
        test_crop=1.0,
        crop_mode="squash",
    )
