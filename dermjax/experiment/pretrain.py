"""Stage 1 of SS and SS-IN: MoCo-v2 on all training images, shared by all runs that agree on it."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from dermjax import models, stores
from dermjax.data import partners
from dermjax.experiment import networks as network
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.knn_monitor import Features, Monitor
from dermjax.runs.folder import SINCE, claim, exclusive_together
from dermjax.settings.augmentation import make_augmentation
from dermjax.steps import moco, optimizer
from dermjax.training import loop, parallel, processes
from dermjax.training.checkpoint import Checkpoints, restore_subtree
from dermjax.training.writer import MetricsFile, Writer

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


def pretrain(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    writer: Writer,
    workdir: epath.Path,
    beginning: network.Beginning,
) -> Pretraining:
    """Trains the encoder, or takes the one that a run with the same settings has trained.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
      ValueError: the loss is not finite, the queue does not fit the batch, or the positives that
        the config asks for are not in the data.
    """
    pairs = find_partners(config, dataset)
    identity = _identity(config, dataset, beginning, pairs)
    directory = _directory(config, workdir, identity)
    with exclusive_together(directory, writer, wait=True):
        claim(directory, identity)
        if pairs is not None:
            writer.say(
                f"pretrain: positives of {pairs.paired} of {pairs.images} training images come "
                f"from another photograph of the same {pairs.kind}, of the others from their own"
            )
        metrics_file = MetricsFile(directory / "metrics.jsonl", active=writer.active)
        folder = directory / "checkpoints" / STAGE
        with Checkpoints(folder) as checkpoints:
            trained = None
            if processes.first_says(_finished(config, checkpoints, metrics_file)):
                trained = _trained_before(config, devices, folder, writer)
            if trained is not None:
                writer.say(f"pretrain: done before, taken from {directory}")
                seconds = metrics_file.read()[-1]["seconds"]
            else:
                writer.say(f"pretrain: {len(_rows(dataset))} images, in {directory}")
                seconds = _train(
                    config, dataset, devices, writer, checkpoints, metrics_file, beginning, pairs
                )
        if trained is None:
            trained = restore_network(config, devices, folder)
    if writer.active:
        _link(workdir / "checkpoints" / STAGE, folder)
    positives = None if pairs is None else pairs.counted()
    return Pretraining(trained, directory, seconds, metrics_file.read(), positives)


def _finished(config, checkpoints: Checkpoints, metrics_file: MetricsFile) -> bool:
    """Whether the last step is saved and reported: a stop may have cut its evaluation short."""
    told = (metrics_file.read() or [{"step": 0}])[-1]["step"]
    return checkpoints.latest_step == told == config.pretrain.steps


def _trained_before(config, devices, folder: epath.Path, writer: Writer) -> dict | None:
    """The network of the last checkpoint; None when that is damaged: the loop has older ones."""
    trained = None
    try:
        trained = restore_network(config, devices, folder)
    except ValueError as error:
        writer.warn(str(error).partition("; remove ")[0])
    return trained if processes.all_true(trained is not None) else None


def _rows(dataset: Dataset):
    """All training images, labelled or not."""
    return dataset.rows("train", labelled=False)


def find_partners(config: ConfigDict, dataset: Dataset) -> partners.Partners | None:
    """Which photographs give each other's positives; None: each gives its own.

    Raises:
      ValueError: the config asks for what the data do not have.
    """
    kind = config.pretrain.positives
    return None if kind == "image" else partners.find(dataset.frame, _rows(dataset), kind)


def _train(config, dataset, devices, writer, checkpoints, metrics_file, beginning, pairs) -> float:
    """The loop over MoCo steps; returns its seconds over all runs."""
    stage = config.pretrain
    rows, keys = _rows(dataset), queue_size(stage, dataset)
    written = moco.keys_per_step(stage.batch_size, symmetric=stage.symmetric)
    model = network.make_projected_encoder(config, devices)
    schedule, updates = _optimizer(stage)
    state = moco.create_state(
        _first_variables(config, model, beginning.encoder),
        updates,
        queue_size=keys,
        dim=stage.dim,
        keys_per_step=written,
        seed=_seed(config),
    )
    momentum = optimizer.make_momentum(stage.momentum, stage.momentum_end, steps=stage.steps)
    step = functools.partial(
        moco.train_step,
        apply=model.apply,
        optimizer=updates,
        augment=make_augmentation(stage, beginning.preprocessing),
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

    def batches(start):
        order = dict(batch_size=stage.batch_size, seed=_seed(config), start=start)
        return map(devices.put, dataset.training_batches(rows, **order, partners=pairs))

    features = Features(config, dataset, devices, beginning.preprocessing)
    monitor = Monitor(stage, dataset, features, writer, queue_size=keys)
    training = loop.Training(
        train_step=devices.map_train_step(step),
        batches=batches,
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
        writer=writer,
        abstract=devices.abstract,
        evaluate=monitor,
        host_scalars=lambda step: {
            "learning_rate": float(schedule(step - 1)),
            "momentum": float(momentum(step - 1)),
            "queue_age": _queue_age(step, keys, written),
        },
    )
    _, seconds = training.run(devices.replicate(state))
    return seconds


def queue_size(stage: ConfigDict, dataset: Dataset) -> int:
    """K, of the data set's training images."""
    return queue_length(stage, len(_rows(dataset)))


