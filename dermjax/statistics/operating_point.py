"""A threshold on the probability of each class for a wished sensitivity, and what it does on test.

An image is positive for a class if its probability of the class is at least the threshold. The
threshold is chosen on validation images as the largest one with which a random image of the class,
of a random new patient who has such images, is positive with at least the wished probability: a
quantile in which every patient weighs the same (see `patientwise`). That holds on average over
draws of the validation patients, and for patients like them. Sensitivity and specificity are means
over patients too.

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
class OperatingPoints(ClassRule):
    """The threshold of each class.

    Attributes:
      sensitivity: The wished one, in (0, 1).
      thresholds: `[N]` in [0, 1], NaN for a class of too few patients.
      patients: `[N]` int, the validation patients who have images of the class.
    """

    name: ClassVar[str] = "operating points"
    absent: ClassVar[float] = math.nan
    arrays: ClassVar[Mapping[str, DTypeLike]] = {"thresholds": np.float64, "patients": np.int64}
    sensitivity: float
    thresholds: np.ndarray
    patients: np.ndarray


@dataclasses.dataclass(frozen=True)
class OperatingMeasures:
    """How a class's threshold did on test images; every patient weighs the same.

    An estimate is NaN where the class has no threshold, or where no images define it.
    """

    threshold: float
    patients: int  # who have images of the class
    images: int  # of the class
    sensitivity: Estimate  # fraction of the images of the class that are positive
    other_patients: int  # who have images of other classes
    other_images: int
    specificity: Estimate  # fraction of the images of other classes that are negative


def fit(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    sensitivity: float = 0.9,
) -> OperatingPoints:
    """Chooses the thresholds on VALIDATION images, which were not trained on.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]` as the network will give them: of the same temperature and views.
      patients: `[B]`, the patient of each image; any type that sorts.
      sensitivity: in (0, 1). Of .9 a class needs 9 patients for a threshold, of .95 it needs 19.

    Raises:
      ValueError: no images, other shapes, a value that is no probability, or the sensitivity is
        outside (0, 1).
    """
    labels, probabilities = arguments.probabilities(labels, probabilities)
    patients = patientwise.checked(patients, len(labels))
    if not 0 < sensitivity < 1:
        raise ValueError(f"sensitivity = {sensitivity} must lie in (0, 1); .9 is usual")
    thresholds, people = [], []
    for c in range(probabilities.shape[1]):
        own, theirs = probabilities[labels == c, c], patients[labels == c]
        thresholds.append(-patientwise.upper_quantile(-own, theirs, sensitivity))
        people.append(len(np.unique(theirs)))
    return OperatingPoints(
        sensitivity=float(sensitivity),
        thresholds=np.where(np.isfinite(thresholds), thresholds, np.nan),
        patients=np.array(people),
    )


def positive(points: OperatingPoints, probabilities: np.ndarray) -> np.ndarray:
    """Which classes each image is positive for, `[B, N]` bool; none that has no threshold.

    Args:
      points: see `fit`.
      probabilities: `[B, N]`.

    Raises:
      ValueError: no images, values that are no probabilities, or another number of classes.
    """
    _, probabilities = arguments.probabilities(np.zeros(len(probabilities), int), probabilities)
    if probabilities.shape[1] != len(points.thresholds):
        raise ValueError(
            f"probabilities of {probabilities.shape[1]} classes for thresholds of "
            f"{len(points.thresholds)}: fit thresholds for this network"
        )
    return probabilities >= points.thresholds


def measure(
    points: OperatingPoints, labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray
) -> tuple[OperatingMeasures, ...]:
    """Measures the thresholds on TEST images, each of N classes against the rest.

    Args:
      points: see `fit`.
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`.
      patients: `[B]`, the patient of each image; any type that sorts.

    Raises:
      ValueError: no images, other shapes, a value that is no probability, or another number of
        classes than the thresholds have.
    """
    labels, probabilities = arguments.probabilities(labels, probabilities)
    patients = patientwise.checked(patients, len(labels))
    answers = positive(points, probabilities)
    nothing = Estimate(math.nan, math.nan, math.nan)

    def of_class(c: int) -> OperatingMeasures:
        own, there = labels == c, not math.isnan(points.thresholds[c])
        return OperatingMeasures(
            threshold=float(points.thresholds[c]),
            patients=len(np.unique(patients[own])),
            images=int(own.sum()),
            sensitivity=patientwise.mean(answers[own, c], patients[own]) if there else nothing,
            other_patients=len(np.unique(patients[~own])),
            other_images=int((~own).sum()),
            specificity=patientwise.mean(~answers[~own, c], patients[~own]) if there else nothing,
        )

    return tuple(of_class(c) for c in range(len(points.thresholds)))
