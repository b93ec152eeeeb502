"""Intervals by resampling PATIENTS, not images (Davison & Hinkley 1997, section 3.8).

Images of one patient resemble each other: intervals that resample images are too narrow. All runs
of a study are measured on the same draws of patients, so differences between runs are paired.

Letters: B images, N classes, G patients, R resamples, T trials; `...` any leading axes.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

_DRAWS = 500  # resamples whose counts are float64 at a time


@dataclasses.dataclass(frozen=True)
class PatientWeights:
    """How often each patient was drawn, and whose each image is."""

    counts: np.ndarray  # [R, G] int32, rows sum to G
    inverse: np.ndarray  # [B] int in [0, G), the patient of each image
    fingerprint: str  # of patients and counts: what is paired has the same

    def of(self, images: np.ndarray) -> "PatientWeights":
        """The same draws for some of the images: `[B]` bool or rows."""
        return dataclasses.replace(self, inverse=self.inverse[images])

    def check(self, labels: np.ndarray) -> None:
        """Raises ValueError unless there are as many images, each with its patient."""
        if labels.shape != self.inverse.shape:
            raise ValueError(
                f"patients of {len(self.inverse)} images for {len(labels)} labels must be as many; "
                "of() takes those of some images"
            )

    def means(self, values: np.ndarray | sparse.sparray) -> np.ndarray:
        """Means over each resample's images: `[B]` or `[B, C]` -> `[R]` or `[R, C]`.

        NaN for a resample without images, which some of the images may have. `[B, C]` may be
        sparse. Memory: 8 bytes for each of G patients and C values, and for each of G patients and
        500 resamples.
        """
        images, patients = np.arange(len(self.inverse)), self.counts.shape[1]
        ones = np.ones(len(images))
        member = sparse.coo_array((ones, (self.inverse, images)), (patients, len(images))).tocsr()
        columns = values if np.ndim(values) == 2 else np.reshape(values, (-1, 1))
        columns = sparse.hstack([sparse.coo_array(ones[:, None]), sparse.coo_array(columns)])
        by_patient = (member @ columns).toarray()  # [G, 1 + C]
        totals = np.empty((len(self.counts), by_patient.shape[1]))
        for start in range(0, len(totals), _DRAWS):
            some = slice(start, start + _DRAWS)
            totals[some] = self.counts[some].astype(np.float64) @ by_patient
        means = _ratio(totals[:, 1:], totals[:, :1], totals[:, :1] > 0)
        return means if np.ndim(values) == 2 else means[:, 0]


@dataclasses.dataclass(frozen=True)
class Averaged:
    """Measures that are averaged over trials: arrays whose first axes are trials or resamples."""

    upward: ClassVar[tuple[str, ...]] = ()  # what resampling itself makes larger

    @classmethod
    def mean(cls, trials: list[Self]) -> Self:
        """Means over trials; they share their test images, so they lack the same classes."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.mean([getattr(one, name) for one in trials], 0) for name in names})


@dataclasses.dataclass(frozen=True)
class Measures(Averaged):
    """Measures of confusion matrices `[..., N, N]`, in [0, 1].

    As in `measures.py`, a class without images has no measures (NaN) and stays out of the macro
    means of that matrix. What is never answered counts as 0: the precision of a class that is never
    predicted, the NPV of one that is always predicted. Specificity is NaN without other images.
    """

    accuracy: np.ndarray  # [...], NaN without any images
    precision: np.ndarray  # [..., N], also called PPV
    sensitivity: np.ndarray  # [..., N], also called recall
    specificity: np.ndarray  # [..., N]
    npv: np.ndarray  # [..., N]
    f1: np.ndarray  # [..., N]

    @property
    def macro_precision(self) -> np.ndarray:
        """`[...]`, unweighted mean over the classes that have images."""
        return mean_of_defined(self.precision)

    @property
    def macro_sensitivity(self) -> np.ndarray:
        """`[...]`, unweighted mean over the classes that have images."""
        return mean_of_defined(self.sensitivity)

    @property
    def macro_f1(self) -> np.ndarray:
        """`[...]`, unweighted mean over the classes that have images."""
        return mean_of_defined(self.f1)


