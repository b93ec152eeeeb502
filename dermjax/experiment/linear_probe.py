"""Frozen features of a run's encoder: written out, and measured by a linear probe."""

import dataclasses
import json

import numpy as np
from etils import epath

from dermjax import models, stores
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.predictor import Predictor
from dermjax.experiment.probe_settings import ProbeSettings
from dermjax.experiment.summary import probe_summary
from dermjax.experiment.trained_networks import restore
from dermjax.runs.files import read_arrays, write_arrays, write_text
from dermjax.runs.json_numbers import or_none
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.runs.run_folder import RunFolder, features_of
from dermjax.settings import RunSettings
from dermjax.statistics import measures, probe
from dermjax.training import compile_cache, parallel, processes
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class _Probed:
    """What is probed, and where the probe writes."""

    settings: ProbeSettings
    run: RunFolder
    trained: RunSettings  # the run's, with the labelled subset that is asked for
    dataset: Dataset
    encoder: str  # pretrain, start or finetune
    folder: RunFolder
    writer: Writer


def run(settings: ProbeSettings, workdir: str = "") -> int:
    """Features once, then the probe; returns the process's exit status.

    Args:
      workdir: where the results go; by default the run's own folder.

    Raises:
      ValueError: a user's mistake, in words.
    """
    processes.check_alone("a probe")
    source = RunFolder.named(settings.run)
    own = source.settings()
    data = settings.subset(own.data)
    trained = dataclasses.replace(own, data=data)
    encoder = settings.encoder_of(trained)
    folder = RunFolder(stores.folder(workdir)) if workdir else source
    compile_cache.keep_compiled(cache_dir(data.cache_dir) / "xla")
    writer = Writer()
    with exclusive(folder.path, writer, wait=False):
        dataset = as_recorded(prepare(trained, writer), source, labelled=data == own.data)
        _check_labels(dataset, data.source)
        probed = _Probed(settings, source, trained, dataset, encoder, folder, writer)
        results = _probe(probed, _features(probed))
        path = folder.probe(encoder, data.alpha, data.trial, balanced=settings.balanced)
        write_text(path, json.dumps(results, indent=2) + "\n")
    writer.say("\n" + probe_summary(results, str(path)))
    return 0


def _check_labels(dataset: Dataset, source: str) -> None:
    """Whether there is something to learn and to measure: pretraining alone needs no labels.

    Raises:
      ValueError: fewer than two classes, or no labelled image in a set that the probe needs.
    """
    classes = dataset.classes
    if len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no label at all"
        raise ValueError(f"a probe needs labels, two classes at least, but {source} has {has}")
    for split in ("train", "validation"):
        if not len(dataset.rows(split, labelled=True)):
            raise ValueError(
                f"a probe needs labelled images in the {split} set, but {source} has none there: "
                "each class needs three patients"
            )


def _features(probed: _Probed) -> np.ndarray:
    """`[rows, F]` float32 of every image of the data set; read where they were written before."""
    trained, dataset, encoder = probed.trained, probed.dataset, probed.encoder
    size = probed.settings.image_size or _trained_size(trained, encoder)
    path = probed.folder.encoder_features(encoder)
    mark = {"data": dataset.fingerprint, "image_size": size, "run": str(probed.run)}
    if (found := _read_features(path, json.dumps(mark), dataset)) is not None:
        probed.writer.say(f"features: {len(found)} images, read from {path}")
        return found
    devices, beginning = parallel.all_devices(), networks.begin(trained, probed.writer)
    predictor = Predictor(
        networks.make_encoder(trained, devices),
        dataset,
        devices,
        beginning.preprocessing,
        image_size=size,
        batch_size=probed.settings.batch_size,
    )
    if encoder == "start":
        model = models.create(trained.model.name, num_classes=0)
        variables = beginning.encoder or models.initialize(model, trained.seed)
    else:
        variables, _ = restore(trained, probed.run, encoder)
    rows = np.arange(len(dataset.labels))
    features = predictor(variables, rows)
    known = {name: dataset.frame[name].to_numpy(str) for name in ("label", "patient")}
    known |= {"split": dataset.split.astype(str), "mark": np.array(json.dumps(mark))}
    write_arrays(path, features=features, id=dataset.names(rows), **known)
    shape = f"{features.shape[0]} images x {features.shape[1]}"
    probed.writer.say(f"features: {shape}, written to {path}")
    return features


def _read_features(path: epath.Path, mark: str, dataset: Dataset) -> np.ndarray | None:
    """`[rows, F]` of the images by their names; None where they are not there, or not of all."""
    arrays = read_arrays(path)
    if arrays is None or str(arrays.get("mark")) != mark:
        return None
    return features_of(arrays, dataset.frame["name"].tolist())


def _trained_size(trained: RunSettings, encoder: str) -> int:
    """px the encoder was trained at; of weights from elsewhere, what the run gives them."""
    if encoder == "pretrain" or trained.finetune is None:
        return trained.pretraining.image_size
    return trained.finetune.image_size


def _probe(probed: _Probed, features: np.ndarray) -> dict:
    """The probe's measures on the test set (of a run that has one) and how C was chosen."""
    settings, trained, dataset = probed.settings, probed.trained, probed.dataset
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
        cs=settings.cs,
        score=lambda _, predicted: getattr(measured(validation, predicted), settings.select),
        balanced=settings.balanced,
    )
    results = {
        "task": "probe",
        "run": settings.run,
        "encoder": probed.encoder,
        "model": trained.model.name,
        "strategy": trained.strategy,
        "alpha": trained.data.alpha,
        "trial": trained.data.trial,
        "classes": list(dataset.classes),
        "n": dataset.counts(),
        "balanced": settings.balanced,
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
