"""Stage 3: the selected network on the test set, once."""

import json
from typing import Any

import flax
import jax
import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict
from scipy import special

import dermjax
from dermjax import models
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.predictor import Predictor, write_features
from dermjax.models import Preprocessing
from dermjax.runs.folder import write_text
from dermjax.runs.json_numbers import or_none
from dermjax.statistics import measures
from dermjax.training import parallel

TEST_FEATURES = "test_features.npz"


def evaluate(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    variables: Any,
    preprocessing: Preprocessing,
    workdir: epath.Path,
) -> dict[str, Any]:
    """Predicts the test set once and returns the measures for the results.

    Writes `predictions.csv`, `validation_predictions.csv` (to calibrate on) and, if the config asks
    for them, the test images' features.

    Args:
      variables: of the selected network.
      preprocessing: what it was trained on.
    """
    classifier = networks.make_classifier(config, devices, len(dataset.classes))
    encoder, kernel, bias = models.without_classifier(variables, classifier)
    predictor = Predictor(
        models.create(config.model.name, num_classes=0, dtype=networks.dtype(config, devices)),
        dataset,
        devices,
        preprocessing,
        image_size=config.finetune.image_size,
        batch_size=config.evaluate.batch_size,
    )
    # The logits are made from the features here, so that one pass gives both.
    kernel, bias = np.asarray(kernel), np.asarray(bias)

    def predict(split: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Writes a set's predictions; returns its rows, features and probabilities."""
        rows = dataset.rows(split, labelled=True)
        features = predictor(encoder, rows)
        logits = (features @ kernel + bias).astype(np.float64)
        probabilities = special.softmax(logits, axis=-1)
        _write_predictions(dataset, rows, probabilities, workdir / name)
        return rows, features, probabilities

    predict("validation", "validation_predictions.csv")
    rows, features, probabilities = predict("test", "predictions.csv")
    if config.evaluate.features:
        write_features(workdir / TEST_FEATURES, dataset, rows, features.astype(np.float16))
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
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    measured: dict[str, Any],
    *,
    path: epath.Path,
    seconds: dict[str, float],
    weights: dict[str, Any],
    pretraining: str | None,
) -> dict[str, Any]:
    """`results.json`, the mark of a finished run."""
    results = {
        "task": config.task,
        "strategy": config.strategy,
        "alpha": config.data.alpha,
        "trial": config.data.trial,
        "model": config.model.name,
        "classes": list(dataset.classes),
        "n": dataset.counts(),
        "excluded": dataset.excluded,
        "allowed": dataset.allowed,
        "sets": _origin_of_sets(dataset),
        "without_patient": dataset.without_patient,
        **measured,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "weights": weights,
        "pretraining": pretraining,
        "versions": {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "dermjax": dermjax.__version__,
        },
        "devices": {"kind": devices.kind, "count": devices.count},
        "data_fingerprint": dataset.fingerprint,
    }
    write_text(path, json.dumps(results, indent=2) + "\n")
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


def _write_predictions(dataset, rows, probabilities, path: epath.Path) -> None:
    """One line per image: label, answer, and a probability per class."""
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
    write_text(path, table.to_csv(index=False, float_format="%.7g"))
