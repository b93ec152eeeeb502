"""Stage 1 of SS and SS-IN: MoCo-v2 on all training images, shared by all runs that agree on it."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from etils import epath

from dermjax import models, stores
from dermjax.data import partners, pipeline
from dermjax.experiment import networks as network
from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.knn_monitor import Features, Monitor
from dermjax.runs.claim import claim
from dermjax.runs.lock import exclusive_together
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import PretrainSettings, RunSettings
from dermjax.steps import moco, optimizer
from dermjax.training import loop, parallel, processes
from dermjax.training.checkpoint import Checkpoints, restore_subtree
from dermjax.training.writer import MetricsFile

STAGE = "pretrain"
# Fields that say where and how often, not what: they do not tell pretrainings apart. `repeat` does,
# by the seed.
_WITHOUT_EFFECT = (
    *("directory", "accumulate_steps", "report_every", "save_every", "monitor"),
    "repeat",
)
_UNKNOWN = object()
_REPEAT = 1_000_003  # between the seeds of repeated pretrainings, far from those of trials


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """A finished pretraining."""

    network: dict[str, Any]  # {'params', 'batch_stats'} of the query network: encoder and head
    directory: epath.Path
    seconds: float
    metrics: list[dict]  # the lines of its metrics.jsonl
    positives: dict[str, Any] | None  # kind, images, with_partner; None: of the image itself

    @property
    def encoder(self) -> dict[str, Any]:
        """What fine-tuning starts from."""
        return {name: tree["encoder"] for name, tree in self.network.items()}


def pretrain(run: RunContext) -> Pretraining:
    """Trains the encoder, or takes the one that a run with the same settings has trained.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
      ValueError: the loss is not finite, the queue does not fit the batch, or the positives that
        the settings ask for are not in the data.
    """
    writer, pairs = run.writer, find_partners(run.settings, run.dataset)
    identity = _identity(run, pairs)
    folder = _folder(run, identity)
    with exclusive_together(folder.path, writer, wait=True):
        claim(folder.path, identity)
        if pairs is not None:
            writer.say(
                f"pretrain: positives of {pairs.paired} of {pairs.images} training images come "
                f"from another photograph of the same {pairs.kind}, of the others from their own"
            )
        metrics_file = folder.metrics()
        with Checkpoints(folder.checkpoints(STAGE)) as checkpoints:
            trained = None
            if processes.first_says(_finished(run.settings, checkpoints, metrics_file)):
                trained = _trained_before(run, folder)
            if trained is not None:
                writer.say(f"pretrain: done before, taken from {folder}")
                seconds = metrics_file.read()[-1]["seconds"]
            else:
                writer.say(f"pretrain: {len(_rows(run.dataset))} images, in {folder}")
                seconds = _train(run, checkpoints, metrics_file, pairs)
        if trained is None:
            trained = restore_network(run.settings, run.devices, folder.checkpoints(STAGE))
    if writer.active:
        _link(run.folder.checkpoints(STAGE), folder.checkpoints(STAGE))
    positives = None if pairs is None else pairs.counted()
    return Pretraining(trained, folder.path, seconds, metrics_file.read(), positives)


def _finished(settings: RunSettings, checkpoints: Checkpoints, metrics_file: MetricsFile) -> bool:
    """Whether the last step is saved and reported: a stop may have cut its evaluation short."""
    reported = (metrics_file.read() or [{"step": 0}])[-1]["step"]
    return checkpoints.latest_step == reported == settings.pretraining.steps


def _trained_before(run: RunContext, folder: RunFolder) -> dict | None:
    """The network of the last checkpoint; None when that is damaged: the loop has older ones."""
    trained = None
    try:
        trained = restore_network(run.settings, run.devices, folder.checkpoints(STAGE))
    except ValueError as error:
        run.writer.warn(str(error).partition("; remove ")[0])
    return trained if processes.all_true(trained is not None) else None


def _rows(dataset: Dataset):
    """All training images, labelled or not."""
    return dataset.rows("train", labelled=False)


def find_partners(settings: RunSettings, dataset: Dataset) -> partners.Partners | None:
    """Which photographs give each other's positives; None: each gives its own.

    Raises:
      ValueError: the settings ask for what the data do not have.
    """
    kind = settings.pretraining.positives
    return None if kind == "image" else partners.find(dataset.frame, _rows(dataset), kind)


def _train(
    run: RunContext,
    checkpoints: Checkpoints,
    metrics_file: MetricsFile,
    pairs: partners.Partners | None,
) -> float:
    """The loop over MoCo steps; returns its seconds over all runs."""
    stage, keys = run.settings.pretraining, queue_size(run)
    model = network.make_projected_encoder(run.settings, run.devices)
    schedule, updates = _optimizer(stage)
    state = moco.create_state(
        _first_variables(run, model),
        updates,
        queue_size=keys,
        dim=stage.dim,
        keys_per_step=stage.keys_per_step,
        seed=_seed(run.settings),
    )
    momentum = optimizer.make_momentum(stage.momentum, stage.momentum_end, steps=stage.steps)
    step = functools.partial(
        moco.train_step,
        apply=model.apply,
        optimizer=updates,
        augment=stage.augmentation(run.preprocessing),
        config=moco.MoCoConfig(
            momentum=momentum,
            temperature=stage.temperature,
            mask_same_image=stage.mask_same_image,
            batch_negatives=stage.batch_negatives,
            symmetric=stage.symmetric,
            axis=parallel.AXIS,
            accumulate_steps=stage.accumulate_steps,
            subjects=None if pairs is None else pairs.subjects,
        ),
    )
    monitor = Monitor(run, Features(run), queue_size=keys)
    training = loop.Training(
        train_step=run.devices.map_train_step(step),
        batches=_batches(run, pairs),
        schedule=loop.Schedule(
            STAGE,
            stage.steps,
            stage.report_every,
            stage.save_every,
            evaluate_every=monitor.every,
            evaluate_first=monitor.first,
            batch_size=stage.batch_size,
        ),
        checkpoints=checkpoints,
        metrics_file=metrics_file,
        writer=run.writer,
        abstract=run.devices.abstract,
        evaluate=monitor,
        host_scalars=lambda step: {
            "learning_rate": float(schedule(step - 1)),
            "momentum": float(momentum(step - 1)),
            "queue_age": _queue_age(step, keys, stage.keys_per_step),
        },
    )
    _, seconds = training.run(run.devices.replicate(state))
    return seconds


def _batches(run: RunContext, pairs: partners.Partners | None) -> Callable:
    """`step -> batches` of all training images from that step on."""
    rows, size = _rows(run.dataset), run.settings.pretraining.batch_size
    seed = _seed(run.settings)

    def batches(start):
        order = pipeline.Order(size, seed, start)
        return map(run.devices.put, run.dataset.training_batches(rows, order, pairs))

    return batches


def queue_size(run: RunContext) -> int:
    """K, of the data set's training images."""
    return run.settings.pretraining.queue_length(len(_rows(run.dataset)))


