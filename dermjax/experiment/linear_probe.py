"""Frozen features of a run's encoder: written out, and measured by a linear probe."""

import json

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dermjax import models, stores
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.predictor import Predictor, write_features
from dermjax.experiment.summary import probe_summary
from dermjax.experiment.trained_networks import restore
from dermjax.runs.folder import cache_dir, exclusive, read_config, write_text
from dermjax.runs.json_numbers import or_none
from dermjax.statistics import measures, probe
from dermjax.strategies import STRATEGIES
from dermjax.training import parallel, processes
from dermjax.training.writer import Writer

_ENCODERS = ("auto", "pretrain", "start", "finetune")
_SELECT = ("macro_sensitivity", "accuracy")


def run(config: ConfigDict, workdir: str = "") -> int:
    """Features once, then the probe; returns the process's exit status.

    Args:
      workdir: where the results go; by default the run's own folder.

    Raises:
      ValueError: a user's mistake, in words.
    """
    _check(config)
    processes.check_alone("a probe")
    source = stores.folder(config.run)
    trained = read_config(source)
    subset = trained.data.alpha, trained.data.trial
    _set_subset(trained, config)
    directory = stores.folder(workdir or source)
    parallel.keep_compiled(cache_dir(trained) / "xla")
    writer = Writer()
    encoder = _which(config.encoder, trained)
    with exclusive(directory, writer, wait=False):
        own = (trained.data.alpha, trained.data.trial) == subset
        dataset = as_recorded(prepare(trained, writer), source, labelled=own)
        _check_labels(dataset, trained)
        features = _features(config, trained, dataset, source, directory, encoder, writer)
        results = _probe(config, trained, dataset, features, encoder)
        weights = "-balanced" if config.balanced else ""
        labels = f"alpha{trained.data.alpha:g}-trial{trained.data.trial}"
        name = f"probe-{encoder}-{labels}{weights}.json"
        write_text(directory / name, json.dumps(results, indent=2) + "\n")
    writer.say("\n" + probe_summary(results, str(directory / name)))
    return 0


def _check(config: ConfigDict) -> None:
    for field, known in (("encoder", _ENCODERS), ("select", _SELECT)):
        if config[field] not in known:
            raise ValueError(
                f"config.{field} = {config[field]!r} must be one of {', '.join(known)}"
            )
    if not config.run:
        raise ValueError("which run? name its folder, as in configs/probe.py:run=runs/mine")
    if not 0 <= config.alpha <= 1:
        raise ValueError(f"config.alpha = {config.alpha} must be above 0 and at most 1, or 0")
    if config.trial < -1:
        raise ValueError(f"config.trial = {config.trial} must be at least 0, or -1")


def _set_subset(trained: ConfigDict, config: ConfigDict) -> None:
    """Changes the run's config to the labelled subset that is asked for."""
    trained.data.alpha = config.alpha or trained.data.alpha
    trained.data.trial = trained.data.trial if config.trial < 0 else config.trial


def _check_labels(dataset: Dataset, trained: ConfigDict) -> None:
    """Whether there is something to learn and to measure: pretraining alone needs no labels.

    Raises:
      ValueError: fewer than two classes, or no labelled image in a set that the probe needs.
    """
    source, classes = trained.data.source, dataset.classes
    if len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no label at all"
        raise ValueError(f"a probe needs labels, two classes at least, but {source} has {has}")
    for split in ("train", "validation"):
        if not len(dataset.rows(split, labelled=True)):
            raise ValueError(
                f"a probe needs labelled images in the {split} set, but {source} has none there: "
                "each class needs three patients"
            )


def _which(asked: str, trained: ConfigDict) -> str:
    """`auto` resolved.

    Raises:
      ValueError: the run has no such encoder.
    """
    pretrained = STRATEGIES[trained.strategy].pretrains
    if asked == "auto":
        return "pretrain" if pretrained else "start"
    if asked == "pretrain" and not pretrained:
        raise ValueError(
            f"a run of strategy {trained.strategy} has no pretrained encoder; take encoder=start"
        )
    return asked


