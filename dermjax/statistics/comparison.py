"""Two strategies on the same test images: how far apart they are, and whether that is chance.

Letters: B images, N classes, T trials, G patients, M comparisons of a family.
"""

import dataclasses

import numpy as np
from scipy import stats

from dermjax.statistics import classification
from dermjax.statistics.measurement import Measurement


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Images on which two classifiers disagree, and whether one is right more often."""

    b: int  # only the first is right
    c: int  # only the second is right
    p: float  # two-sided, exact


def difference(
    name: str,
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: np.ndarray,
    classes: int,
) -> Measurement:
    """First minus second strategy in one measure, over the trials that both have.

    Patients are paired: both strategies answer the same images, so that what makes a patient easy
    or hard for both is no difference. Of a macro mean the difference is taken class by class, and
    then the mean over classes.

    Args:
      name: of `classification.OVERALL`.
      labels: `[B]` int in [0, N).
      first, second: `[T, B]` int, answers in the same T trials.
      patients: `[B]` int in [0, G), the patient of each image.
      classes: N.

    Returns:
      Its `networks` and `p_networks` are of these 2 T networks, `strategy` and `p_strategy` of the
      two strategies.

    Raises:
      ValueError: other numbers of trials, or see `classification.overall`.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"answers {np.shape(first)} and {np.shape(second)} of two strategies must be of the "
            "same trials and images: leave out the trials that one of them lacks"
        )
    if name == "accuracy":
        one, other = (
            classification.overall(name, labels, answers, patients, classes)
            for answers in (first, second)
        )
        return one.minus(other)
    one, other = (
        classification.by_class(name.removeprefix("macro_"), labels, answers, patients, classes)
        for answers in (first, second)
    )
    return one.minus(other).macro()


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
