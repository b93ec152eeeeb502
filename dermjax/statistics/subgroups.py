"""For whom a classifier works worse: measures by age, sex, skin type or site, with intervals.

Letters: B images, N classes, T trials.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dermjax.statistics import classification
from dermjax.statistics.measurement import Measurement


@dataclasses.dataclass(frozen=True)
class Subgroup:
    """Images that share a value; means over trials, None where too few images stand behind them."""

    value: str
    n: int  # images
    patients: int
    accuracy: Measurement | None
    macro_sensitivity: Measurement | None  # over the classes that the subgroup has
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
    names: np.ndarray,
    order: Sequence[str],
    labels: np.ndarray,
    predicted: np.ndarray,
    patients: np.ndarray,
    classes: int,
    *,
    minimum: int = 20,
) -> Breakdown:
    """Measures of every subgroup.

    Small numbers are suppressed: they say little, and can point at a person.

    Args:
      names: `[B]`, the subgroup of each image; `data.subgroup_values.group` makes them of a column.
      order: of the subgroups.
      labels: `[B]` int in [0, N).
      predicted: `[T, B]` of the trials, or `[B]`.
      patients: `[B]`, the patient of each image; any type that sorts.
      classes: N.
      minimum: images below which a subgroup has no measures; it has none with a single patient
        either, who does not show how patients differ.

    Raises:
      ValueError: not as many names as images, a minimum below 1, or see `classification.overall`.
    """
    labels, predicted = np.asarray(labels), np.atleast_2d(predicted)
    patients = np.unique(np.asarray(patients), return_inverse=True)[1]
    names = np.asarray(names)
    if names.shape != labels.shape:
        raise ValueError(f"{len(names)} subgroups of {len(labels)} images; each image needs one")
    if minimum < 1:
        raise ValueError(f"minimum = {minimum} must be at least 1; 20 is usual")

    def subgroup(value):
        rows = np.flatnonzero(names == value)
        n, own = len(rows), patients[rows]
        people = len(np.unique(own))
        few = ""
        if n < minimum:
            few = f"{n} images, fewer than {minimum}"
        elif people < 2:
            few = "1 patient"
        if few:
            return Subgroup(value, n, people, None, None, few)
        found = (
            classification.overall(measure, labels[rows], predicted[:, rows], own, classes)
            for measure in ("accuracy", "macro_sensitivity")
        )
        return Subgroup(value, n, people, *found, "")

    return Breakdown(tuple(subgroup(value) for value in order))