def queue_length(stage: ConfigDict, images: int) -> int:
    """K; automatic: two steps' keys, or one's, that a query seldom meets its own image in it.

    Args:
      stage: `config.pretrain`.
      images: that are trained on.
    """
    if stage.queue_size:
        return stage.queue_size
    keys = moco.keys_per_step(stage.batch_size, symmetric=stage.symmetric)
    return keys * (2 if 2 * keys <= images - stage.batch_size else 1)


def _queue_age(step: int, queue_size: int, keys_per_step: int) -> float:
    """Mean age in steps of the real keys that `step` (counted from 1) meets in the queue."""
    keys = min((step - 1) * keys_per_step, queue_size)
    whole, rest = divmod(keys, keys_per_step)
    total = keys_per_step * whole * (whole + 1) / 2 + rest * (whole + 1)
    return total / keys if keys else 0.0


def _optimizer(stage: ConfigDict):
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


def _first_variables(config: ConfigDict, model, encoder: dict | None) -> dict[str, Any]:
    """Random weights, around the encoder if there is one."""
    variables = models.initialize(model, _seed(config))
    if encoder is None:
        return variables
    return {name: {**variables[name], "encoder": encoder[name]} for name in variables}


def restore_network(
    config: ConfigDict, devices: parallel.Devices, folder: epath.Path
) -> dict[str, Any]:
    """The query encoder and head out of the last checkpoint, without queue and optimizer."""
    shapes = models.shapes_of(network.make_projected_encoder(config, devices))
    return restore_subtree(folder, config.pretrain.steps, devices.abstract(shapes))


def restore_encoder(
    config: ConfigDict, devices: parallel.Devices, folder: epath.Path
) -> dict[str, Any]:
    """The query encoder out of the last checkpoint, alone."""
    restored = restore_network(config, devices, folder)
    return {name: tree["encoder"] for name, tree in restored.items()}


def _seed(config: ConfigDict) -> int:
    """The seed of all that is random in a pretraining; the first one's is the run's own."""
    return config.seed + _REPEAT * config.pretrain.repeat


def _identity(
    config: ConfigDict,
    dataset: Dataset,
    beginning: network.Beginning,
    pairs: partners.Partners | None = None,
) -> dict:
    """All that the result of a pretraining depends on: not alpha, not the trial."""
    # Fields that came later are left out where they change nothing: pretrainings of before keep
    # their names.
    stage = {
        name: value
        for name, value in config.pretrain.to_dict().items()
        if name not in _WITHOUT_EFFECT and SINCE.get(f"{STAGE}.{name}", _UNKNOWN) != value
    }
    # By content: the same file under another name starts the same pretraining.
    start = {name: value for name, value in beginning.record().items() if name != "source"}
    return {
        "pretrain": stage,
        "model": config.model.name,
        "dtype": config.model.dtype,
        "max_side": config.data.max_side,
        "records": config.data.records,
        "data_fingerprint": dataset.fingerprint,
        "training_images": dataset.split_key(),
        "seed": _seed(config),
        "weights": start,
        # Who shows the same lesion or site is not in the data's fingerprint.
        **({} if pairs is None else {"partners": pairs.key()}),
    }


def _directory(config: ConfigDict, workdir: epath.Path, identity: dict) -> epath.Path:
    """Next to the workdir, where the other runs of a study find it."""
    if config.pretrain.directory:
        return stores.writable_folder(config.pretrain.directory)
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return workdir.parent / f"{STAGE}-{config.model.name}-{key}"


def _link(link: epath.Path, folder: epath.Path) -> None:
    """The run's folder shows its pretraining too, where the file system knows links."""
    if stores.is_remote(link) or stores.is_remote(folder) or link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(link)
    path.unlink(missing_ok=True)  # a link whose target was moved away
    path.symlink_to(os.path.relpath(pathlib.Path(folder).resolve(), path.parent.resolve()))
