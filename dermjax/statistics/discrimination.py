"""How well probabilities rank the images of a class above the others, whatever the threshold.

Letters: B images, N classes, G patients, T trials.
"""

from collections.abc import Callable

import numpy as np
from sklearn import metrics

from dermjax.statistics import arguments, classification
from dermjax.statistics.classification import by_patient
from dermjax.statistics.measurement import ByClass, Measurement

# Degrees of freedom lent to an AUROC's variance by theory: a class of few patients, nearly all of
# them ranked rightly, shows too little of it (simulated: without, 78 % of the intervals of a class
# of five patients were right, 82 to 88 % of classes of eight to forty).
_PRIOR = 1.0
# Patients: of other classes for an AUPRC to have an interval, of each class for the macro mean.
AUPRC_OTHERS, AUPRC_OWN = 20, 2


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
    return float(_among_likeliest(*arguments.scores(labels, probabilities), k).mean())


def by_class(
    name: str, labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray
) -> ByClass:
    """AUROC or AUPRC of each class and trial, with the patients' influences.

    An average precision of few images is too high on average, which no interval of its variance
    shows: it has none where the patients of other classes are fewer than `AUPRC_OTHERS`, its macro
    mean none where a class has fewer than `AUPRC_OWN` (simulated: 79 to 92 % of the intervals held
    the truth with 15 other patients, 54 % with many classes of one; otherwise 90 to 98 %).

    Args:
      name: `auroc` or `auprc`.
      labels: `[B]` int in [0, N).
      probabilities: `[T, B, N]` of the trials, or `[B, N]` of one run.
      patients: `[B]` int in [0, G), the patient of each image.

    Raises:
      ValueError: not as many patients as images, or see `auroc`.
    """
    value, influence = {"auroc": (auroc, _auroc_influence), "auprc": (auprc, _auprc_influence)}[
        name
    ]
    probabilities = np.asarray(probabilities)
    trials = probabilities.reshape(-1, *probabilities.shape[-2:])
    values = np.array([value(labels, run) for run in trials])
    values = np.minimum(values, 1.0)  # an average precision may be a rounding error above it
    labels = np.asarray(labels)
    member = by_patient(patients, len(labels))
    truth = np.eye(trials.shape[-1], dtype=bool)[labels]
    own, others = member @ truth, member @ ~truth
    change = np.zeros((len(trials), *own.shape))
    for t, c in zip(*np.nonzero(np.isfinite(values)), strict=True):
        slope = influence(truth[:, c], trials[t, :, c].astype(np.float64), values[t, c])
        # Either kind of image has its own correction for few patients.
        for images, kind in ((truth[:, c], own[:, c]), (~truth[:, c], others[:, c])):
            n = (kind > 0).sum()
            change[t, :, c] += member @ (slope * images) * (n / max(n - 1, 1)) ** 0.5
    behind = np.minimum((own > 0).sum(0), (others > 0).sum(0))
    if name == "auprc":
        behind = np.where((others > 0).sum(0) >= AUPRC_OTHERS, behind, 0)
    theory = _exponential_variance(values.mean(0), (own > 0).sum(0), (others > 0).sum(0))
    shown = (change.mean(0) ** 2).sum(0)
    # Trials that err independently share the variance, as they do in what the patients show.
    theory = theory * np.sqrt(shown / np.maximum((change**2).sum(1).mean(0), 1e-300))
    extra = _PRIOR * (theory - shown) / np.maximum(behind - 1 + _PRIOR, _PRIOR)
    return ByClass(
        values,
        change,
        images=np.minimum(truth.sum(0), (~truth).sum(0)),
        patients=behind,
        people=len(np.unique(patients)),
        extra=np.where(behind > 1, np.nan_to_num(extra), 0.0) if name == "auroc" else 0.0,
        freedom=_PRIOR if name == "auroc" else 0.0,
        limited=False,
        enough=AUPRC_OWN if name == "auprc" else 0,
    )


def top_k(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, k: int
) -> Measurement:
    """The top-k accuracy of the trials, with the patients' influences.

    Args:
      labels, probabilities, patients: see `by_class`.
      k: in [1, N].

    Raises:
      ValueError: k outside [1, N], or see `auroc`.
    """
    probabilities = np.asarray(probabilities)
    trials = probabilities.reshape(-1, *probabilities.shape[-2:])
    among = [_among_likeliest(*arguments.scores(labels, run), k) for run in trials]
    return classification.means(np.array(among)[:, :, None], patients).of(0)


def _exponential_variance(area: np.ndarray, positives: np.ndarray, negatives: np.ndarray):
    """Variance `[N]` of an AUROC from its value alone (Hanley & McNeil 1982, equation 2).

    It is that of scores with exponential distributions. An area of 1 has it none, so that one is
    taken with a quarter of an image wrong.
    """
    m, n = np.maximum(positives, 1), np.maximum(negatives, 1)
    area = np.minimum(area, 1 - 1 / (4 * m))
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (m - 1) * (first - area**2) + (n - 1) * (second - area**2)
    return (area * (1 - area) + spread) / (m * n)


def _auroc_influence(positive: np.ndarray, scores: np.ndarray, area: float) -> np.ndarray:
    """`[B]`, the area's derivatives by the images' weights (DeLong et al. 1988, equation 3)."""
    influence = np.empty(len(scores))
    for own, sign in ((positive, 1), (~positive, -1)):
        others = np.sort(sign * scores[~own])
        below = np.searchsorted(others, sign * scores[own], side="left")
        up_to = np.searchsorted(others, sign * scores[own], side="right")
        influence[own] = ((below + up_to) / (2 * len(others)) - area) / own.sum()
    return influence


def _auprc_influence(positive: np.ndarray, scores: np.ndarray, area: float) -> np.ndarray:
    """`[B]`, the derivatives of the average precision by the images' weights.

    The average precision is a mean over positives of the precision at their scores. A positive's
    weight adds its own precision, and raises that at all lower scores; a negative's lowers it.
    """
    thresholds, rank = np.unique(-scores, return_inverse=True)  # the highest score first
    hits = np.cumsum(np.bincount(rank, positive, minlength=len(thresholds)))
    answers = np.cumsum(np.bincount(rank, minlength=len(thresholds)))
    positives = np.bincount(rank, positive, minlength=len(thresholds))
    # Over the positives from a threshold down: what a further hit, or false alarm, would change.
    gained = np.cumsum((positives * (answers - hits) / answers**2)[::-1])[::-1]
    lost = np.cumsum((positives * hits / answers**2)[::-1])[::-1]
    precision = hits / answers
    slope = np.where(positive, precision[rank] - area + gained[rank], -lost[rank])
    return slope / positive.sum()


def _one_vs_rest(score: Callable, labels, probabilities) -> np.ndarray:
    """A score of every class that has both positives and negatives."""
    labels, probabilities = arguments.scores(labels, probabilities)
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
