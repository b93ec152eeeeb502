"""What a choosing method is given, and who may still be asked about within a batch.

Letters: N photographs or lesions, F features.
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from dermjax.labelling.learner import Learned, Learner, Probe


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """N training photographs or lesions, in an order of their own: no table's order matters.

    Attributes:
      features: `[N, F]` float32, unit L2 norm.
      labels: `[N]` int, the index of the class; -1 where no label is known.
      askable: `[N]` bool, those that may be asked about; none of them has a label.
      patients: `[N]` int, the patient of each; whoever is not known has a number of their own.
      per_patient: how many of one patient a batch may hold.
      once: arrays `[N]` int such as lesions and near duplicates: a batch holds one of a number at
        most; -1 belongs to none.
      learner: what learns from the labels; None: the linear probe of these features.
    """

    features: np.ndarray
    labels: np.ndarray
    askable: np.ndarray
    patients: np.ndarray
    per_patient: int = 1
    once: tuple[np.ndarray, ...] = ()
    learner: Learner | None = None

    def __post_init__(self):
        sizes = {len(one) for one in (self.labels, self.askable, self.patients, *self.once)}
        if sizes != {len(self.features)}:
            raise ValueError(f"arrays of {sorted(sizes)} rows must have {len(self.features)} each")
        if self.per_patient < 1:
            raise ValueError(f"per_patient = {self.per_patient} must be at least 1")
        if (self.askable & (self.labels >= 0)).any():
            raise ValueError("photographs that have a label are not to be asked about: clear them")

    @property
    def labelled(self) -> np.ndarray:
        """`[N]` bool, those whose label is known."""
        return self.labels >= 0

    @property
    def known_classes(self) -> int:
        """How many classes have a label."""
        return len(np.unique(self.labels[self.labelled]))

    @functools.cached_property
    def learned(self) -> Learned:
        """The classifier of the labels that are known, trained once.

        Raises:
          ValueError: there is no label.
        """
        learner = self.learner or Probe(self.features, self.patients, self.features[:0])
        return learner.fit(self.labels)

    def labelled_too(self, rows: np.ndarray, labels: np.ndarray) -> "Pool":
        """The pool after an answer: `rows` are labelled `labels` and no longer asked about."""
        known, askable = self.labels.copy(), self.askable.copy()
        known[rows], askable[rows] = labels, False
        return dataclasses.replace(self, labels=known, askable=askable)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A row of the pool that is asked about, and the reason in words."""

    row: int
    why: str


class Quota:
    """Whom a batch may still ask about.

    Attributes:
      open: `[N]` bool, rows that may be taken next.
    """

    def __init__(self, pool: Pool):
        self._pool = pool
        self._taken = np.zeros(int(pool.patients.max(initial=0)) + 1, int)
        self.open = pool.askable.copy()

    def take(self, row: int) -> None:
        """Takes a row; its lesion, its copies and, at the bound, its patient are closed."""
        self.open[row] = False
        for numbers in self._pool.once:
            if numbers[row] >= 0:
                self.open &= numbers != numbers[row]
        patient = self._pool.patients[row]
        self._taken[patient] += 1
        if self._taken[patient] >= self._pool.per_patient:
            self.open &= self._pool.patients != patient

    def take_first(self, order: Iterable[int], count: int) -> list[int]:
        """The first rows of an order that may be taken, `count` at most."""
        rows: list[int] = []
        wanted = iter(order)  # of an iterator no more is taken than is needed
        while len(rows) < count and (row := next(wanted, None)) is not None:
            if self.open[row]:
                self.take(int(row))
                rows.append(int(row))
        return rows
