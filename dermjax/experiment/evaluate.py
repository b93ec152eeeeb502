"""Stage 3: the selected network on the test set, once."""

from typing import Any

import flax
import jax
import numpy as np
import pandas as pd
from scipy import special

import dermjax
from dermjax.experiment import reference
from dermjax.experiment.class_predictor import ClassPredictor
from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import Dataset
from dermjax.runs.files import write_arrays
from dermjax.runs.json_numbers import or_none
from dermjax.statistics import measures


def evaluate(run: RunContext, variables: Any) -> dict[str, Any]:
    """Predicts the test set once and returns the measures for the results.

    Writes the predictions of the test and of the validation images, what answers on new photographs
    are judged by and, if the settings ask for them, the test images' features.

    Args:
      variables: of the selected network.
    """
    settings, dataset = run.settings, run.dataset
    predictor = ClassPredictor(
        settings,
        run.devices,
        run.preprocessing,
        dataset,
        variables,
        classes=len(dataset.classes),
        batch_size=settings.evaluate.batch_size,
    )
    known = {}
    for split in ("validation", "test"):
        rows = dataset.rows(split, labelled=True)
        known[split] = features, logits = predictor(rows)
        probabilities = special.softmax(logits, axis=-1)
        run.folder.write_predictions(_predictions(dataset, rows, probabilities), split)
    if settings.evaluate.features:
        write_arrays(
            run.folder.test_features,
            features=features.astype(np.float16),
            id=dataset.names(rows),
        )
    reference.write(run.folder, reference.make(predictor, dataset, known))
    predicted = probabilities.argmax(-1)
    measured = measures.measure(dataset.labels[rows], predicted, len(dataset.classes))
    return {
        "accuracy": measured.accuracy,
        "macro_precision": measured.macro_precision,
        "macro_sensitivity": measured.macro_sensitivity,
        "per_class": {
            name: {
                "precision": or_none(measured.precision[i]),
                "sensitivity": or_none(measured.sensitivity[i]),
                "n": int(measured.n[i]),
            }
            for i, name in enumerate(dataset.classes)
        },
        "confusion_matrix": measured.confusion_matrix.tolist(),
    }


def write_results(
    run: RunContext,
    measured: dict[str, Any],
    *,
    seconds: dict[str, float],
    pretraining: str | None,
) -> dict[str, Any]:
    """Writes the results, the mark of a finished run, and returns them.

    Args:
      measured: what `evaluate` found, or the last look of pretraining's monitor.
      seconds: by stage.
      pretraining: its folder; None of strategies without.
    """
    settings, dataset, devices = run.settings, run.dataset, run.devices
    results = {
        "task": settings.task,
        "strategy": settings.strategy,
        "alpha": settings.data.alpha,
        "trial": settings.data.trial,
        "model": settings.model.name,
        "classes": list(dataset.classes),
        "n": dataset.counts(),
        "excluded": dataset.excluded,
        "allowed": dataset.allowed,
        "sets": _origin_of_sets(dataset),
        "without_patient": dataset.without_patient,
        **measured,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "weights": run.beginning.record(),
        "pretraining": pretraining,
        "versions": {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "dermjax": dermjax.__version__,
        },
        "devices": {"kind": devices.kind, "count": devices.count},
        "data_fingerprint": dataset.fingerprint,
    }
    run.folder.write_results(results)
    return results


def _origin_of_sets(dataset: Dataset) -> str:
    """Whether the data came with their sets: `given`, `given without validation`, or `made`."""
    if dataset.manifest is None:
        return "given"
    frame = dataset.manifest.frame
    given = set(frame["split"][frame["exclude"] != "all"]) - {""}
    if not given:
        return "made"
    return "given" if "validation" in given else "given without validation"


def _predictions(dataset: Dataset, rows: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """A row for each image: label, prediction, and a probability of each class."""
    frame, predicted = dataset.frame.iloc[rows], probabilities.argmax(-1)
    table = pd.DataFrame(
        {
            "image": frame["name"],
            "patient": frame["patient"],
            "label": frame["label"],
            "predicted": [dataset.classes[i] for i in predicted],
        }
    )
    for i, name in enumerate(dataset.classes):
        table[f"p_{name}"] = probabilities[:, i]
    return table
