"""Stage 2 of every strategy: the classifier, trained on the labelled share."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dermjax import models
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.predictor import Predictor
from dermjax.settings.augmentation import make_augmentation
from dermjax.statistics import measures
from dermjax.steps import classify, losses, optimizer
from dermjax.training import loop, parallel
from dermjax.training.checkpoint import Checkpoints, restore_subtree
from dermjax.training.writer import MetricsFile, Writer

STAGE = "finetune"


def finetune(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    writer: Writer,
    workdir: epath.Path,
    encoder: dict[str, Any] | None,
    preprocessing: models.Preprocessing,
) -> tuple[dict[str, Any], int, float]:
    """Trains the classifier and selects a checkpoint on validation.

    Args:
      encoder: `{'params', 'batch_stats'}` to start from; None for random weights.
      preprocessing: what the encoder was trained on.

    Returns:
      The selected network's variables, its step, and the stage's seconds.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
      ValueError: the loss is not finite.
    """
    # The trial changes the labelled subset and all that is random in this stage.
    seed = config.seed + 1000 * (config.data.trial + 1)
    model = networks.make_classifier(config, devices, len(dataset.classes))
    if encoder is None:
        variables = models.initialize(model, seed)
    else:
        variables = models.with_classifier(encoder, model, seed)
    # What is random has nothing to keep: it learns at the full rate.
    encoder_rate = 1.0 if encoder is None else config.finetune.encoder_rate
    schedule, adamw = _optimizer(config.finetune, model.CLASSIFIER, encoder_rate)
    steps = _steps(config, dataset, devices, model, adamw, preprocessing, seed)
    folder = workdir / "checkpoints" / STAGE
    with Checkpoints(folder, scored=True) as checkpoints:
        training = loop.Training(
            **steps,
            schedule=_when(config.finetune),
            checkpoints=checkpoints,
            metrics_file=MetricsFile(workdir / "metrics.jsonl", active=writer.active),
            writer=writer,
            abstract=devices.abstract,
            evaluate=_validation(config, dataset, devices, model, preprocessing),
            host_scalars=lambda step: {"learning_rate": float(schedule(step - 1))},
        )
        state = devices.replicate(classify.create_state(variables, adamw, seed=seed))
        state, seconds = training.run(state)
        best_step = checkpoints.best_step
    target = devices.abstract(state.variables)
    return restore_subtree(folder, best_step, target), best_step, seconds


def _optimizer(stage: ConfigDict, classifier: str, encoder_rate: float):
    """The classifier's learning rate schedule, and the optimizer of all parameters."""
    schedule = optimizer.make_schedule(
        stage.learning_rate,
        steps=stage.steps,
        schedule=stage.schedule,
        warmup_steps=stage.warmup_steps,
    )
    adamw = optimizer.make_adamw(schedule, weight_decay=stage.weight_decay)
    if encoder_rate != 1:
        adamw = optimizer.scale_others(adamw, encoder_rate, than=classifier)
    return schedule, adamw


def _steps(config, dataset, devices, model, adamw, preprocessing, seed: int) -> dict[str, Callable]:
    """The loop's `train_step` and `batches`."""
    stage, rows = config.finetune, dataset.rows("train", labelled=True)
    step = functools.partial(
        classify.train_step,
        apply=model.apply,
        optimizer=adamw,
        augment=make_augmentation(stage, preprocessing),
        config=classify.ClassifierConfig(
            loss=make_loss(stage, dataset.labels[rows], len(dataset.classes)),
            axis=parallel.AXIS,
            accumulate_steps=stage.accumulate_steps,
        ),
    )

    def batches(start):
        shares = dataset.training_batches(
            rows, batch_size=stage.batch_size, seed=seed, start=start, sampling=stage.sampling
        )
        return map(devices.put, shares)

    return {"train_step": devices.map_train_step(step), "batches": batches}


def _when(stage: ConfigDict) -> loop.Schedule:
    """A checkpoint with every evaluation: its score selects."""
    return loop.Schedule(
        STAGE,
        stage.steps,
        stage.report_every,
        save_every=stage.evaluate_every,
        evaluate_every=stage.evaluate_every,
        batch_size=stage.batch_size,
    )


def make_loss(stage: ConfigDict, labels: np.ndarray, classes: int) -> Callable:
    """The loss of each image, with what the labelled training images' counts make of it.

    Args:
      stage: `config.finetune`.
      labels: of the labelled training images, int in [0, classes).

    Returns:
      `(logits [b, N] float32, label [b]) -> [b]`.

    Raises:
      ValueError: a number out of bounds.
    """
    counts = np.bincount(labels, minlength=classes)
    class_weights = logit_shift = None
    if stage.class_weights == "effective_number":
        beta = stage.effective_number_beta
        class_weights = losses.effective_number_weights(counts, beta)
    if stage.logit_adjustment:
        logit_shift = losses.prior_shift(counts, stage.logit_adjustment)
    if stage.loss == "focal":
        return functools.partial(
            losses.focal,
            gamma=stage.focal_gamma,
            class_weights=class_weights,
            logit_shift=logit_shift,
        )
    return functools.partial(
        losses.cross_entropy,
        label_smoothing=stage.label_smoothing,
        class_weights=class_weights,
        logit_shift=logit_shift,
    )


def _validation(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    model: nn.Module,
    preprocessing: models.Preprocessing,
):
    """state -> scalars of the validation set, and the score that selects a checkpoint."""
    predictor = Predictor(
        model,
        dataset,
        devices,
        preprocessing,
        image_size=config.finetune.image_size,
        batch_size=config.evaluate.batch_size,
    )
    rows = dataset.rows("validation", labelled=True)
    labels = dataset.labels[rows]

    def evaluate(state: classify.ClassifierState) -> tuple[dict[str, float], float]:
        logits = predictor(state.variables, rows)
        measured = measures.measure(labels, logits.argmax(-1), len(dataset.classes))
        scalars = {
            "validation_accuracy": measured.accuracy,
            "validation_macro_precision": measured.macro_precision,
            "validation_macro_sensitivity": measured.macro_sensitivity,
            "validation_log_loss": measures.log_loss(labels, logits),
        }
        return scalars, _score(scalars, config.finetune.select)

    return evaluate


def _score(scalars: dict[str, float], select: str) -> float:
    """Higher is better; on few images measures are often equal, and the log loss tells apart."""
    log_loss = scalars["validation_log_loss"]
    if select == "log_loss":
        return -log_loss
    return scalars[f"validation_{select}"] - 1e-6 * float(np.tanh(log_loss))
