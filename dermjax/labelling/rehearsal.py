"""A choice made again on labels that are known: hidden, asked for, and measured on other patients.

Letters: N training images, V validation images, R rounds, S seeds.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import numpy as np

from dermjax.labelling import candidates, random_draw
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.learner import Learner, predicted
from dermjax.labelling.methods import Method
from dermjax.labelling.pool import Pool, Quota
from dermjax.labelling.settings import LabelSettings
from dermjax.labelling.source import Source

_FORM = 2  # of an arm; another one when something changes what it finds
_SEEDS_APART = 1000  # the rounds of one seed have numbers of their own


@dataclasses.dataclass(frozen=True, eq=False)
class Rehearsal:
    """What every method is tried on.

    Attributes:
      pool: N training images, their labels hidden.
      learner: what learns from the labels that were asked for; it knows the validation images.
      truth: `[N]` int, the labels.
      labels: `[V]` int, of the validation images.
      patients: `[V]` int in [0, G).
    """

    pool: Pool
    learner: Learner
    truth: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]
    start: int
    count: int
    rounds: int

    @property
    def counts(self) -> list[int]:
        """Labels before each choice and after the last, R + 1 numbers."""
        return [self.start + self.count * number for number in range(self.rounds + 1)]

    def key(self) -> str:
        """Names what an arm depends on beside its method and seed."""
        found = hashlib.sha256(
            f"{_FORM} {self.counts} {self.pool.per_patient} {self.learner.key()}".encode()
        )
        arrays = (self.pool.features, self.truth, self.pool.patients, *self.pool.once)
        for array in (*arrays, self.labels):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Arm:
    """What one method did from one seed.

    Attributes:
      predicted: `[R + 1, V]` int, what is learnt to say of the validation images, round by round.
      chosen: `[R, count]` int, rows of the pool.
    """

    predicted: np.ndarray
    chosen: np.ndarray


MakeLearner = Callable[[Candidates, np.ndarray], Learner]  # of a pool and validation rows


def prepare(settings: LabelSettings, source: Source, make_learner: MakeLearner) -> Rehearsal:
    """The labelled training and validation images of a run; the test set is not looked at.

    Args:
      make_learner: makes what learns, when there is something to learn from.

    Raises:
      ValueError: too few labels, or none to measure on.
    """
    dataset = source.dataset
    known = candidates.labelled_only(source, settings.per_patient)
    measured = candidates.in_order(dataset, dataset.rows("validation", labelled=True))
    truth = dataset.labels[known.rows].astype(int)
    if len(np.unique(truth)) < 2 or not len(measured):
        raise ValueError(
            f"a simulation needs training labels of two classes and labelled validation images, "
            f"and {source.trained.data.source} has labels of {len(np.unique(truth))} classes in "
            f"{len(truth)} training and {len(measured)} validation images: label some at random "
            "first (method=random)"
        )
    _check_enough(settings, known.pool)
    return Rehearsal(
        pool=known.pool,
        learner=make_learner(known, measured),
        truth=truth,
        labels=dataset.labels[measured].astype(int),
        patients=candidates.numbers(dataset.frame["patient"].iloc[measured]),
        classes=dataset.classes,
        start=settings.start,
        count=settings.count,
        rounds=settings.rounds,
    )


def _check_enough(settings: LabelSettings, pool: Pool) -> None:
    """Whether there are labels for all rounds, and patients for a batch.

    Raises:
      ValueError: there are too few.
    """
    images, needed = len(pool.labels), settings.start + settings.rounds * settings.count
    if needed > images:
        most = max((images - settings.start) // settings.rounds, 1)
        raise ValueError(
            f"start + rounds x count = {settings.start} + {settings.rounds} x {settings.count} = "
            f"{needed:,} labels, but {images:,} training images have one: take count={most}, or "
            "fewer rounds"
        )
    each = np.minimum(np.bincount(pool.patients), pool.per_patient).sum()
    if settings.count > each:
        raise ValueError(
            f"count = {settings.count}, but {each:,} training photographs are all that a batch may "
            f"hold with per_patient={pool.per_patient}: take count={each}, or a larger per_patient"
        )


def perform(rehearsal: Rehearsal, method: Method, seed: int) -> Arm:
    """One method from one seed; the first labels of a seed are the same for all methods.

    Args:
      seed: at least 0.

    Raises:
      ValueError: quotas leave too few photographs for a batch.
    """
    truth, pool = rehearsal.truth, _begun(rehearsal, seed)
    said, chosen = [predicted(pool.learned)], []
    for number in range(_SEEDS_APART * seed + 1, _SEEDS_APART * seed + 1 + rehearsal.rounds):
        batch = method(pool, rehearsal.count, number)
        rows = np.array([one.row for one in batch], int)
        if len(rows) < rehearsal.count:
            raise ValueError(
                f"only {len(rows)} of {rehearsal.count} photographs could be chosen with "
                f"per_patient={pool.per_patient} after {int(pool.labelled.sum())} labels: take a "
                "smaller count=, fewer rounds= or a larger per_patient="
            )
        pool = pool.labelled_too(rows, truth[rows])
        chosen.append(rows)
        said.append(predicted(pool.learned))
    return Arm(np.stack(said), np.stack(chosen))


@functools.lru_cache(maxsize=1)
def _begun(rehearsal: Rehearsal, seed: int) -> Pool:
    """The pool with a seed's first labels, and the classifier that all methods begin with."""
    pool = dataclasses.replace(rehearsal.pool, learner=rehearsal.learner)
    rows = first_rows(pool, rehearsal.start, _SEEDS_APART * seed)
    return pool.labelled_too(rows, rehearsal.truth[rows])


def first_rows(pool: Pool, start: int, seed: int) -> np.ndarray:
    """`[start]` rows drawn at random, every patient once before any comes again."""
    unbound = dataclasses.replace(pool, per_patient=len(pool.labels), once=())
    return np.array(Quota(unbound).take_first(random_draw.order(unbound, seed), start), int)