def _queue_age(step: int, queue_size: int, keys_per_step: int) -> float:
    """Mean age in steps of the real keys that `step` (counted from 1) meets in the queue."""
    keys = min((step - 1) * keys_per_step, queue_size)
    whole, rest = divmod(keys, keys_per_step)
    total = keys_per_step * whole * (whole + 1) / 2 + rest * (whole + 1)
    return total / keys if keys else 0.0


def _optimizer(stage: PretrainSettings):
    """The learning rate schedule, and what follows it."""
    schedule = optimizer.make_schedule(
        stage.learning_rate,
        steps=stage.steps,
        schedule=stage.schedule,
        warmup_steps=stage.warmup_steps,
        milestones=stage.milestones,
        decay=stage.decay,
    )
    if stage.optimizer == "adamw":
        return schedule, optimizer.make_adamw(schedule, weight_decay=stage.weight_decay)
    return schedule, optimizer.make_sgd(
        schedule,
        momentum=stage.sgd_momentum,
        nesterov=stage.nesterov,
        weight_decay=stage.weight_decay,
    )


def _first_variables(run: RunContext, model) -> dict[str, Any]:
    """Random weights, around the encoder if there is one."""
    variables = models.initialize(model, _seed(run.settings))
    encoder = run.beginning.encoder
    if encoder is None:
        return variables
    return {name: {**variables[name], "encoder": encoder[name]} for name in variables}


def restore_network(
    settings: RunSettings, devices: parallel.Devices, folder: epath.Path
) -> dict[str, Any]:
    """The query encoder and head out of the last checkpoint, without queue and optimizer."""
    shapes = models.shapes_of(network.make_projected_encoder(settings, devices))
    return restore_subtree(folder, settings.pretraining.steps, devices.abstract(shapes))


def restore_encoder(
    settings: RunSettings, devices: parallel.Devices, folder: epath.Path
) -> dict[str, Any]:
    """The query encoder out of the last checkpoint, alone."""
    restored = restore_network(settings, devices, folder)
    return {name: tree["encoder"] for name, tree in restored.items()}


def _seed(settings: RunSettings) -> int:
    """The seed of all that is random in a pretraining; the first one's is the run's own."""
    return settings.seed + _REPEAT * settings.pretraining.repeat


def _identity(run: RunContext, pairs: partners.Partners | None = None) -> dict[str, Any]:
    """All that the result of a pretraining depends on: not alpha, not the trial."""
    settings, dataset = run.settings, run.dataset
    # Fields that came later are left out where they change nothing: pretrainings of before keep
    # their names.
    since = PretrainSettings.since()
    stage = {
        name: value
        for name, value in settings.pretraining.to_dict().items()
        if name not in _WITHOUT_EFFECT and since.get(name, _UNKNOWN) != value
    }
    # By content: the same file under another name starts the same pretraining.
    start = {name: one for name, one in run.beginning.record().items() if name != "source"}
    return {
        "pretrain": stage,
        "model": settings.model.name,
        "dtype": settings.model.dtype,
        "max_side": settings.data.max_side,
        "records": settings.data.records,
        "data_fingerprint": dataset.fingerprint,
        "training_images": dataset.split_key(),
        "seed": _seed(settings),
        "weights": start,
        # Who shows the same lesion or site is not in the data's fingerprint.
        **({} if pairs is None else {"partners": pairs.key()}),
    }


def _folder(run: RunContext, identity: dict[str, Any]) -> RunFolder:
    """Next to the run's, where the other runs of a study find it."""
    directory = run.settings.pretraining.directory
    if directory:
        return RunFolder(stores.writable_folder(directory))
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return RunFolder(run.folder.path.parent / f"{STAGE}-{run.settings.model.name}-{key}")


def _link(link: epath.Path, folder: epath.Path) -> None:
    """The run's folder shows its pretraining too, where the file system knows links."""
    if stores.is_remote(link) or stores.is_remote(folder) or link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(link)
    path.unlink(missing_ok=True)  # a link whose target was moved away
    path.symlink_to(os.path.relpath(pathlib.Path(folder).resolve(), path.parent.resolve()))
