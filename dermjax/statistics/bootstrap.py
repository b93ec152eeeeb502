"""Intervals by resampling PATIENTS, not images (Davison & Hinkley 1997, section 3.8).

Images of one patient resemble each other: intervals that resample images are too narrow. Only
errors of calibration need this: they are no smooth functions of the images, so that the variance of
`measurement.py` does not serve them.

Letters: B images, G patients, R resamples.
"""

import dataclasses

import numpy as np
from scipy import sparse

from dermjax.statistics import intervals

_DRAWS = 500  # resamples whose counts are float64 at a time


@dataclasses.dataclass(frozen=True)
class PatientWeights:
    """How often each patient was drawn, and whose each image is."""

    counts: np.ndarray  # [R, G] int32, rows sum to G
    inverse: np.ndarray  # [B] int in [0, G), the patient of each image

    def check(self, labels: np.ndarray) -> None:
        """Raises ValueError unless there are as many images, each with its patient."""
        if labels.shape != self.inverse.shape:
            raise ValueError(
                f"patients of {len(self.inverse)} images for {len(labels)} labels must be as many"
            )

    def means(self, values: np.ndarray | sparse.sparray) -> np.ndarray:
        """Means over each resample's images: `[B]` or `[B, C]` -> `[R]` or `[R, C]`.

        NaN for a resample without images, which some of the images may have. `[B, C]` may be
        sparse. Memory: 8 bytes for each of G patients and C values, and for each of G patients and
        500 resamples.
        """
        images, patients = np.arange(len(self.inverse)), self.counts.shape[1]
        ones = np.ones(len(images))
        member = sparse.coo_array((ones, (self.inverse, images)), (patients, len(images))).tocsr()
        columns = values if np.ndim(values) == 2 else np.reshape(values, (-1, 1))
        columns = sparse.hstack([sparse.coo_array(ones[:, None]), sparse.coo_array(columns)])
        by_patient = (member @ columns).toarray()  # [G, 1 + C]
        totals = np.empty((len(self.counts), by_patient.shape[1]))
        for start in range(0, len(totals), _DRAWS):
            some = slice(start, start + _DRAWS)
            totals[some] = self.counts[some].astype(np.float64) @ by_patient
        means = _ratio(totals[:, 1:], totals[:, :1], totals[:, :1] > 0)
        return means if np.ndim(values) == 2 else means[:, 0]


def patient_weights(groups: np.ndarray, resamples: int = 2000, seed: int = 0) -> PatientWeights:
    """Draws G of the G patients with replacement, R times.

    The draws depend on the set of patients and the seed alone, not on the images' order, and the
    first draws are the same whatever R is. Memory: 4 R G bytes.

    Args:
      groups: `[B]`, the patient of each image; any type that sorts.
      resamples: R, at least 1.

    Raises:
      ValueError: no images, no resamples, or only one patient.
    """
    patients, inverse = np.unique(np.asarray(groups), return_inverse=True)
    if len(patients) < 2:
        raise ValueError(
            f"{len(patients)} patients cannot be resampled; at least 2 are needed: without "
            "patients give each image a name of its own"
        )
    if resamples < 1:
        raise ValueError(f"resamples = {resamples} must be at least 1; 2000 is usual")
    rng, size = np.random.default_rng(seed), len(patients)
    counts = np.empty((resamples, size), np.int32)
    for draw in range(resamples):
        counts[draw] = np.bincount(rng.integers(size, size=size), minlength=size)
    return PatientWeights(counts=counts, inverse=inverse)


def interval(values: np.ndarray, level: float = 0.95) -> tuple:
    """Percentile interval over the first axis (Davison & Hinkley 1997, eq. 5.18).

    Args:
      values: `[R]` or `[R, ...]`, of the resamples; NaN (undefined in a resample) is left out.
      level: in (0, 1).

    Returns:
      low and high, floats for `[R]`; NaN where no resample defines the value.

    Raises:
      ValueError: the level is outside (0, 1).
    """
    intervals.check_level(level)
    values = np.asarray(values, np.float64)
    undefined = np.isnan(values).all(0)
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.nanquantile(np.where(undefined, 0.0, values), tails, axis=0)
    low, high = np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)


def basic_interval(value: float, values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The basic interval (Davison & Hinkley 1997, eq. 5.6) of a measure in [0, infinity).

    2 value - percentiles: what resampling adds to the value is taken off it, as the test set's own
    draw has added it before. The value itself may lie above it.

    Args:
      value: on the images as they are.
      values: `[R]`, of the resamples.
      level: in (0, 1).

    Raises:
      ValueError: see `interval`.
    """
    low, high = interval(values, level)
    return max(0.0, 2 * value - high), max(0.0, 2 * value - low)


def _ratio(part, whole, defined) -> np.ndarray:
    """part / whole; 0 where the whole is empty, NaN where it is not defined."""
    return np.where(defined, part / np.maximum(whole, 1), np.nan)
