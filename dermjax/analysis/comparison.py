"""Two strategies on the same test images: how far apart they are, and whether that is chance.

Letters: B images, R resamples, M comparisons of a family.
"""

import dataclasses

import numpy as np
from scipy import stats

from dermjax.analysis import bootstrap


@dataclasses.dataclass(frozen=True)
class Difference:
    """First minus second strategy in one measure, the mean over trials."""

    estimate: bootstrap.Estimate
    p: float  # two-sided, in (0, 1]


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Images on which two classifiers disagree, and whether one is right more often."""

    b: int  # only the first is right
    c: int  # only the second is right
    p: float  # two-sided, exact


def difference(
    first: bootstrap.Resampled, second: bootstrap.Resampled, name: str, level: float = 0.95
) -> Difference:
    """Paired bootstrap: both strategies are measured on the same draws of patients.

    The interval says how far other patients could move the difference. Trials are averaged, not
    drawn: that other labelled subsets could move it too is not in the interval.

    Args:
      first, second: of the same `PatientWeights`.
      name: of the measure, one value a resample: `accuracy`, `macro_sensitivity`, ...
      level: of the interval, in (0, 1).

    Raises:
      ValueError: other draws of patients, a measure that has a value per class, or one that no
        resample defines.
    """
    ours, theirs = getattr(first.resamples, name), getattr(second.resamples, name)
    if first.fingerprint != second.fingerprint:
        raise ValueError(
            f"draws {first.fingerprint} and {second.fingerprint} of {len(ours)} and {len(theirs)} "
            "resamples cannot be paired; take the same patient_weights for both"
        )
    if ours.ndim != 1:
        raise ValueError(f"{name} has {ours.shape[-1]} values a resample, not 1; take a macro mean")
    value = float(getattr(first.point, name) - getattr(second.point, name))
    low, high = bootstrap.interval(ours - theirs, level)
    return Difference(bootstrap.Estimate(value, low, high), two_sided_p(ours - theirs))


def two_sided_p(differences: np.ndarray) -> float:
    """p = min(1, 2 min((1 + #{d <= 0}) / (R + 1), (1 + #{d >= 0}) / (R + 1))).

    One minus the level of the percentile interval that just reaches 0 (Efron & Tibshirani 1993,
    section 15.4), each tail counted as in a Monte Carlo test (Davison & Hinkley 1997, eq. 4.11), so
    that p is never 0: with 2,000 resamples the smallest is .001.

    Args:
      differences: `[R]`, of the resamples; NaN (undefined in a resample) is left out.

    Raises:
      ValueError: no resample defines the difference.
    """
    defined = np.asarray(differences, np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        raise ValueError(
            f"0 of {len(differences)} resamples define the difference; at least 1 is needed: are "
            "there test images of these classes?"
        )
    tail = 1 + min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * tail / (len(defined) + 1)))


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact McNemar test of two runs (McNemar 1947): b of b + c against a fair coin.

    It takes images as independent; several of one patient are not, and p is then too small. It is
    given for comparison with other work; `difference` is the one that knows patients.

    Args:
      labels, first, second: `[B]` int, the true class and the two runs' answers.

    Returns:
      p = 1 when the runs are right on the same images.

    Raises:
      ValueError: no images, or arrays of different length.
    """
    labels, first, second = map(np.asarray, (labels, first, second))
    if labels.size == 0 or not labels.shape == first.shape == second.shape:
        raise ValueError(
            "McNemar's test needs as many answers of both runs as labels and at least one; got "
            f"{first.size}, {second.size} and {labels.size}"
        )
    right, other = first == labels, second == labels
    b, c = int((right & ~other).sum()), int((other & ~right).sum())
    p = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    return McNemar(b=b, c=c, p=float(p))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of a family `[M]` of p values (Holm 1979).

    Rejecting where the adjusted p <= a keeps the chance of any false rejection at a, however the
    tests depend on each other. The k-th smallest becomes the largest of (M - j + 1) p_j, j <= k.

    Raises:
      ValueError: a p outside [0, 1] or NaN.
    """
    p = np.asarray(p, np.float64)
    outside = p[~((p >= 0) & (p <= 1))]
    if outside.size:
        raise ValueError(
            f"p = {outside[0]} must lie in [0, 1]; leave out comparisons that were not made"
        )
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(scaled, 1)
    return adjusted
