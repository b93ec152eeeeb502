"""How well probabilities rank the images of a class above the others, whatever the threshold.

Letters: B images, N classes, G patients, R resamples, T trials, K thresholds;
W resamples at a time.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import sparse
from sklearn import metrics

from dermjax.analysis import bootstrap, labelled

_CELLS = 1 << 19  # K x W of one class; they take 28 bytes each, so about 15 MB


@dataclasses.dataclass(frozen=True)
class Ranking(bootstrap.Averaged):
    """Ranking measures in [0, 1]; `...` is nothing, or the resamples."""

    auroc: np.ndarray  # [..., N], NaN for a class without images, or without others
    auprc: np.ndarray  # [..., N], the same
    top_k: np.ndarray  # [...]

    @property
    def macro_auroc(self) -> np.ndarray:
        """`[...]`, unweighted mean over the classes that have a value."""
        return bootstrap.mean_of_defined(self.auroc)

    @property
    def macro_auprc(self) -> np.ndarray:
        """`[...]`, unweighted mean over the classes that have a value."""
        return bootstrap.mean_of_defined(self.auprc)


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Area under each class's one-vs-rest ROC curve `[N]`, in [0, 1]; chance is .5.

    The chance that an image of the class gets more of its probability than one of another class,
    equal ones counting half (Hanley & McNeil 1982).

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.

    Returns:
      NaN for a class without images, or without images of other classes.

    Raises:
      ValueError: no images, other shapes, labels outside [0, N), or scores that are not finite.
    """
    return _one_vs_rest(metrics.roc_auc_score, labels, probabilities)