@dataclasses.dataclass(frozen=True)
class Resampled:
    """Means over trials on the images as they are, and on each resample."""

    point: Averaged  # arrays [] and [N]
    resamples: Averaged  # of the same kind, arrays [R] and [R, N]
    fingerprint: str  # of the draws

    def estimate(self, name: str, level: float = 0.95) -> "Estimate":
        """One measure by name, say `macro_sensitivity`, with its interval at `level`.

        Percentiles; of what resampling makes larger (`upward`) the basic interval.
        """
        point, resamples = np.asarray(getattr(self.point, name)), getattr(self.resamples, name)
        value = float(point) if point.ndim == 0 else point
        if name in self.point.upward:
            return Estimate(value, *basic_interval(value, resamples, level))
        return Estimate(value, *interval(resamples, level))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value and its interval; floats, or `[N]` of a measure by class."""

    value: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray

    def of(self, index: int) -> "Estimate":
        """Of one class."""
        return Estimate(*(float(part[index]) for part in (self.value, self.low, self.high)))


def patient_weights(groups: np.ndarray, resamples: int = 2000, seed: int = 0) -> PatientWeights:
    """Draws G of the G patients with replacement, R times.

    The draws depend on the set of patients and the seed alone, not on the images' order, and the
    first draws are the same whatever R is. Memory: 4 R G bytes.

    Args:
      groups: `[B]`, the patient of each image; any type that sorts.
      resamples: R, at least 1.

    Raises:
      ValueError: no images, no resamples, or only one patient.
    """
    patients, inverse = np.unique(np.asarray(groups), return_inverse=True)
    if len(patients) < 2:
        raise ValueError(
            f"{len(patients)} patients cannot be resampled; at least 2 are needed: without "
            "patients give each image a name of its own"
        )
    if resamples < 1:
        raise ValueError(f"resamples = {resamples} must be at least 1; 2000 is usual")
    rng, size = np.random.default_rng(seed), len(patients)
    # A patient's draws lie side by side: the product in `resampled_confusions` reads them so.
    counts = np.empty((size, resamples), np.int32)
    for draw in range(resamples):
        counts[:, draw] = np.bincount(rng.integers(size, size=size), minlength=size)
    digest = hashlib.blake2b(counts, digest_size=8)
    digest.update("\0".join(map(str, patients)).encode())
    return PatientWeights(counts=counts.T, inverse=inverse, fingerprint=digest.hexdigest())


def confusion_by_patient(
    labels: np.ndarray, predicted: np.ndarray, weights: PatientWeights, classes: int
) -> sparse.csr_array:
    """Each patient's confusion matrix as a row: `[G, N * N]` int32, true class first.

    Args:
      labels: `[B]` int in [0, N).
      predicted: `[B]` int in [0, N).

    Raises:
      ValueError: no images, arrays of different length, or a class outside [0, N).
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.size == 0 or not labels.shape == predicted.shape == weights.inverse.shape:
        raise ValueError(
            f"labels, predictions and patients must be as many and at least one; got "
            f"{labels.shape}, {predicted.shape} and {weights.inverse.shape}"
        )
    low = min(labels.min(), predicted.min())
    high = max(labels.max(), predicted.max())
    if low < 0 or high >= classes:
        raise ValueError(f"classes from {low} to {high} must lie in [0, {classes})")
    cells = labels.astype(np.int64) * classes + predicted
    shape = (weights.counts.shape[1], classes * classes)
    ones = np.ones(len(cells), np.int32)
    return sparse.coo_array((ones, (weights.inverse, cells)), shape=shape).tocsr()


