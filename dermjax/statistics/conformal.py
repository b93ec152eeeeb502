"""Prediction sets that hold the true class of a new patient's image with a wished probability.

Split conformal prediction by class (Vovk 2012; Sadinle, Lei & Wasserman 2019): a class is in the
set if its score is at most the quantile of the scores that validation images of the class have.
Patients, not images, are taken as exchangeable (see `patientwise`). A class of so few validation
patients that no finite quantile exists takes the quantile pooled over all classes, the "null
cluster" of Ding et al. 2023 ("Class-conditional conformal prediction with many classes"), or the
largest score of its own images where that is larger [ours]: simulated with a class of five patients
that is seldom recognised, its images were then in the set in 84 % instead of 61 %. Of such a class
the wished coverage is not guaranteed.

The score of a class is 1 - its probability, and 0 for the likeliest class [ours]. So the likeliest
class is in every set, no set is empty, and sets are never larger than those that calibrate
1 - probability and add the likeliest class afterwards.

What is guaranteed, for each class c with enough patients: of a random image of class c of a random
new patient who has such images, the set holds c with probability at least `coverage`. It is an
average over draws of the validation patients. It presumes that nothing else was fitted to them: a
checkpoint or temperature that was chosen on the same patients makes it approximate (simulated with
7 classes and 60 patients, a temperature fitted to them changed the coverage by less than .001). It
says nothing about patients of another clinic.

Letters: B images, N classes, G patients.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from dermjax.statistics import arguments, patientwise
from dermjax.statistics.class_rule import ClassRule
from dermjax.statistics.intervals import Estimate


@dataclasses.dataclass(frozen=True)
class SetRule(ClassRule):
    """Which classes a prediction set holds; arrays are `[N]`.

    Attributes:
      coverage: The wished probability, in (0, 1).
      quantiles: The largest score in [0, 1] with which a class is in the set. It is 0 for a class
        that is in the set only as the likeliest, and infinity for one that is in every set.
      patients: The number of validation patients (int) who have images of the class.
      guaranteed: Whether the class has patients enough for a quantile of its own (bool).
    """

    name: ClassVar[str] = "a rule of prediction sets"
    absent: ClassVar[float] = math.inf
    arrays: ClassVar[Mapping[str, DTypeLike]] = {
        "quantiles": np.float64,
        "patients": np.int64,
        "guaranteed": np.bool_,
    }
    coverage: float
    quantiles: np.ndarray
    patients: np.ndarray
    guaranteed: np.ndarray


@dataclasses.dataclass(frozen=True)
class SetMeasures:
    """How prediction sets did on test images; every patient weighs the same, NaN without images."""

    patients: int
    images: int
    coverage: Estimate  # in [0, 1], mean over patients of the fraction of their images covered
    size: float  # in [1, N], mean over patients of their sets' mean number of classes


@dataclasses.dataclass(frozen=True)
class SetReport:
    """The measures of images of each true class, and of all images."""

    by_class: tuple[SetMeasures, ...]  # N
    overall: SetMeasures


def fit(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, coverage: float = 0.9
) -> SetRule:
    """Fits the rule to VALIDATION images, which were not trained on.

    A higher coverage asks for more patients, so that a class may lose its guarantee by it; its sets
    never become smaller.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]` as the network will give them: of the same temperature and views.
      patients: `[B]`, the patient of each image; any type that sorts.
      coverage: in (0, 1). Of .9 a class needs 9 patients for a guarantee, of .95 it needs 19.

    Raises:
      ValueError: no images, other shapes, a value that is no probability, or the coverage is
        outside (0, 1).
    """
    labels, probabilities = arguments.probabilities(labels, probabilities)
    patients = patientwise.checked(patients, len(labels))
    if not 0 < coverage < 1:
        raise ValueError(f"coverage = {coverage} must lie in (0, 1); .9 is usual")
    own = _scores(probabilities)[np.arange(len(labels)), labels]
    quantiles, people = [], []
    for c in range(probabilities.shape[1]):
        rows = labels == c
        quantiles.append(patientwise.upper_quantile(own[rows], patients[rows], coverage))
        people.append(len(np.unique(patients[rows])))
    pooled = patientwise.upper_quantile(own, patients, coverage)
    largest = [own[labels == c].max(initial=pooled) for c in range(probabilities.shape[1])]
    guaranteed = np.isfinite(quantiles)
    return SetRule(
        coverage=float(coverage),
        quantiles=np.where(guaranteed, quantiles, largest),
        patients=np.array(people),
        guaranteed=guaranteed,
    )


def sets(rule: SetRule, probabilities: np.ndarray) -> np.ndarray:
    """Which classes are in the set of each image, `[B, N]` bool; the likeliest always is.

    Args:
      rule: see `fit`.
      probabilities: `[B, N]`; of equal ones the first class is the likeliest.

    Raises:
      ValueError: no images, values that are no probabilities, or another number of classes.
    """
    _, probabilities = arguments.probabilities(np.zeros(len(probabilities), int), probabilities)
    if probabilities.shape[1] != len(rule.quantiles):
        raise ValueError(
            f"probabilities of {probabilities.shape[1]} classes for a rule of "
            f"{len(rule.quantiles)}: fit a rule for this network"
        )
    return _scores(probabilities) <= rule.quantiles


def measure(labels: np.ndarray, sets: np.ndarray, patients: np.ndarray) -> SetReport:
    """Measures sets on TEST images, by true class and overall.

    The coverage of a class is what `fit` guarantees. That of all images follows where every
    class is guaranteed and a patient has images of one class only; it is measured all the same.

    Args:
      labels: `[B]` int in [0, N).
      sets: `[B, N]` bool.
      patients: `[B]`, the patient of each image; any type that sorts.

    Raises:
      ValueError: no images, other shapes, or labels outside [0, N).
    """
    labels, members = arguments.scores(labels, sets)
    patients = patientwise.checked(patients, len(labels))
    covered = members[np.arange(len(labels)), labels]
    sizes = members.sum(1)

    def measures(rows: np.ndarray) -> SetMeasures:
        own = patientwise.patient_means(sizes[rows], patients[rows])
        return SetMeasures(
            patients=len(own),
            images=int(rows.sum()),
            coverage=patientwise.mean(covered[rows], patients[rows]),
            size=float(own.mean()) if len(own) else math.nan,
        )

    return SetReport(
        by_class=tuple(measures(labels == c) for c in range(members.shape[1])),
        overall=measures(np.ones(len(labels), bool)),
    )


def _scores(probabilities: np.ndarray) -> np.ndarray:
    """Scores `[B, N]` in [0, 1]: 1 - probability, 0 for the likeliest class."""
    scores = np.maximum(1 - probabilities, 0)  # a rounded probability may exceed 1
    scores[np.arange(len(scores)), probabilities.argmax(1)] = 0
    return scores
