"""Stage 2 of every strategy: the classifier, trained on the labelled share."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from dermjax import models
from dermjax.data import pipeline
from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.predictor import Predictor
from dermjax.settings import FinetuneSettings
from dermjax.statistics import measures
from dermjax.steps import classify, losses, optimizer
from dermjax.training import loop, parallel
from dermjax.training.checkpoint import Checkpoints, restore_subtree

STAGE = "finetune"


def finetune(
    run: RunContext, encoder: dict[str, Any] | None, *, blind: bool = False
) -> tuple[dict[str, Any], int, float]:
    """Trains the classifier and selects a checkpoint on validation.

    Args:
      encoder: `{'params', 'batch_stats'}` to start from; None for random weights.
      blind: No validation image is looked at: the network after the last step is taken.

    Returns:
      The selected network's variables, its step, and the stage's seconds.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
      ValueError: the loss is not finite.
    """
    settings, stage = run.settings, run.settings.finetuning
    # The trial changes the labelled subset and all that is random in this stage.
    seed = settings.seed + 1000 * (settings.data.trial + 1)
    model = networks.make_classifier(settings, run.devices, len(run.dataset.classes))
    if encoder is None:
        variables = models.initialize(model, seed)
    else:
        variables = models.with_classifier(encoder, model, seed)
    # What is random has nothing to keep: it learns at the full rate.
    encoder_rate = 1.0 if encoder is None else stage.encoder_rate
    schedule, adamw = _optimizer(stage, model.CLASSIFIER, encoder_rate)
    folder = run.folder.checkpoints(STAGE)
    with Checkpoints(folder, scored=not blind) as checkpoints:
        training = loop.Training(
            train_step=_train_step(run, model, adamw),
            batches=_batches(run, seed),
            schedule=_when(stage),
            checkpoints=checkpoints,
            metrics_file=run.folder.metrics(),
            writer=run.writer,
            abstract=run.devices.abstract,
            evaluate=None if blind else _validation(run, model),
            host_scalars=lambda step: {"learning_rate": float(schedule(step - 1))},
        )
        state = run.devices.replicate(classify.create_state(variables, adamw, seed=seed))
        state, seconds = training.run(state)
        step = checkpoints.latest_step if blind else checkpoints.best_step
    target = run.devices.abstract(state.variables)
    return restore_subtree(folder, step, target), step, seconds


def _optimizer(stage: FinetuneSettings, classifier: str, encoder_rate: float):
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


def _train_step(run: RunContext, model: nn.Module, adamw) -> Callable:
    """`(state, batch) -> (state, metrics)` over all devices."""
    stage, dataset = run.settings.finetuning, run.dataset
    labels = dataset.labels[dataset.rows("train", labelled=True)]
    step = functools.partial(
        classify.train_step,
        apply=model.apply,
        optimizer=adamw,
        augment=stage.augmentation(run.preprocessing),
        config=classify.ClassifierConfig(
            loss=make_loss(stage, labels, len(dataset.classes)),
            axis=parallel.AXIS,
            accumulate_steps=stage.accumulate_steps,
        ),
    )
    return run.devices.map_train_step(step)


def _batches(run: RunContext, seed: int) -> Callable:
    """`step -> batches` of the labelled training images from that step on."""
    stage, dataset = run.settings.finetuning, run.dataset
    rows = dataset.rows("train", labelled=True)

    def batches(start):
        order = pipeline.Order(stage.batch_size, seed, start, stage.sampling)
        return map(run.devices.put, dataset.training_batches(rows, order))

    return batches


def _when(stage: FinetuneSettings) -> loop.Schedule:
    """A checkpoint with every evaluation: its score selects."""
    return loop.Schedule(
        STAGE,
        stage.steps,
        stage.report_every,
        save_every=stage.evaluate_every,
        evaluate_every=stage.evaluate_every,
        batch_size=stage.batch_size,
    )


def make_loss(stage: FinetuneSettings, labels: np.ndarray, classes: int) -> Callable:
    """The loss of each image, with what the labelled training images' counts make of it.

    Args:
      stage: settings of stage 2.
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


def _validation(run: RunContext, model: nn.Module):
    """state -> scalars of the validation set, and the score that selects a checkpoint."""
    stage, dataset = run.settings.finetuning, run.dataset
    predictor = Predictor(
        model,
        dataset,
        run.devices,
        run.preprocessing,
        image_size=stage.image_size,
        batch_size=run.settings.evaluate.batch_size,
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
        return scalars, _score(scalars, stage.select)

    return evaluate


def _score(scalars: dict[str, float], select: str) -> float:
    """Higher is better; on few images measures are often equal, and the log loss tells apart."""
    log_loss = scalars["validation_log_loss"]
    if select == "log_loss":
        return -log_loss
    return scalars[f"validation_{select}"] - 1e-6 * float(np.tanh(log_loss))
