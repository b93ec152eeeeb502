"""Whether probabilities mean what they say, and one number that mends them (Guo et al. 2017).

Letters: B images, N classes, M bins, R resamples, T trials; probabilities `[B, N]` lie in [0, 1],
rows sum to 1.
"""

import dataclasses

import numpy as np
from scipy import optimize, sparse, special

from dermjax.statistics import arguments, bootstrap, classification
from dermjax.statistics.intervals import Estimate
from dermjax.statistics.measurement import Measurement

_SMALLEST = 1e-12  # a probability of 0 costs 27.6 nats, not infinity
_RANGE = (0.05, 20.0)  # of the temperature


@dataclasses.dataclass(frozen=True)
class Bins:
    """Answers by confidence: bin m of M holds those in ((m - 1) / M, m / M]; arrays are `[M]`."""

    count: np.ndarray  # int
    confidence: np.ndarray  # mean, NaN in an empty bin
    accuracy: np.ndarray  # share of right answers, NaN in an empty bin

    @property
    def calibration_error(self) -> float:
        """Mean over images of |accuracy - confidence| of their bin (Guo et al. 2017, eq. 3)."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.average(gaps, weights=self.count[filled]))


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Bins:
    """The reliability diagram: bins of equal width of the likeliest class's probability.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`; of equal ones the first class is the answer.
      bins: M, at least 1.

    Raises:
      ValueError: no images, other shapes, a value that is no probability, or no bins.
    """
    labels, probabilities = arguments.probabilities(labels, probabilities)
    return _binned(probabilities.max(1), probabilities.argmax(1) == labels, bins)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """ECE in [0, 1] of the likeliest class (Guo et al. 2017, eq. 3); 0 is calibrated.

    Raises:
      ValueError: see `reliability`.
    """
    return reliability(labels, probabilities, bins).calibration_error


def classwise_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """Mean over all N classes of the ECE of "is it this class" (Kull et al. 2019, section 2).

    A class without images counts too: giving it probability is an error of calibration.

    Raises:
      ValueError: see `reliability`.
    """
    labels, probabilities = arguments.probabilities(labels, probabilities)
    errors = [
        _binned(column, labels == c, bins).calibration_error
        for c, column in enumerate(probabilities.T)
    ]
    return float(np.mean(errors))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance to the one-hot label, summed over classes (Brier 1950): in [0, 2].

    Raises:
      ValueError: see `reliability`.
    """
    return float(_squares(*arguments.probabilities(labels, probabilities)).mean())


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, in [0, 27.6]: probabilities below 1e-12 count as it.

    Raises:
      ValueError: see `reliability`.
    """
    return float(_losses(*arguments.probabilities(labels, probabilities)).mean())


def errors(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: bootstrap.PatientWeights | None,
    bins: int = 15,
) -> dict[str, Estimate]:
    """`ece` and `classwise_ece`: means over the trials as they are, with intervals over patients.

    Distances of chance alone are distances too, so that both errors are too large on a finite test
    set, and larger still on its resamples: they take basic intervals. Simulated with 10 classes and
    15 bins, those held the true ECE in 94 to 98 % of test sets of 6,910 images where it was .09 or
    more, and in 78 to 87 % below .04; percentiles, in none where it was 0. For the classwise error
    it was 89 to 96 % from .02, and hardly ever where it was below .002: it then ends too high.

    Exact, by one matrix product: an error of calibration is the sum over bins of how far apart the
    bin's images pull right answers and confidence, and a resample only weighs the images. .1 s for
    a run of 6,910 images, 10 classes and 2,000 resamples. Memory: that of `PatientWeights.means`
    of C = (N + 1) M.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[T, B, N]` of the trials, or `[B, N]` of one run.
      weights: of the B images; None where there are no two patients: then there is no interval.
      bins: M, at least 1.

    Raises:
      ValueError: not as many patients as images, or see `reliability`.
    """
    probabilities = np.asarray(probabilities)
    trials = probabilities.reshape(-1, *probabilities.shape[-2:])
    points = {
        "ece": [calibration_error(labels, run, bins) for run in trials],
        "classwise_ece": [classwise_calibration_error(labels, run, bins) for run in trials],
    }
    values = {name: float(np.mean(found)) for name, found in points.items()}
    if weights is None:
        return {name: Estimate(value, np.nan, np.nan) for name, value in values.items()}
    resamples = np.mean([_resampled(labels, run, weights, bins) for run in trials], 0)  # [2, R]
    found = {}
    for (name, value), drawn in zip(values.items(), resamples, strict=True):
        low, high = bootstrap.basic_interval(value, drawn)
        # Where every draw gives the same, but for rounding, the images show no variance at all.
        if high - low < 1e-9:
            low = high = np.nan
        found[name] = Estimate(value, low, high)
    return found


def scores(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray
) -> dict[str, Measurement]:
    """`brier` and `log_loss` of the trials, with the patients' influences.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[T, B, N]` of the trials, or `[B, N]` of one run.
      patients: `[B]` int in [0, G), the patient of each image.

    Raises:
      ValueError: not as many patients as images, or see `reliability`.
    """
    probabilities = np.asarray(probabilities)
    trials = probabilities.reshape(-1, *probabilities.shape[-2:])
    checked = [arguments.probabilities(labels, run) for run in trials]
    by_image = np.array([[_squares(*one), _losses(*one)] for one in checked])  # [T, 2, B]
    found = classification.means(by_image.swapaxes(1, 2), patients, bounded=False)
    return {"brier": found.of(0), "log_loss": found.of(1)}


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature that minimises the log loss of VALIDATION images (Guo et al. 2017, eq. 9).

    Args:
      labels: `[B]` int in [0, N). Test images are not for fitting.
      logits: `[B, N]`, or log-probabilities, which serve as well.

    Returns:
      T in [.05, 20]; above 1 the network was too sure of itself. At an end when nothing else fits:
      validation images without an error, or probabilities that know nothing.

    Raises:
      ValueError: no images, other shapes, or a logit that is not finite.
    """
    labels, logits = arguments.scores(
        labels, logits, remedy="take log_probabilities(), which bounds them"
    )
    rows = np.arange(len(labels))

    def loss(log_temperature):
        return -special.log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    # The loss is convex in 1 / T, so it has one valley in log T.
    found = optimize.minimize_scalar(
        loss, bounds=np.log(_RANGE), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`[B, N]` -> softmax(log p / T) `[B, N]` float64: p itself at T = 1, the same order at any T.

    Raises:
      ValueError: T is not above 0, or see `reliability`.
    """
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature} must be above 0; 1 changes nothing")
    return special.softmax(log_probabilities(probabilities) / temperature, axis=1)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms `[B, N]` float64, of at least 1e-12: finite also where float32 says 0.

    Raises:
      ValueError: see `reliability`.
    """
    _, probabilities = arguments.probabilities(np.zeros(len(probabilities), int), probabilities)
    return np.log(np.maximum(probabilities, _SMALLEST))


def _resampled(labels, probabilities, weights, bins) -> np.ndarray:
    """ECE and classwise ECE of every resample, `[2, R]`."""
    labels, probabilities = arguments.probabilities(labels, probabilities)
    weights.check(labels)
    n, classes = probabilities.shape
    # The first question is the likeliest class, then each class has its own.
    confidence = np.column_stack([probabilities.max(1), probabilities])  # [B, 1 + N]
    right = np.column_stack([probabilities.argmax(1) == labels, np.eye(classes)[labels]])
    columns = bins * np.arange(1 + classes) + _bin_of(confidence, bins)
    places = (np.repeat(np.arange(n), 1 + classes), columns.ravel())
    gaps = sparse.coo_array(((right - confidence).ravel(), places), (n, bins * (1 + classes)))
    off = np.abs(weights.means(gaps)).reshape(-1, 1 + classes, bins).sum(-1)  # [R, 1 + N]
    return np.stack([off[:, 0], off[:, 1:].mean(1)])


def _squares(labels, probabilities) -> np.ndarray:
    """`[B]` squared distances to the one-hot label."""
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1)


def _losses(labels, probabilities) -> np.ndarray:
    """`[B]` negative log-likelihoods."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, _SMALLEST, 1))


def _bin_of(confidence, bins) -> np.ndarray:
    """Index of the bin of equal width over [0, 1]; 0 falls into the first."""
    if bins < 1:
        raise ValueError(f"bins = {bins} must be at least 1; 15 is usual")
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)


def _binned(confidence, right, bins):
    """Bins of equal width over [0, 1]."""
    index = _bin_of(confidence, bins)
    count = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights=values, minlength=bins) for values in (confidence, right)]
    means = [np.where(count, total / np.maximum(count, 1), np.nan) for total in sums]
    return Bins(count, *means)
