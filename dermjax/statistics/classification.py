"""Accuracy, sensitivity, precision and their like of several networks, with patients' influences.

All are ratios of sums over images: without a patient a ratio r of sums n / d falls by
(n_g - r d_g) / (d - d_g), n_g and d_g being the patient's own.

Letters: B images, N classes, T trials, G patients.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import sparse

from dermjax.statistics.measurement import ByClass, Measurement

_Parts = tuple[np.ndarray, np.ndarray]  # numerators and denominators [B, N], bool or int

# By name: of truth and answer, both [B, N] one-hot bool, what is counted among what.
_RATIOS: dict[str, Callable[[np.ndarray, np.ndarray], _Parts]] = {
    "sensitivity": lambda truth, answer: (truth & answer, truth),
    "precision": lambda truth, answer: (truth & answer, answer),
    "specificity": lambda truth, answer: (~truth & ~answer, ~truth),
    "npv": lambda truth, answer: (~truth & ~answer, ~answer),
    "f1": lambda truth, answer: (2 * (truth & answer), truth.astype(int) + answer),
}
BY_CLASS = tuple(_RATIOS)
OVERALL = ("accuracy", "macro_precision", "macro_sensitivity", "macro_f1")


def overall(
    name: str, labels: np.ndarray, predicted: np.ndarray, patients: np.ndarray, classes: int
) -> Measurement:
    """A measure with one number for each trial.

    Args:
      name: `accuracy`, or `macro_` and a name of `BY_CLASS`.
      labels: `[B]` int in [0, N).
      predicted: `[T, B]` int in [0, N) of the trials, or `[B]` of one run.
      patients: `[B]` int in [0, G), the patient of each image.
      classes: N.

    Raises:
      ValueError: no images, arrays of different length, or a class outside [0, N).
    """
    if name != "accuracy":
        return by_class(name.removeprefix("macro_"), labels, predicted, patients, classes).macro()
    labels, predicted = _checked(labels, predicted, patients, classes)
    right = (predicted == labels)[:, :, None]
    return means(right, patients).of(0)


def by_class(
    name: str, labels: np.ndarray, predicted: np.ndarray, patients: np.ndarray, classes: int
) -> ByClass:
    """A measure with a number for each class and trial.

    A class without images has none (NaN). What is never answered counts as 0: the precision of a
    class that is never predicted, the NPV of one that is always predicted; no patient stands
    behind such a number. Specificity is not defined without images of other classes.

    Args:
      name: of `BY_CLASS`; the others as in `overall`.

    Raises:
      ValueError: see `overall`.
    """
    labels, predicted = _checked(labels, predicted, patients, classes)
    truth = np.eye(classes, dtype=bool)[labels]
    parts = [_RATIOS[name](truth, np.eye(classes, dtype=bool)[answers]) for answers in predicted]
    there = truth.any(0) & ((~truth).any(0) if name == "specificity" else True)
    # F1 is about the images of the class, though those of others count in it.
    return _ratios(parts, patients, there, behind=truth if name == "f1" else None)


def means(values: np.ndarray, patients: np.ndarray, bounded: bool = True) -> ByClass:
    """Means over images, a column being what a class is elsewhere.

    Args:
      values: `[T, B, C]` in [0, 1]; at least 0 where they are not bounded.
      patients: `[B]` int in [0, G), the patient of each image.
      bounded: whether no value exceeds 1.
    """
    whole = np.ones(values.shape[1:], bool)
    found = _ratios([(part, whole) for part in values], patients, np.any(whole, 0))
    return found if bounded else dataclasses.replace(found, bounded=False, least=0.0)


def _ratios(
    parts: list[_Parts],
    patients: np.ndarray,
    there: np.ndarray,
    *,
    behind: np.ndarray | None = None,
) -> ByClass:
    """Ratios of sums of all trials, with influences; NaN where a class is not `there`.

    They rest on the images `behind [B, N]`, by default all that have a denominator in some trial.
    """
    member = by_patient(patients, len(parts[0][0]))
    values, influences = [], []
    for numerators, denominators in parts:
        whole, own = denominators.sum(0), member @ denominators  # [N] and [G, N]
        value = numerators.sum(0) / np.maximum(whole, 1)
        lost = (member @ numerators - value * own) / np.maximum(whole - own, 1)
        values.append(np.where(there, value, np.nan))
        # The ratio of a single patient does not exist without the patient: no variance is seen.
        influences.append(np.where(there & (own < whole), lost, 0) * small_sample(own))
    if behind is None:
        behind = np.any([denominators > 0 for _, denominators in parts], 0)
    behind = behind & there
    theirs = (member @ behind) > 0  # [G, N]
    return ByClass(
        np.array(values),
        np.array(influences),
        images=behind.sum(0),
        patients=theirs.sum(0),
        people=theirs.any(1).sum(),
    )


def by_patient(patients: np.ndarray, images: int) -> sparse.csr_array:
    """The matrix `[G, B]` that sums over each patient's images.

    Args:
      patients: `[B]` int in [0, G).
      images: B.

    Raises:
      ValueError: not as many patients as images.
    """
    if np.shape(patients) != (images,):
        raise ValueError(f"{np.shape(patients)} patients of {images} images must be as many")
    places = (patients, np.arange(images))
    return sparse.csr_array((np.ones(images), places), (int(np.max(patients)) + 1, images))


def small_sample(own: np.ndarray) -> np.ndarray:
    """The factor `[N]` by which the jackknife's changes become influences: ((n - 1) / n) ** .5.

    Args:
      own: `[G, N]`, what each patient has; n are those that have anything.
    """
    n = (own > 0).sum(0)
    return np.sqrt(np.maximum(n - 1, 0) / np.maximum(n, 1))


def _checked(labels, predicted, patients, classes) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels), np.atleast_2d(predicted)
    if labels.size == 0 or not labels.shape == predicted.shape[1:] == np.shape(patients):
        raise ValueError(
            f"labels, predictions and patients must be as many and at least one; got "
            f"{labels.shape}, {predicted.shape[1:]} and {np.shape(patients)}"
        )
    low, high = min(labels.min(), predicted.min()), max(labels.max(), predicted.max())
    if low < 0 or high >= classes:
        raise ValueError(f"classes from {low} to {high} must lie in [0, {classes})")
    return labels, predicted
