"""Linear probe: how well one linear layer tells the classes apart in frozen features."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

_ITERATIONS = 1000


@dataclasses.dataclass(frozen=True)
class Probe:
    """The chosen classifier and how it was chosen."""

    classifier: Pipeline  # predict_proba: features -> a column per class of `classes`
    classes: np.ndarray  # int labels that it knows, ascending
    c: float  # inverse strength of the L2 penalty
    scores: dict[float, float]  # C -> score on validation
    converged: bool  # of the chosen one


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    choose_on: tuple[np.ndarray, np.ndarray],
    cs: Sequence[float],
    score: Callable[[np.ndarray, np.ndarray], float],
    balanced: bool = False,
) -> Probe:
    """Logistic regression on standardised features, C chosen on other images.

    Args:
      features: `[L, F]`, of the labelled training images, which alone set mean and spread.
      labels: `[L]` int.
      choose_on: features `[V, F]` and labels `[V]` of the validation images.
      cs: the C to try, all > 0. Of equal scores the smallest C, the simplest classifier, is taken.
      score: (labels `[V]`, predicted `[V]`) -> higher is better.
      balanced: Whether each class weighs the same in the loss, however many images it has.

    Raises:
      ValueError: fewer than two classes are labelled, or there is no C.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"a probe needs labels of at least 2 classes, not of {len(classes)}")
    if not len(cs) or min(cs) <= 0:
        raise ValueError(f"C must be above 0 and at least one be given, not {list(cs)}")
    tried = {}
    weights = "balanced" if balanced else None
    for c in sorted(cs):
        regression = LogisticRegression(C=c, class_weight=weights, max_iter=_ITERATIONS)
        classifier = make_pipeline(StandardScaler(), regression)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` tells
            classifier.fit(features, labels)
        tried[c] = (score(choose_on[1], classifier.predict(choose_on[0])), classifier)
    best = max(tried, key=lambda c: (tried[c][0], -c))
    chosen = tried[best][1]
    return Probe(
        classifier=chosen,
        classes=classes,
        c=float(best),
        scores={float(c): float(found) for c, (found, _) in tried.items()},
        converged=bool(chosen[-1].n_iter_.max() < _ITERATIONS),
    )
