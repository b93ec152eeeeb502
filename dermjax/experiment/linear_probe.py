"""Frozen features of a run's encoder: written out, and measured by a linear probe."""

import dataclasses
import json

import numpy as np

from dermjax import stores
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.encoder_features import Encoder, features_of_all
from dermjax.experiment.probe_settings import ProbeSettings
from dermjax.experiment.summary import probe_summary
from dermjax.runs.files import write_text
from dermjax.runs.json_numbers import or_none
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.statistics import measures, probe
from dermjax.training import compile_cache, processes
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class _Probed:
    """What is probed."""

    settings: ProbeSettings
    trained: RunSettings  # the run's, with the labelled subset that is asked for
    dataset: Dataset
    encoder: str  # pretrain, start or finetune


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
        known = Encoder(source, trained, encoder, settings.image_size, settings.batch_size)
        features = features_of_all(known, dataset, folder, writer)
        results = _probe(_Probed(settings, trained, dataset, encoder), features)
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
