"""Features on a plane (van der Maaten & Hinton 2008), and how well they part the classes.

The picture is for looking; purity and silhouette are taken of the features themselves.

Letters: B images, F features, N classes, k neighbours.
"""

import dataclasses

import numpy as np
import openTSNE
from sklearn import metrics
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

_COMPONENTS = 50  # before t-SNE, as its authors did with 30 (2008, section 4.2)
_PERPLEXITY = 30.0
_EXACT = 25_000  # images up to which all distances are looked at
_THREADED = 1000  # images from which threads are worth their meetings
# Images from which repulsion is interpolated on a grid (Linderman et al. 2019) instead of summed by
# Barnes and Hut's tree: 13 s of one core, not 25, for 6,910 images; for few the tree is faster.
_INTERPOLATED = 5000
_SAMPLE = 5000  # images of which the silhouette is taken: it needs all pairs


@dataclasses.dataclass(frozen=True)
class Purity:
    """Share of an image's k nearest neighbours that have its class, in [0, 1]."""

    mean: float  # over images; chance is the sum of the classes' squared shares
    macro: float  # over classes, each the mean of its images; chance is about 1 / N
    by_class: dict[int, float]  # of the classes that have images


def embed(features: np.ndarray, seed: int, jobs: int = 1) -> np.ndarray:
    """t-SNE of the first 50 principal components: `[B, F]` -> `[B, 2]` float32.

    The same seed gives the same picture on one machine. It starts from the first two components,
    which keeps the large distances (Kobak & Berens 2019), at a perplexity of min(30, (B - 1) / 3).
    Features that have collapsed to one point are one point.

    Args:
      features: finite; distances are Euclidean.
      jobs: threads; fewer than 1,000 images take one.

    Raises:
      ValueError: fewer than 4 images, or features that are not finite.
    """
    features = _checked(features, 4)
    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), 2), np.float32)
    count = min(_COMPONENTS, *features.shape)
    components = PCA(count, svd_solver="randomized", random_state=seed).fit_transform(features)
    if count < 2:  # one feature is a line; t-SNE starts from a plane
        components = np.pad(components, ((0, 0), (0, 1)))
    fitted = openTSNE.TSNE(
        perplexity=min(_PERPLEXITY, (len(features) - 1) / 3),
        initialization="pca",
        negative_gradient_method="fft" if len(features) >= _INTERPOLATED else "bh",
        neighbors="exact" if len(features) <= _EXACT else "annoy",
        # Threads meet at every one of 750 steps: for few images that is all that they would do, and
        # on a busy machine they wait for each other (47 s with two for 240 images, 5 s with one).
        n_jobs=jobs if len(features) >= _THREADED else 1,
        random_state=seed,
    ).fit(components)
    return np.asarray(fitted, np.float32)


def purity(points: np.ndarray, labels: np.ndarray, k: int = 10) -> Purity:
    """How often the k nearest neighbours of an image, itself left out, have its class.

    Args:
      points: `[B, F]` features or `[B, 2]` of `embed`; distances are Euclidean.
      labels: `[B]` int.
      k: in [1, B - 1].

    Raises:
      ValueError: k outside [1, B - 1], points that are not finite, or not as many labels.
    """
    points, labels = _checked(points, 2), np.asarray(labels)
    _same_length(points, labels)
    if not 1 <= k < len(points):
        raise ValueError(
            f"k = {k} must lie in [1, {len(points) - 1}], the other images; 10 is usual"
        )
    near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    shares = (labels[near] == labels[:, None]).mean(1)
    by_class = {int(c): float(shares[labels == c].mean()) for c in np.unique(labels)}
    return Purity(float(shares.mean()), float(np.mean(list(by_class.values()))), by_class)


def silhouette(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Mean silhouette in [-1, 1] of at most 5,000 images drawn by the seed (Rousseeuw 1987).

    Above 0 when images lie closer to their own class than to the next one.

    Args:
      features: `[B, F]`; distances are Euclidean.
      labels: `[B]` int.

    Returns:
      NaN when the sample has one class only, or no two images of the same.

    Raises:
      ValueError: features that are not finite, or not as many labels.
    """
    features, labels = _checked(features, 2), np.asarray(labels)
    _same_length(features, labels)
    rows = np.random.default_rng(seed).permutation(len(features))[:_SAMPLE]
    classes = len(np.unique(labels[rows]))
    if not 2 <= classes < len(rows):
        return float("nan")
    return float(metrics.silhouette_score(features[rows], labels[rows]))


def _checked(points, least):
    """`[B, F]` float32, finite and at least so many."""
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or len(points) < least or points.shape[1] < 1:
        raise ValueError(
            f"features of shape {points.shape} must be [B, F] of at least {least} images"
        )
    if not np.isfinite(points).all():
        rows = (~np.isfinite(points)).any(1)
        raise ValueError(
            f"features of {rows.sum()} of {len(points)} images are not finite; all must be: "
            "look at the network's weights, or leave these images out"
        )
    return points


def _same_length(points, labels):
    if labels.shape != points.shape[:1]:
        raise ValueError(f"labels {labels.shape} of points {points.shape}: each needs one label")
