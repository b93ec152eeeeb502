"""For whom a classifier works worse: measures by age, sex, skin type or site, with intervals.

Letters: B images, N classes, T trials.
"""

import dataclasses
import re

import numpy as np

from dermjax.analysis import bootstrap

UNKNOWN = "(unknown)"
_MANY = 10  # distinct numbers that are still categories, as skin types and grades are
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True)
class Subgroup:
    """Images that share a value; means over trials, None where too few images stand behind them."""

    value: str
    n: int  # images
    patients: int
    accuracy: bootstrap.Estimate | None
    macro_sensitivity: bootstrap.Estimate | None  # over the classes that the subgroup has
    suppressed: str  # why there are no measures; empty when there are


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """All subgroups of one attribute, numbers ascending, unknown last.

    The gap of many small subgroups is large by chance alone: read it with their intervals.
    """

    subgroups: tuple[Subgroup, ...]

    def worst(self, measure: str = "macro_sensitivity") -> Subgroup | None:
        """The subgroup with the lowest value; None when fewer than two have measures."""
        ranked = self._ranked(measure)
        return ranked[0] if len(ranked) > 1 else None

    def gap(self, measure: str = "macro_sensitivity") -> float | None:
        """Best minus worst value, in [0, 1]; None when fewer than two have measures."""
        ranked = self._ranked(measure)
        if len(ranked) < 2:
            return None
        return getattr(ranked[-1], measure).value - getattr(ranked[0], measure).value

    def _ranked(self, measure):
        """Subgroups with measures, the worst first."""
        shown = [group for group in self.subgroups if not group.suppressed]
        return sorted(shown, key=lambda group: getattr(group, measure).value)


def break_down(
    values: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    weights: bootstrap.PatientWeights,
    classes: int,
    *,
    minimum: int = 20,
    level: float = 0.95,
) -> Breakdown:
    """Measures of every subgroup, on the same draws of patients as the whole test set.

    A draw that holds none of a subgroup's patients says nothing of it and is left out. Small
    numbers are suppressed: they say little, and can point at a person.

    Args:
      values: `[B]` strings, of one attribute; '' is unknown. More than 10 different numbers are
        binned, see `binned`.
      labels: `[B]` int in [0, N).
      predicted: `[T, B]` of the trials, or `[B]`.
      weights: of the B images.
      classes: N.
      minimum: images below which a subgroup has no measures; it has none with a single patient
        either, whom nothing can be resampled from.
      level: of the intervals, in (0, 1).

    Raises:
      ValueError: not as many values as images, a minimum below 1, or see `bootstrap.resample`.
    """
    labels, predicted = np.asarray(labels), np.atleast_2d(predicted)
    values = binned(values)
    if values.shape != labels.shape:
        raise ValueError(
            f"{len(values)} values of {len(labels)} images; each image needs one, '' if unknown"
        )
    if minimum < 1:
        raise ValueError(f"minimum = {minimum} must be at least 1; 20 is usual")

    def subgroup(value):
        rows = np.flatnonzero(values == value)
        own = weights.of(rows)
        n, patients = len(rows), len(np.unique(own.inverse))
        few = ""
        if n < minimum:
            few = f"{n} images, fewer than {minimum}"
        elif patients < 2:
            few = "1 patient"
        if few:
            return Subgroup(value, n, patients, None, None, few)
        found = bootstrap.resample(labels[rows], predicted[:, rows], own, classes)
        accuracy, macro = (found.estimate(m, level) for m in ("accuracy", "macro_sensitivity"))
        return Subgroup(value, n, patients, accuracy, macro, "")

    return Breakdown(tuple(subgroup(value) for value in sorted(set(values.tolist()), key=_order)))


def binned(values: np.ndarray) -> np.ndarray:
    """`[B]` strings -> `[B]` names of subgroups.

    '' becomes '(unknown)'. When all others are numbers and more than 10 differ, as ages do, they
    are binned in tens, '30-39' being [30, 40); in hundreds, thousands, ... when tens would be more
    than 20 bins.
    """
    names = np.array([str(value).strip() or UNKNOWN for value in values], object)
    known = names != UNKNOWN
    distinct = set(names[known])
    if len(distinct) <= _MANY or not all(_NUMBER.fullmatch(name) for name in distinct):
        return names
    numbers = names[known].astype(np.float64)
    width = 10
    while (numbers.max() - numbers.min()) / width > 20:
        width *= 10
    lows = (numbers // width * width).astype(np.int64)
    names[known] = [f"{low}-{low + width - 1}" for low in lows]
    return names


def _order(value: str):
    """Numbers and bins by size, then words, then unknown."""
    number = _NUMBER.match(value)
    return (value == UNKNOWN, float(number[0]) if number else np.inf, value)