def resampled_confusions(weights: PatientWeights, by_patient: sparse.csr_array) -> np.ndarray:
    """Confusion matrices `[R, N, N]` int32 of the resamples, by one (exact) matrix product."""
    classes = round(by_patient.shape[1] ** 0.5)
    cells = by_patient.T.tocsr() @ weights.counts.T
    return cells.T.reshape(-1, classes, classes)


def measures_of(confusions: np.ndarray) -> Measures:
    """Measures of confusion matrices `[..., N, N]`: rows are true classes, columns predicted."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    n, answers = confusions.sum(-1), confusions.sum(-2)
    total = n.sum(-1, keepdims=True)
    others, rejections = total - n, total - answers
    true_rejections = others - answers + hits
    present = n > 0
    return Measures(
        accuracy=_ratio(hits.sum(-1), total[..., 0], total[..., 0] > 0),
        precision=_ratio(hits, answers, present),
        sensitivity=_ratio(hits, n, present),
        specificity=_ratio(true_rejections, others, present & (others > 0)),
        npv=_ratio(true_rejections, rejections, present),
        f1=_ratio(2 * hits, n + answers, present),
    )


def resample(
    labels: np.ndarray, predicted: np.ndarray, weights: PatientWeights, classes: int
) -> Resampled:
    """Measures of one strategy, averaged over its trials inside each resample.

    A resample in which a class has no image leaves that class out of its macro means.

    Args:
      labels: `[B]` int in [0, N).
      predicted: `[T, B]` of the trials, or `[B]` of one run.

    Raises:
      ValueError: see `confusion_by_patient`.
    """

    def both(run):
        by_patient = confusion_by_patient(labels, run, weights, classes)
        point = measures_of(by_patient.sum(0).reshape(classes, classes))
        return point, measures_of(resampled_confusions(weights, by_patient))

    return over_trials(both, np.atleast_2d(predicted), weights)


def over_trials(
    both: Callable[[np.ndarray], tuple[Averaged, Averaged]],
    trials: np.ndarray,
    weights: PatientWeights,
) -> Resampled:
    """Means over trials of what `both` gives for each: as the images are, and resampled."""
    points, resamples = zip(*map(both, trials), strict=True)
    kind = type(points[0])
    return Resampled(kind.mean(points), kind.mean(resamples), weights.fingerprint)


def interval(values: np.ndarray, level: float = 0.95) -> tuple:
    """Percentile interval over the first axis (Davison & Hinkley 1997, eq. 5.18).

    Args:
      values: `[R]` or `[R, ...]`, of the resamples; NaN (undefined in a resample) is left out.
      level: in (0, 1).

    Returns:
      low and high, floats for `[R]`; NaN where no resample defines the value.

    Raises:
      ValueError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level} must lie in (0, 1); .95 is usual")
    values = np.asarray(values, np.float64)
    undefined = np.isnan(values).all(0)
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.nanquantile(np.where(undefined, 0.0, values), tails, axis=0)
    low, high = np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)


def basic_interval(value: float, values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The basic interval (Davison & Hinkley 1997, eq. 5.6) of a measure in [0, infinity).

    2 value - percentiles: what resampling adds to the value is taken off it, as the test set's own
    draw has added it before. The value itself may lie above it.

    Args:
      value: on the images as they are.
      values: `[R]`, of the resamples.
      level: in (0, 1).

    Raises:
      ValueError: see `interval`.
    """
    low, high = interval(values, level)
    return max(0.0, 2 * value - high), max(0.0, 2 * value - low)


def _ratio(part, whole, defined) -> np.ndarray:
    """part / whole; 0 where the whole is empty, NaN where it is not defined."""
    return np.where(defined, part / np.maximum(whole, 1), np.nan)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN: `[..., N]` -> `[...]`; NaN when nothing is defined."""
    defined = np.isfinite(values)
    total = np.where(defined, values, 0).sum(-1)
    return _ratio(total, defined.sum(-1), defined.any(-1))