def auprc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Average precision of each class against the rest `[N]`, in (0, 1].

    The sum of precision times growth in sensitivity over all thresholds, not interpolated (Davis &
    Goadrich 2006, on why not). Chance is the class's share of the images, so that values
    of a rare and of a common class are not comparable.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.

    Returns:
      NaN for a class without images, or without images of other classes.

    Raises:
      ValueError: see `auroc`.
    """
    return _one_vs_rest(metrics.average_precision_score, labels, probabilities)


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int = 3) -> float:
    """Share of images whose class is among the k likeliest, in [0, 1].

    Of equal probabilities the first classes are taken, as argmax does: k = 1 is the accuracy.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[B, N]`, or any scores that rank.
      k: in [1, N].

    Raises:
      ValueError: k outside [1, N], or see `auroc`.
    """
    return float(_among_likeliest(*labelled.scores(labels, probabilities), k).mean())


def resample(
    labels: np.ndarray, probabilities: np.ndarray, weights: bootstrap.PatientWeights, k: int = 3
) -> bootstrap.Resampled:
    """`Ranking` of one strategy, averaged over its trials inside each resample of patients.

    Exact: a resample's areas are those that scikit-learn finds with its counts as weights, ties
    included. A resample in which a class has no image leaves it out of its macro means. Analytic
    intervals that know patients (DeLong's for clusters: Obuchowski 1997) are of AUROC alone and
    would save little: this takes .3 s for a run of 6,910 images, 10 classes and 2,000 resamples.
    Memory beside the counts: 15 MB and 16 bytes for each image and class.

    Simulated intervals of AUROC held the true one in 93 to 94 % of test sets with 200 images of the
    class or more, and in 80 to 86 % of those with 15 to 20; of AUPRC in 91 to 95 % of all.

    Args:
      labels: `[B]` int in [0, N).
      probabilities: `[T, B, N]` of the trials, or `[B, N]` of one run.
      weights: of the B images.
      k: of the top-k accuracy, in [1, N].

    Raises:
      ValueError: k outside [1, N], not as many patients as images, or see `auroc`.
    """

    def both(run):
        own_labels, scores = labelled.scores(labels, run)
        weights.check(own_labels)
        among = _among_likeliest(own_labels, scores, k)
        point = Ranking(auroc(labels, run), auprc(labels, run), among.mean())
        return point, Ranking(*_resampled_areas(own_labels, scores, weights), weights.means(among))

    probabilities = np.asarray(probabilities)
    return bootstrap.over_trials(
        both, probabilities.reshape(-1, *probabilities.shape[-2:]), weights
    )


def _one_vs_rest(score: Callable, labels, probabilities) -> np.ndarray:
    """A score of every class that has both positives and negatives."""
    labels, probabilities = labelled.scores(labels, probabilities)
    n = np.bincount(labels, minlength=probabilities.shape[1])
    return np.array(
        [
            score(labels == c, probabilities[:, c]) if 0 < n[c] < len(labels) else np.nan
            for c in range(len(n))
        ]
    )


def _among_likeliest(labels, probabilities, k) -> np.ndarray:
    """`[B]` bool, whether the class is among the k likeliest."""
    classes = probabilities.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"k = {k} must lie in [1, {classes}], the classes; min(k, N) does")
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return (likeliest == labels[:, None]).any(1)


@dataclasses.dataclass(frozen=True)
class _Thresholds:
    """A class's images by the K different scores of its positives, the highest first.

    Sensitivity grows at these alone, so that both areas are sums over them. Row k counts each
    patient's images whose score reaches the k-th threshold, but not the one above.
    """

    positives: sparse.csr_array  # [K, G]
    negatives: sparse.csr_array  # [K + 1, G], the last row those below all thresholds
    tied: sparse.csr_array  # [K, G], the negatives that equal the threshold

    @classmethod
    def of(cls, positive, scores, weights):
        ascending = np.unique(scores[positive])
        k, patients = len(ascending), weights.counts.shape[1]
        row = k - np.searchsorted(ascending, scores, side="right")

        def counted(images, rows):
            places = (row[images], weights.inverse[images])
            ones = np.ones(len(places[0]), np.int32)
            return sparse.coo_array((ones, places), shape=(rows, patients)).tocsr()

        tied = ~positive & np.isin(scores, ascending)
        return cls(counted(positive, k), counted(~positive, k + 1), counted(tied, k))


def _resampled_areas(labels, probabilities, weights) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision `[R, N]` of the resamples."""
    classes, resamples = probabilities.shape[1], len(weights.counts)
    width = max(1, _CELLS // np.bincount(labels).max())
    parts = [_Thresholds.of(labels == c, probabilities[:, c], weights) for c in range(classes)]
    areas = np.full((2, resamples, classes), np.nan)
    for start in range(0, resamples, width):
        some = slice(start, start + width)
        draws = np.ascontiguousarray(weights.counts[some].T)  # [G, W]
        for c, own in enumerate(parts):
            if own.positives.shape[0]:
                areas[:, some, c] = _areas(own, draws)
    return areas[0], areas[1]


def _areas(own: _Thresholds, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision `[W]`, of counts `draws [G, W]`; NaN without both kinds."""
    gained = own.positives @ draws  # [K, W] positives at each threshold
    hits = np.cumsum(gained, axis=0, dtype=np.int32)
    alarms = np.cumsum(own.negatives @ draws, axis=0, dtype=np.int32)  # [K + 1, W]
    positives, negatives = hits[-1].astype(np.float64), alarms[-1].astype(np.float64)
    # Every positive is above the negatives that do not reach its threshold; ties count half.
    lost = np.einsum("kw,kw->w", gained, alarms[:-1], dtype=np.float64)
    rows = np.flatnonzero(np.diff(own.tied.indptr))
    half = np.einsum("kw,kw->w", gained[rows], own.tied[rows] @ draws, dtype=np.float64) / 2
    precision = hits / np.maximum(hits + alarms[:-1], 1)
    total = np.einsum("kw,kw->w", gained, precision)
    defined = (positives > 0) & (negatives > 0)
    pairs = np.where(defined, positives * negatives, np.nan)
    return 1 - (lost - half) / pairs, total / np.where(defined, positives, np.nan)
