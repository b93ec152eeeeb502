"""Stage 3: the selected network on the test set, once."""

import functools
import json
from typing import Any

import flax
import jax
import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

import dermjax
from dermjax.analysis import measures
from dermjax.data import augment
from dermjax.models import Preprocessing
from dermjax.stages import network
from dermjax.stages.prepare import Dataset
from dermjax.stages.workdir import write_text
from dermjax.steps import classify
from dermjax.training import parallel, predict


class Predictor:
    """Logits of a classifier over rows of the data set; compiled once."""

    def __init__(
        self,
        config: ConfigDict,
        dataset: Dataset,
        devices: parallel.Devices,
        preprocessing: Preprocessing,
    ):
        model = network.make_classifier(config, devices, len(dataset.classes))
        step = functools.partial(
            classify.predict_step,
            apply=model.apply,
            normalize=functools.partial(
                augment.normalize, mean=preprocessing.mean, std=preprocessing.std
            ),
        )
        self._step = devices.map_predict_step(step)
        self._dataset = dataset
        self._size = config.finetune.image_size
        self._interpolation = preprocessing.interpolation
        # Predicting pads, so any batch will do: round up to a multiple of the devices.
        self._batch = -(-config.evaluate.batch_size // devices.count) * devices.count

    def __call__(self, variables: Any, rows: np.ndarray) -> np.ndarray:
        """`[len(rows), N]` float32, in the order of `rows`."""
        batches = self._dataset.evaluation_batches(
            rows, size=self._size, interpolation=self._interpolation, batch_size=self._batch
        )
        return predict.predict_all(self._step, variables, batches, rows)


def evaluate(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    variables: Any,
    preprocessing: Preprocessing,
    workdir: epath.Path,
) -> dict[str, Any]:
    """Predicts the test set, writes `predictions.csv`, and returns the measures for the results.

    Args:
      variables: of the selected network.
      preprocessing: what it was trained on.
    """
    rows = dataset.rows("test", labelled=True)
    predictor = Predictor(config, dataset, devices, preprocessing)
    probabilities = measures.softmax(predictor(variables, rows))
    predicted = probabilities.argmax(-1)
    _write_predictions(dataset, rows, probabilities, predicted, workdir / "predictions.csv")
    measured = measures.measure(dataset.labels[rows], predicted, len(dataset.classes))
    return {
        "accuracy": measured.accuracy,
        "macro_precision": measured.macro_precision,
        "macro_sensitivity": measured.macro_sensitivity,
        "per_class": {
            name: {
                "precision": _or_none(measured.precision[i]),
                "sensitivity": _or_none(measured.sensitivity[i]),
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
    path: epath.Path,
    *,
    measured: dict[str, Any],
    best_step: int,
    seconds: dict[str, float],
    weights: dict[str, Any],
    pretraining: str | None,
) -> dict[str, Any]:
    """`results.json`, the mark of a finished run."""
    results = {
        "strategy": config.strategy,
        "alpha": config.data.alpha,
        "trial": config.data.trial,
        "model": config.model.name,
        "classes": list(dataset.classes),
        "n": dataset.counts(),
        "excluded": dataset.excluded,
        **measured,
        "best_step": best_step,
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


def _write_predictions(dataset, rows, probabilities, predicted, path: epath.Path) -> None:
    """`predictions.csv`: one line per test image."""
    frame = dataset.frame.iloc[rows]
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


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
