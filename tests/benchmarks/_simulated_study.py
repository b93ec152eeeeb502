"""Studies whose truth is known: patients and networks are drawn, measures of all are computed.

A network gives image i of class c the logits `skill * [k = c] + bias_k + sigma * noise`; the noise
has a part of the image's patient, one of the image that all networks share (hard photographs), and
one of the network alone. A training moves the skill of its network, of each class by itself, too.

Letters: T trials, B images, N classes, G patients.
"""

import dataclasses

import numpy as np
from scipy import special

from dermjax.statistics import classification, comparison, discrimination
from dermjax.statistics.intervals import Estimate

CLINICS = {
    "ten classes, 300 to 5 patients": (300, 150, 80, 60, 40, 30, 20, 12, 8, 5),
    "HAM10000's proportions": (180, 60, 50, 20, 12, 6, 5),
    "the rarest four of 3, 2, 2 and 1": (300, 150, 80, 60, 40, 30, 3, 2, 2, 1),
    "the rarest of 2": (300, 150, 80, 60, 40, 30, 20, 12, 8, 2),
    "two classes of 15": (15, 15),
    "five small classes": (40, 20, 10, 5, 5),
    "114 classes, 40 of one patient": (30,) * 10 + (10,) * 20 + (5,) * 44 + (1,) * 40,
}
COMPARED = ("accuracy", "macro_precision", "macro_sensitivity")
_BY_CLASS = (*classification.BY_CLASS, "auroc", "auprc")
_ENOUGH = 5  # patients of a class whose intervals should hold in 92 to 98 %
_TRUTH = 25_000  # images of the test set that stands for all patients


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


@dataclasses.dataclass
class Held:
    """How many of the intervals that were given held the truth."""

    held: int = 0
    given: int = 0

    def count(self, estimate: Estimate, truth: float) -> None:
        if not np.isnan(estimate.low):
            self.given += 1
            self.held += estimate.low <= truth <= estimate.high

    @property
    def percent(self) -> float:
        return 100 * self.held / self.given if self.given else float("nan")


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of one clinic and number of trials."""

    networks: dict[str, Held]  # by measure, of these networks: patients are drawn anew
    strategy: dict[str, Held]  # of the strategy: patients and trainings are drawn anew
    common: dict[str, Held]  # by measure, over classes of at least five patients
    rare: dict[str, Held]  # over those of fewer


def coverage(
    clinic: Clinic, trials: int, studies: int, seed: int = 0, trainings: int = 60
) -> Coverage:
    """Simulates studies of one strategy.

    Args:
      studies: simulated test sets of each kind.
      trainings: over which the truth of a strategy is taken.
    """
    rng, strategy = np.random.default_rng(seed), Strategy()
    share = max(1, round(_TRUTH / sum(clinic.patients) / clinic.images))
    every = dataclasses.replace(clinic, patients=tuple(share * n for n in clinic.patients))
    everybody = TestSet.draw(every, rng)
    skills = strategy.networks(clinic.classes, trials, rng)
    of_networks = _measures(everybody, everybody.answer(skills, rng), clinic.classes)
    more = [strategy.networks(clinic.classes, 1, rng) for _ in range(trainings)]
    trained = [_overall(everybody, everybody.answer(one, rng), clinic.classes) for one in more]
    of_strategy = {name: np.mean([one[name].value for one in trained]) for name in trained[0]}
    found = Coverage(*[{} for _ in range(4)])
    for _ in range(studies):
        test = TestSet.draw(clinic, rng)
        logits = test.answer(skills, rng)
        for name, one in _overall(test, logits, clinic.classes).items():
            truth = of_networks[0][name].value
            found.networks.setdefault(name, Held()).count(one.networks(), truth)
        for name, classes in _by_class(test, logits, clinic.classes).items():
            for index, patients in enumerate(clinic.patients):
                held = found.common if patients >= _ENOUGH else found.rare
                truth = of_networks[1][name].of(index).value
                one = classes.of(index).networks()
                held.setdefault(name, Held()).count(one, truth)
        if trials > 1:
            test = TestSet.draw(clinic, rng)
            logits = test.answer(strategy.networks(clinic.classes, trials, rng), rng)
            for name, one in _overall(test, logits, clinic.classes).items():
                found.strategy.setdefault(name, Held()).count(one.strategy(), of_strategy[name])
    return found


def _measures(test: TestSet, logits: np.ndarray, classes: int):
    return _overall(test, logits, classes), _by_class(test, logits, classes)


def _overall(test: TestSet, logits: np.ndarray, classes: int) -> dict:
    """Measurements by name."""
    given = (test.labels, logits.argmax(-1), test.patients, classes)
    found = {name: classification.overall(name, *given) for name in classification.OVERALL}
    ranked = (test.labels, special.softmax(logits, -1), test.patients)
    for name in ("auroc", "auprc"):
        found[f"macro_{name}"] = discrimination.by_class(name, *ranked).macro()
    return found


def _by_class(test: TestSet, logits: np.ndarray, classes: int) -> dict:
    given = (test.labels, logits.argmax(-1), test.patients, classes)
    found = {name: classification.by_class(name, *given) for name in classification.BY_CLASS}
    ranked = (test.labels, special.softmax(logits, -1), test.patients)
    for name in ("auroc", "auprc"):
        found[name] = discrimination.by_class(name, *ranked)
    return found


@dataclasses.dataclass(frozen=True)
class Rejections:
    """Share of studies of two strategies with p < .05, by measure; and what trials differ by."""

    strategies: dict[str, float]
    networks: dict[str, float]
    sd: float  # of a strategy's macro sensitivity over trials


def equal_strategies(
    clinic: Clinic,
    first: Strategy,
    second: Strategy,
    trials: int,
    studies: int,
    seed: int = 0,
) -> Rejections:
    """Compares two strategies in simulated studies; of equals, all p < .05 are false."""
    rng = np.random.default_rng(seed)
    strategies, networks, sds = dict.fromkeys(COMPARED, 0.0), dict.fromkeys(COMPARED, 0.0), []
    for _ in range(studies):
        test = TestSet.draw(clinic, rng)
        answers = [
            test.answer(one.networks(clinic.classes, trials, rng), rng).argmax(-1)
            for one in (first, second)
        ]
        for name in COMPARED:
            found = comparison.difference(
                name, test.labels, *answers, test.patients, clinic.classes
            )
            strategies[name] += (found.p_strategy() < 0.05) / studies
            networks[name] += (found.p_networks() < 0.05) / studies
        sensitivity = classification.overall(
            "macro_sensitivity", test.labels, answers[0], test.patients, clinic.classes
        )
        sds.append(sensitivity.sd)
    return Rejections(strategies, networks, float(np.mean(sds)))
