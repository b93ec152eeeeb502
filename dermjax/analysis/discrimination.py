"""How well probabilities rank the images of a class above the others, whatever the threshold.

Letters: B images, N classes.
"""

from collections.abc import Callable

import numpy as np
from sklearn import metrics

from dermjax.analysis import labelled


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Area under each class's one-vs-rest ROC curve `[N]`, in [0, 1]; chance is .5.

    The chance that an image of the class gets more of its probability than one of another class,
    equal ones counting half (Hanley & McNeil 1982).

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.

    Returns:
      NaN for a class without images, or without images of other classes.

    Raises:
      ValueError: no images, other shapes, labels outside [0, N), or scores that are not finite.
    """
    return _one_vs_rest(metrics.roc_auc_score, labels, probabilities)


def auprc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Average precision of each class against the rest `[N]`, in (0, 1].

    The sum of precision times growth in sensitivity over all thresholds, not interpolated (Davis &
    Goadrich 2006, on why not). Chance is the class's share of the images, so that values
    of a rare and of a common class are not comparable.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.

    Returns:
      NaN for a class without images, or without images of other classes.

    Raises:
      ValueError: see `auroc`.
    """
    return _one_vs_rest(metrics.average_precision_score, labels, probabilities)


def macro(values: np.ndarray) -> float:
    """Unweighted mean of `[N]` over the classes that have a value; NaN when none has."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int = 3) -> float:
    """Share of images whose class is among the k likeliest, in [0, 1].

    Of equal probabilities the first classes are taken, as argmax does: k = 1 is the accuracy.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.
      k: in [1, N].

    Raises:
      ValueError: k outside [1, N], or see `auroc`.
    """
    labels, probabilities = labelled.scores(labels, probabilities)
    classes = probabilities.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"k = {k} must lie in [1, {classes}], the classes; min(k, N) does")
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((likeliest == labels[:, None]).any(1).mean())


def _one_vs_rest(score: Callable, labels, probabilities) -> np.ndarray:
    """A score of every class that has both positives and negatives."""
    labels, probabilities = labelled.scores(labels, probabilities)
    n = np.bincount(labels, minlength=probabilities.shape[1])
    return np.array(
        [
            score(labels == c, probabilities[:, c]) if 0 < n[c] < len(labels) else np.nan
            for c in range(len(n))
        ]
    )
