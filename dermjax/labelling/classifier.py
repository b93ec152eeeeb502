"""The classifier that says what is uncertain: a balanced linear probe, C chosen on its own labels.

Letters: L labelled photographs, F features, N classes.
"""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

CS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # inverse strengths of the penalty
_FOLDS = 3
_ITERATIONS = 300
_LEAST = 1e-6  # probability of a class that a fold's classifier knows, so that no loss is infinite


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A logistic regression on standardised features; of one class alone it says always that.

    Attributes:
      classes: int, those that it knows, ascending.
      c: inverse strength of the penalty; NaN where nothing was fitted.
      scaling: what the features go through first.
      regression: None where nothing was fitted.
    """

    classes: np.ndarray
    c: float
    scaling: Pipeline | None = None
    regression: LogisticRegression | None = None

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """`[M, len(classes)]`, rows sum to 1."""
        if self.regression is None or self.scaling is None:
            return np.ones((len(features), 1))
        return self.regression.predict_proba(self.scaling.transform(features))


def fit(
    features: np.ndarray, labels: np.ndarray, patients: np.ndarray, cs: Sequence[float] = CS
) -> Classifier:
    """Fits to all labels, with the C of the least loss on patients that were held out.

    No image but the labelled ones is looked at: C has the least balanced log loss over three folds,
    each patient being in one. A held-out image whose class the other folds lack says nothing of C
    and is left out; where none is left, the smallest C, the simplest classifier, is taken.

    Args:
      features: `[L, F]`.
      labels: `[L]` int.
      patients: `[L]` int.
      cs: the C to try, all above 0.

    Raises:
      ValueError: there is no label.
    """
    classes = np.unique(labels)
    if not len(classes):
        raise ValueError("a classifier needs labels, and there is none: take method=typicality")
    if len(classes) < 2:
        return Classifier(classes, float("nan"))
    tried = sorted(cs)
    if len(tried) > 1:
        losses = _losses(features, labels, patients, tried)
        tried = [tried[int(np.argmin(losses))]]
    scaling = _scaling(features)
    regression = _regression(scaling.transform(features), labels, tried[0])
    return Classifier(classes, tried[0], scaling, regression)


def _losses(
    features: np.ndarray, labels: np.ndarray, patients: np.ndarray, cs: Sequence[float]
) -> list[float]:
    """The balanced log loss of each C on held-out patients, in nats; 0 where there are none."""
    folds = min(_FOLDS, len(np.unique(patients)))
    if folds < 2:
        return [0.0] * len(cs)
    splits = list(GroupKFold(folds, shuffle=True, random_state=0).split(features, labels, patients))
    loss = np.full((len(cs), len(labels)), np.nan)
    for train, held in splits:
        known = np.unique(labels[train])
        held = held[np.isin(labels[held], known)]
        if len(known) < 2 or not len(held):
            continue
        scaling = _scaling(features[train])
        inner, outer = scaling.transform(features[train]), scaling.transform(features[held])
        place = np.arange(len(held)), np.searchsorted(known, labels[held])
        for number, c in enumerate(cs):
            told = _regression(inner, labels[train], c).predict_proba(outer)
            loss[number, held] = -np.log(np.maximum(told[place], _LEAST))
    there = ~np.isnan(loss[0])
    if not there.any():
        return [0.0] * len(cs)
    classes = np.unique(labels[there])
    return [float(np.mean([one[there & (labels == k)].mean() for k in classes])) for one in loss]


def _scaling(features: np.ndarray) -> Pipeline:
    """To mean 0 and spread 1; of few images on to the directions in which they differ at all.

    The penalised weights have no part in other directions: the classifier is the same, and sooner
    found.
    """
    few = len(features) < features.shape[1]
    steps = (StandardScaler(), PCA(svd_solver="full")) if few else (StandardScaler(),)
    return make_pipeline(*steps).fit(features)


def _regression(features: np.ndarray, labels: np.ndarray, c: float) -> LogisticRegression:
    """Fitted; each class weighs the same in the loss, however many images it has."""
    regression = LogisticRegression(C=c, class_weight="balanced", max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regression.fit(features, labels)
