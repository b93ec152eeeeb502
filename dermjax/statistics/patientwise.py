"""Quantiles and means that hold for a random image of a new patient: every patient weighs the same.

Images of one patient resemble each other, and some patients have many more of them than others. A
quantile of all images is therefore one of fewer observations than it seems, and one of the patients
with many images. Lee, Barber & Willett (2023, "Distribution-free inference with hierarchical data")
give each of G patients the weight 1 / (G + 1), spread evenly over the patient's images, and the
remaining 1 / (G + 1) to infinity, which stands for the patient who is still to come.

Letters: B images, G patients.
"""

import math

import numpy as np

from dermjax.statistics import classification
from dermjax.statistics.intervals import Estimate

_ROUNDING = 1e-9  # of the number of patients: sums of their weights are exact to this


def upper_quantile(values: np.ndarray, patients: np.ndarray, level: float) -> float:
    """The value that a new patient's random image does not exceed with a chance of `level`.

    The chance is at least that on average over draws of these G patients, if they and the new one
    are exchangeable, whatever the distributions of the values and of the numbers of images
    (hierarchical conformal prediction, Lee, Barber & Willett 2023). It varies from draw to draw:
    with one image each, the fraction of new patients at or below the quantile has about the
    standard deviation (level (1 - level) / (G + 2)) ** .5 (Angelopoulos & Bates 2021, section 3.2),
    .03 of 100 patients at .9.

    Args:
      values: `[B]`, finite.
      patients: `[B]`, the patient of each image; any type that sorts.
      level: in (0, 1).

    Returns:
      One of the values; infinity where G < `least_patients(level)`, also without any image.

    Raises:
      ValueError: not as many patients as values, a value that is not finite, or the level is
        outside (0, 1).
    """
    values = np.asarray(values, np.float64)
    patients = checked(patients, len(values))
    least_patients(level)  # checks it
    if not np.isfinite(values).all():
        raise ValueError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} values are not finite; all must be: "
            "leave those images out"
        )
    _, of_patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(1 / counts[of_patient][order])  # patients at or below each value
    needed = (len(counts) + 1) * (level - _ROUNDING)
    index = int(np.searchsorted(reached, needed))
    return float(values[order][index]) if index < len(values) else math.inf


def least_patients(level: float) -> int:
    """The fewest patients G of whom the `upper_quantile` is finite: G / (G + 1) >= level.

    Args:
      level: in (0, 1); of .9 it is 9, of .95 it is 19.

    Raises:
      ValueError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level} must lie in (0, 1); .9 is usual")
    return max(1, math.ceil((level - _ROUNDING) / (1 - level + _ROUNDING)))


def mean(values: np.ndarray, patients: np.ndarray, level: float = 0.95) -> Estimate:
    """Estimates the mean over patients of their images' mean, of values in [0, 1].

    It is what the value of a random image of a new patient is on average, which is what the
    guarantee of `upper_quantile` is about. The interval is that of a proportion among patients
    (`intervals.bounded`); there is none with fewer than two patients.

    Args:
      values: `[B]` in [0, 1], or bool.
      patients: `[B]`, the patient of each image; any type that sorts.
      level: of the interval, in (0, 1).

    Returns:
      All of it is NaN without images.

    Raises:
      ValueError: not as many patients as values, or the level is outside (0, 1).
    """
    means = patient_means(values, patients)
    if not len(means):
        return Estimate(math.nan, math.nan, math.nan)
    found = classification.means(means[None, :, None], np.arange(len(means)))
    return found.of(0).networks(level)


def patient_means(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The mean over each patient's images, `[G]` float64 in the order of `np.unique(patients)`.

    Args:
      values: `[B]` numbers, or bool.
      patients: `[B]`, the patient of each image; any type that sorts.

    Raises:
      ValueError: not as many patients as values.
    """
    values = np.asarray(values, np.float64)
    patients = checked(patients, len(values))
    _, of_patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    return np.bincount(of_patient, values, minlength=len(counts)) / counts


def checked(patients: np.ndarray, images: int) -> np.ndarray:
    """The patients `[B]` as an array.

    Raises:
      ValueError: not as many patients as images.
    """
    patients = np.asarray(patients)
    if patients.shape != (images,):
        raise ValueError(f"{patients.shape} patients of {images} images must be as many")
    return patients
