"""Studies whose truth is known: patients and networks are drawn, measures of all are computed.

A network gives image i of class c the logits `skill * [k = c] + bias_k + sigma * noise`; the noise
has a part of the image's patient, one of the image that all networks share (hard photographs), and
one of the network alone. A training moves the skill of its network, of each class by itself, too.

Letters: T trials, B images, N classes, G patients.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Clinic:
    """Whose photographs the test set draws."""

    patients: tuple[int, ...]  # in the test set, by class
    images: float = 1.6  # mean number of a patient, at least one
    second: float = 0.0  # share of patients who have one photograph of another class

    @property
    def classes(self) -> int:
        return len(self.patients)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Labels and patients `[B]` of a test set."""
        labels, patients = [], []
        for label, patient in zip(
            np.repeat(np.arange(self.classes), self.patients),
            range(sum(self.patients)),
            strict=True,
        ):
            own = [label] * (1 + rng.poisson(self.images - 1))
            if self.second and rng.random() < self.second:
                own[-1] = rng.integers(self.classes)
            labels += own
            patients += [patient] * len(own)
        return np.array(labels), np.array(patients)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """What its networks are like."""

    skill: float = 3.0  # of the commonest class
    rare: float = 1.2  # what the rarest class lacks of it
    training: float = 0.12  # sd over trainings of the skill of all classes
    by_class: float = 0.15  # sd over trainings of each class's own

    def networks(self, classes: int, trials: int, rng: np.random.Generator) -> np.ndarray:
        """Skills `[T, N]`."""
        usual = self.skill - self.rare * np.linspace(0, 1, classes)
        moved = self.training * rng.normal(size=(trials, 1))
        return usual + moved + self.by_class * rng.normal(size=(trials, classes))


_PATIENT, _IMAGE, _NETWORK = 0.5, 0.75, 0.45  # parts of the noise, their squares sum to about 1


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Photographs, with the noise that all networks share."""

    labels: np.ndarray  # [B]
    patients: np.ndarray  # [B]
    noise: np.ndarray  # [B, N]
    bias: np.ndarray  # [N], common classes are answered more often

    @classmethod
    def draw(cls, clinic: Clinic, rng: np.random.Generator) -> "TestSet":
        labels, patients = clinic.draw(rng)
        n = clinic.classes
        by_patient = rng.normal(size=(patients.max() + 1, n))[patients]
        noise = _PATIENT * by_patient + _IMAGE * rng.normal(size=(len(labels), n))
        bias = np.linspace(0.8, 0, n)
        return cls(labels, patients, noise, bias)

    def answer(self, skills: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Logits `[T, B, N]` of networks with `skills [T, N]`."""
        trials, n = skills.shape
        own = _NETWORK * rng.normal(size=(trials, *self.noise.shape))
        gain = skills[:, None, :] * np.eye(n)[self.labels]
        return gain + self.bias + 1.1 * (self.noise + own)
