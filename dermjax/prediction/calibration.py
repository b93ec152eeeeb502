"""What turns the logits of networks into answers that keep their promises on new patients.

Letters: B images, N classes, T networks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy import special

from dermjax.experiment.reference import Predicted, Reference
from dermjax.statistics import calibration, conformal, novelty, operating_point


@dataclasses.dataclass(frozen=True)
class Answers:
    """What is said of B images."""

    probabilities: np.ndarray  # [B, N], calibrated
    sets: np.ndarray  # [B, N] bool, the prediction sets
    distances: np.ndarray  # [B], to what the networks were trained on
    unfamiliar: np.ndarray  # [B] bool


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Fitted on validation images, which no network was trained on."""

    temperature: float
    rule: conformal.SetRule
    points: operating_point.OperatingPoints
    farthest: float  # images beyond this distance are unfamiliar

    @classmethod
    def fit(
        cls,
        references: Sequence[Reference],
        *,
        coverage: float,
        unfamiliar: float,
        sensitivity: float,
    ) -> Self:
        """The calibration of networks that answer together.

        Args:
          references: of each network, of the same images.
          coverage: share of new patients whose disease is to be in the prediction set.
          unfamiliar: share of new patients that may be flagged as unfamiliar.
          sensitivity: of each class, that its threshold is for.

        Raises:
          ValueError: there are no validation images.
        """
        validation = [one.validation for one in references]
        labels, patients = validation[0].labels, validation[0].patients
        mean = mean_probabilities([one.logits for one in validation])
        logits = calibration.log_probabilities(mean)
        temperature = calibration.fit_temperature(labels, logits)
        probabilities = special.softmax(logits / temperature, axis=1)
        distances = np.mean([one.distances for one in validation], axis=0)
        return cls(
            temperature=temperature,
            rule=conformal.fit(labels, probabilities, patients, coverage),
            points=operating_point.fit(labels, probabilities, patients, sensitivity),
            farthest=novelty.threshold(distances, patients, unfamiliar),
        )

    def answers(
        self,
        logits: Sequence[np.ndarray] | np.ndarray,
        distances: Sequence[np.ndarray] | np.ndarray,
    ) -> Answers:
        """Calibrated answers.

        Args:
          logits: `[B, N]` of each network.
          distances: `[B]` of each network.
        """
        probabilities = calibration.apply_temperature(mean_probabilities(logits), self.temperature)
        far = np.mean(np.asarray(distances), axis=0)
        return Answers(
            probabilities=probabilities,
            sets=conformal.sets(self.rule, probabilities),
            distances=far,
            unfamiliar=far > self.farthest,
        )

    def answers_on_test(self, references: Sequence[Reference]) -> Answers:
        """What is said of the runs' test images."""
        test = [one.test for one in references]
        return self.answers([one.logits for one in test], [one.distances for one in test])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        farthest = self.farthest if np.isfinite(self.farthest) else None
        return {
            "temperature": self.temperature,
            "sets": self.rule.to_dict(),
            "operating_points": self.points.to_dict(),
            "unfamiliar_beyond": farthest,
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """What `to_dict` made."""
        farthest = given["unfamiliar_beyond"]
        return cls(
            temperature=given["temperature"],
            rule=conformal.SetRule.from_dict(given["sets"]),
            points=operating_point.OperatingPoints.from_dict(given["operating_points"]),
            farthest=np.inf if farthest is None else farthest,
        )


def usual(references: Sequence[Reference]) -> Calibration:
    """The calibration that nobody has asked otherwise for.

    Raises:
      ValueError: there are no validation images.
    """
    return Calibration.fit(references, coverage=0.9, unfamiliar=0.05, sensitivity=0.9)


def with_distances(
    references: Sequence[Reference], outputs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[T, B, N]` of the networks, and distances `[T, B]` of their features.

    Args:
      outputs: features `[B, F]` and logits `[B, N]` of each network.
    """
    distances = [
        novelty.distances(one.familiar, features)
        for one, (features, _) in zip(references, outputs, strict=True)
    ]
    return np.stack([logits for _, logits in outputs]), np.stack(distances)


def mean_probabilities(logits: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """`[B, N]`, the mean of the networks' probabilities."""
    return np.mean([special.softmax(one, axis=-1) for one in logits], axis=0)


def same_images(references: Sequence[Reference]) -> bool:
    """Whether the networks' sets hold the same images, as far as labels and patients tell.

    And their distances are of one kind, so that they can be averaged.
    """

    def key(one: Predicted) -> tuple:
        return one.labels.tolist(), one.patients.tolist()

    first = references[0]
    if len({type(one.familiar) for one in references}) > 1:
        return False
    return all(
        key(getattr(other, name)) == key(getattr(first, name))
        for other in references
        for name in ("validation", "test")
    )
