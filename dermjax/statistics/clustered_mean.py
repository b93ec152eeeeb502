"""The mean over images of several patients, with its interval and test, also of few patients.

Images of one patient resemble each other, so patients are the units that vary. The mean over images
is a ratio of two sums over patients; its error is that of the ratio's linear approximation
(Cochran 1977, chapter 6). Two corrections make the interval hold for few patients:

- for patients of whom one has many images, the variance is the bias-reduced one, and the t
  distribution has as many degrees of freedom as that variance is worth (Bell & McCaffrey 2002; CR2
  with Satterthwaite's degrees of freedom in Pustejovsky & Tipton 2018);
- for skewed values, say a loss or a share that mostly is near 0, the t statistic is first made
  symmetric by Hall's cubic transformation (Hall 1992, "On the removal of skewness by
  transformation"), of which less is taken the fewer degrees of freedom there are [ours].

With values symmetric about their mean and as many images of every patient this is the usual t
interval of the patients' means. `tests/benchmarks/_saliency_null.py` simulates how often intervals
cover and tests are wrong.

Letters: B images, G patients, w_g the fraction of the images that are of patient g.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from scipy import special

from dermjax.statistics import comparison, intervals

_Name = TypeVar("_Name")

LEAST_PATIENTS = 5  # of fewer, nothing shows how skewed values are, and 95 % intervals miss often
_ROUNDING = 1e-10  # of the largest value: a standard error below is no spread but rounding


@dataclasses.dataclass(frozen=True)
class ClusteredMean:
    """A mean over images; NaN where nothing defines a number. See `clustered_mean`."""

    value: float  # mean over the images that have a value
    low: float  # of the interval
    high: float
    p: float  # two-sided, of the hypothesis that the mean is 0
    patients: int  # of the images that have a value
    images: int  # that have a value

    @property
    def has_interval(self) -> bool:
        """Whether the values say how far other patients could move the mean."""
        return not math.isnan(self.low)


def clustered_mean(
    values: np.ndarray,
    patients: np.ndarray,
    level: float = 0.95,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    least_patients: int = LEAST_PATIENTS,
) -> ClusteredMean:
    """Estimates the mean of `values`, taking all images of a patient as one observation.

    There is no interval (low, high and p are NaN) where the values cannot tell how far other
    patients would move the mean: with fewer than `least_patients` patients, and where all patients
    have the same mean, say a bounded score that is 1 for everyone. An interval of no width would
    claim that nothing can move it. Only if that common mean is 0 there is a p, which is 1.

    Args:
      values: `[B]`; images whose value is NaN or infinite are left out.
      patients: `[B]`, the patient of each image; any type that sorts.
      level: of the interval, in (0, 1).
      bounds: within which every possible value lies; the interval is cut to them.
      least_patients: of an interval, at least 2.

    Raises:
      ValueError: as many patients as values are needed, or an argument is out of its bounds.
    """
    values, patients = np.asarray(values, np.float64), np.asarray(patients)
    if values.ndim != 1 or values.shape != patients.shape:
        raise ValueError(
            f"values {values.shape} and patients {patients.shape} must both be [B]: one of each "
            "for every image"
        )
    intervals.check_level(level)
    if least_patients < 2:
        raise ValueError(f"least_patients = {least_patients} must be at least 2")
    defined = np.isfinite(values)
    values, patients = values[defined], patients[defined]
    if not len(values):
        return ClusteredMean(math.nan, math.nan, math.nan, math.nan, patients=0, images=0)
    value = float(values.mean())
    _, of_patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    found = functools.partial(ClusteredMean, value=value, patients=len(counts), images=len(values))
    if len(counts) < least_patients:
        return found(low=math.nan, high=math.nan, p=math.nan)
    residuals = np.bincount(of_patient, values - value) / len(values)
    error, freedom, skewness = _spread(residuals, counts / len(values))
    rounding = _ROUNDING * np.abs(values).max()
    if error <= rounding:
        p = 1.0 if abs(value) <= rounding else math.nan
        return found(low=math.nan, high=math.nan, p=p)
    reach = special.stdtrit(freedom, (1 + level) / 2)
    return found(
        low=float(max(value - error * _skewed(reach, skewness), bounds[0])),
        high=float(min(value - error * _skewed(-reach, skewness), bounds[1])),
        p=float(2 * special.stdtr(freedom, -abs(_symmetric(value / error, skewness)))),
    )


def adjusted_p(family: Mapping[_Name, ClusteredMean]) -> dict[_Name, float]:
    """Holm's adjusted p of all hypotheses that are looked at together.

    Returns:
      A p by name; NaN for a mean that has none, which takes no part.
    """
    tested = [name for name, found in family.items() if not math.isnan(found.p)]
    adjusted = comparison.holm(np.array([family[name].p for name in tested]))
    return dict.fromkeys(family, math.nan) | dict(zip(tested, adjusted.tolist(), strict=True))


def _spread(residuals: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """The mean's standard error, its degrees of freedom, and the skewness of its distribution.

    Bell & McCaffrey's for a model that has a mean only. Working model: independent images of equal
    variance, for which the squared error's expectation is exact and its first two moments are those
    of a scaled chi-squared distribution with that many degrees of freedom.

    Args:
      residuals: `[G]`, sums of a patient's deviations from the mean, over all B images.
      weights: `[G]`, w_g; they sum to 1.
    """
    left = 1 - weights
    residuals = residuals / np.sqrt(left)
    error = math.sqrt((residuals**2).sum())
    # 1 / sum of the squared entries of the quadratic form's matrix, whose trace is 1.
    pairs = weights**2 / left
    freedom = float(1 / ((weights**2).sum() + pairs.sum() ** 2 - (pairs**2).sum()))
    skewness = ((residuals / error) ** 3).sum() if error > 0 else 0.0
    # One patient with most images would be taken for a long tail.
    return error, freedom, float(skewness * freedom / (len(weights) - 1))


def _symmetric(t: float, skewness: float) -> float:
    """Hall's transformation of a t statistic, T + a T^2 / 3 + a^2 T^3 / 27 + a / 6."""
    return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6


def _skewed(symmetric: float, skewness: float) -> float:
    """The t statistic that `_symmetric` takes to `symmetric`."""
    if abs(skewness) < _ROUNDING:
        return symmetric
    return 3 / skewness * (math.cbrt(1 + skewness * (symmetric - skewness / 6)) - 1)