def _features(config, trained, dataset, source, directory, encoder, writer) -> np.ndarray:
    """`[rows, F]` float32 of every image of the data set; read where they were written before."""
    size = config.image_size or _trained_size(trained, encoder)
    path = directory / f"features-{encoder}.npz"
    mark = json.dumps({"data": dataset.fingerprint, "image_size": size, "run": str(source)})
    if (kept := _read_features(path, mark, dataset)) is not None:
        writer.say(f"features: {len(kept)} images, read from {path}")
        return kept
    devices, beginning = parallel.all_devices(), networks.begin(trained, writer)
    predictor = Predictor(
        models.create(trained.model.name, num_classes=0, dtype=networks.dtype(trained, devices)),
        dataset,
        devices,
        beginning.preprocessing,
        image_size=size,
        batch_size=config.batch_size,
    )
    if encoder == "start":
        model = models.create(trained.model.name, num_classes=0)
        variables = beginning.encoder or models.initialize(model, trained.seed)
    else:
        variables, _ = restore(trained, source, encoder)
    rows = np.arange(len(dataset.labels))
    features = predictor(variables, rows)
    known = {name: dataset.frame[name].to_numpy(str) for name in ("label", "patient")}
    known |= {"split": dataset.split.astype(str), "mark": np.array(mark)}
    write_features(path, dataset, rows, features, **known)
    writer.say(f"features: {features.shape[0]} images x {features.shape[1]}, written to {path}")
    return features


def _read_features(path: epath.Path, mark: str, dataset: Dataset) -> np.ndarray | None:
    """`[rows, F]` of the images by their names; None where they are not there, or not of all."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:
            if str(kept["mark"]) != mark:
                return None
            place = {name: i for i, name in enumerate(kept["id"].tolist())}
            return kept["features"][[place[name] for name in dataset.frame["name"]]]
    except (OSError, ValueError, KeyError):
        return None


def _trained_size(trained: ConfigDict, encoder: str) -> int:
    """px the encoder was trained at; of weights from elsewhere, what the run gives them."""
    stage = "pretrain" if encoder == "pretrain" or "finetune" not in trained else "finetune"
    return trained[stage].image_size


def _probe(config, trained, dataset: Dataset, features: np.ndarray, encoder: str) -> dict:
    """The probe's measures on the test set (of a run that has one) and how C was chosen."""
    train, validation, test = (
        dataset.rows(split, labelled=True) for split in ("train", "validation", "test")
    )
    classes = len(dataset.classes)

    def measured(rows, predicted):
        return measures.measure(dataset.labels[rows], predicted, classes)

    fitted = probe.fit(
        features[train],
        dataset.labels[train],
        choose_on=(features[validation], dataset.labels[validation]),
        cs=config.cs,
        score=lambda _, predicted: getattr(measured(validation, predicted), config.select),
        balanced=config.balanced,
    )
    results = {
        "task": "probe",
        "run": config.run,
        "encoder": encoder,
        "model": trained.model.name,
        "strategy": trained.strategy,
        "alpha": trained.data.alpha,
        "trial": trained.data.trial,
        "classes": list(dataset.classes),
        "n": dataset.counts(),
        "balanced": config.balanced,
        "c": fitted.c,
        "scores_on_validation": fitted.scores,
        "converged": fitted.converged,
        "data_fingerprint": dataset.fingerprint,
    }
    for name, rows in (("validation", validation), ("test", test)):
        if len(rows):
            found = measured(rows, fitted.classifier.predict(features[rows]))
            results[name] = {
                "accuracy": found.accuracy,
                "macro_precision": found.macro_precision,
                "macro_sensitivity": found.macro_sensitivity,
                "sensitivity": dict(
                    zip(dataset.classes, map(or_none, found.sensitivity), strict=True)
                ),
            }
    return results
