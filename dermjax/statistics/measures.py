"""Measures of a classifier as the paper has them: accuracy, precision, sensitivity by class."""

import dataclasses

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True)
class ClassificationMeasures:
    """Measures over N classes; arrays are `[N]`, NaN where a class has no images."""

    confusion_matrix: np.ndarray  # [N, N] int, rows are true classes, columns predicted
    accuracy: float
    precision: np.ndarray  # 0 for a class that is never predicted
    sensitivity: np.ndarray
    n: np.ndarray  # images per true class

    @property
    def macro_precision(self) -> float:
        """Unweighted mean over the classes that have images."""
        return float(np.nanmean(self.precision))

    @property
    def macro_sensitivity(self) -> float:
        """Unweighted mean over the classes that have images (also called balanced accuracy)."""
        return float(np.nanmean(self.sensitivity))


def measure(labels: np.ndarray, predicted: np.ndarray, classes: int) -> ClassificationMeasures:
    """Measures from labels and predictions, `[B]` int in [0, classes).

    A class without images has neither precision nor sensitivity and stays out of the macro means;
    predicting it still costs accuracy and the sensitivity of the true class.

    Raises:
      ValueError: no images, or arrays of different length.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.size == 0 or labels.shape != predicted.shape:
        raise ValueError(
            f"measures need as many predictions as labels and at least one; got "
            f"{predicted.size} and {labels.size}"
        )
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    confusion = cells.reshape(classes, classes)
    hits, n, answers = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    present = n > 0
    precision = np.where(present, hits / np.maximum(answers, 1), np.nan)
    sensitivity = np.where(present, hits / np.maximum(n, 1), np.nan)
    return ClassificationMeasures(
        confusion_matrix=confusion,
        accuracy=float(hits.sum() / labels.size),
        precision=precision,
        sensitivity=sensitivity,
        n=n,
    )


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean negative log-likelihood in nats of `labels [B]` under softmax of `logits [B, N]`."""
    log_probabilities = special.log_softmax(logits.astype(np.float64), axis=-1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
