"""What learns from the labels so far and is asked about the other photographs: the linear probe.

Letters: N photographs of the pool, M of them, V validation images, F features, K known classes.
"""

import dataclasses
import hashlib
from typing import Any, Protocol

import numpy as np

from dermjax.labelling import classifier


class Learned(Protocol):
    """A classifier of the classes that have a label."""

    @property
    def classes(self) -> np.ndarray:
        """`[K]` int, ascending."""
        ...

    def of_pool(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of rows of the pool, `[M]` int -> `[M, K]`, rows sum to 1."""
        ...

    def of_validation(self) -> np.ndarray:
        """Probabilities of the validation images, `[V, K]`."""
        ...


class Learner(Protocol):
    """A way to train a classifier on some labels; the same labels give the same classifier."""

    def fit(self, labels: np.ndarray) -> Learned:
        """Trains on the rows of the pool whose label is known.

        Args:
          labels: `[N]` int; -1 where no label is known.

        Raises:
          ValueError: there is no label.
        """
        ...

    def key(self) -> str:
        """Names all that its answers depend on, beside the labels."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a page tells of how it trains, to be kept as JSON."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """The balanced logistic regression on frozen features.

    Attributes:
      features: `[N, F]` of the pool, unit L2 norm.
      patients: `[N]` int, whose photographs are in one fold.
      validation: `[V, F]` of the validation images.
      cs: inverse strengths of the penalty that it may choose from.
    """

    features: np.ndarray
    patients: np.ndarray
    validation: np.ndarray
    cs: tuple[float, ...] = classifier.CS

    def fit(self, labels: np.ndarray) -> "FittedProbe":
        """As `Learner.fit`."""
        known = labels >= 0
        fitted = classifier.fit(self.features[known], labels[known], self.patients[known], self.cs)
        return FittedProbe(self, fitted)

    def key(self) -> str:
        """As `Learner.key`."""
        found = hashlib.sha256(f"probe {self.cs}".encode())
        for array in (self.features, self.patients, self.validation):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def facts(self) -> dict[str, Any]:
        """As `Learner.facts`: nothing beside its kind."""
        return {}


@dataclasses.dataclass(frozen=True, eq=False)
class FittedProbe:
    """A probe that has seen some labels."""

    probe: Probe
    fitted: classifier.Classifier

    @property
    def classes(self) -> np.ndarray:
        """As `Learned.classes`."""
        return self.fitted.classes

    def of_pool(self, rows: np.ndarray) -> np.ndarray:
        """As `Learned.of_pool`."""
        return self.fitted.probabilities(self.probe.features[rows])

    def of_validation(self) -> np.ndarray:
        """As `Learned.of_validation`."""
        return self.fitted.probabilities(self.probe.validation)


def predicted(learned: Learned) -> np.ndarray:
    """The likeliest class of each validation image, `[V]` int."""
    return learned.classes[learned.of_validation().argmax(1)]
