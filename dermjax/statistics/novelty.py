"""How unlike the training images a photograph is, by the features before the last layer.

Three distances, the larger the less alike:

- `knn`: the cosine distance to the k-th nearest training image, in [0, 2] (Sun et al. 2022,
  "Out-of-distribution detection with deep nearest neighbors"; their Euclidean distance of unit
  vectors is the root of twice this).
- `mahalanobis`: the squared Mahalanobis distance to the nearest class mean, with one covariance for
  all classes (Lee et al. 2018, equation 2), which is shrunk, as F dimensions ask for more images
  than there often are (Ledoit & Wolf 2004).
- `relative_mahalanobis`: the same less the squared Mahalanobis distance to the mean of all images
  with the covariance of all, so that what is unusual in any image does not count (Ren et al. 2021,
  "A simple fix to Mahalanobis distance for improving near-OOD detection"). It may be negative.

Letters: B images, M training images, F dimensions, N classes, k neighbours, G patients.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import linalg

from dermjax.statistics import patientwise

METHODS = ("knn", "mahalanobis", "relative_mahalanobis")
# Small, so that a rare class has as many images: with the 50 of Sun et al. for CIFAR-10, whose
# classes have 5,000 each, every image of a class of 30 would be far away [ours].
NEIGHBOURS = 10
_ROWS = 2048  # images in float64 at a time: 29 MB of 1,792 dimensions
_SIMILARITIES = 2**24  # at a time, 64 MB
_LEAST_SHRINKAGE = 1e-6  # so that a covariance of few images can be inverted


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Normal distributions with means of their own and a covariance in common.

    Attributes:
      whitening: `[F, F]` float64, W with W W' the inverse of the covariance.
      means: `[N, F]` float64, times W.
    """

    whitening: np.ndarray
    means: np.ndarray

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The squared Mahalanobis distances `[B]` float64 to the nearest mean, of `[B, F]`."""
        nearest = np.full(len(features), np.inf)
        for rows in _blocks(len(features), _ROWS):
            white = features[rows].astype(np.float64) @ self.whitening
            for mean in self.means:
                squares = ((white - mean) ** 2).sum(1)
                nearest[rows] = np.minimum(nearest[rows], squares)
        return nearest


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The training images themselves.

    Attributes:
      k: The neighbour whose distance counts, in [1, M].
      units: `[M, F]` float32, unit L2 norm.
    """

    k: int
    units: np.ndarray

    @property
    def dimensions(self) -> int:
        """F, of the features that it takes."""
        return self.units.shape[1]

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The cosine distances `[B]` float64 to the k-th neighbour, of `[B, F]`."""
        found, others = np.empty(len(features)), len(self.units)
        for rows in _blocks(len(features), max(1, _SIMILARITIES // others)):
            similarities = _units(features[rows]) @ self.units.T  # [rows, M]
            similarities.partition(others - self.k, axis=1)
            found[rows] = 1 - similarities[:, -self.k].astype(np.float64)
        return np.maximum(found, 0)  # of rounding

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name, for `np.savez`; `from_arrays` reads them."""
        return {"method": np.array("knn"), "k": np.array(self.k), "units": self.units}


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """The distributions of the training images: of the classes, and for the relative one of all."""

    classes: Gaussian
    background: Gaussian | None  # whose one mean is that of all images

    @property
    def dimensions(self) -> int:
        """F, of the features that it takes."""
        return len(self.classes.whitening)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The squared distances `[B]` float64, less the background's if there is one."""
        found = self.classes.distances(features)
        return found if self.background is None else found - self.background.distances(features)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name, for `np.savez`; `from_arrays` reads them."""
        method = "mahalanobis" if self.background is None else "relative_mahalanobis"
        arrays = {"method": np.array(method)}
        for name, gaussian in vars(self).items():
            if gaussian is not None:
                arrays |= {f"{name}_{part}": one for part, one in vars(gaussian).items()}
        return arrays


Reference = Neighbours | Gaussians


def fit(
    features: np.ndarray, labels: np.ndarray, method: str = "knn", k: int = NEIGHBOURS
) -> Reference:
    """Fits the reference to TRAINING images.

    Memory: 4 M F bytes for `knn`, otherwise some 32 F^2, besides the features themselves.

    Args:
      features: `[M, F]`, finite, before the last layer, of the images as evaluation takes them.
      labels: `[M]` int; -1 where a class is not known. Such an image is a neighbour and belongs to
        the background, but to no class's mean.
      method: one of `METHODS`.
      k: in [1, M], for `knn`.

    Raises:
      ValueError: no images, other shapes, a feature that is not finite, the method is not known, k
        is outside [1, M], or the images of each class are all alike.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    _checked_method(method)
    if features.ndim != 2 or not features.size or labels.shape != features.shape[:1]:
        raise ValueError(
            f"it takes features [M, F] and labels [M] of at least one image; got {features.shape} "
            f"and {labels.shape}"
        )
    _check_finite(features)
    if method == "knn":
        if not 1 <= k <= len(features):
            raise ValueError(f"k = {k} must lie in [1, {len(features)}], the training images")
        return Neighbours(k=k, units=_units(features))
    known, all_one = labels >= 0, np.zeros(len(labels), int)
    if not known.any():
        raise ValueError(f"method = {method} needs labels, of which there are none; take knn")
    classes = _gaussian(features[known], labels[known])
    relative = method == "relative_mahalanobis"
    return Gaussians(classes, background=_gaussian(features, all_one) if relative else None)


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Reference:
    """The reference whose `to_arrays` wrote the arrays, say from `np.load`.

    Raises:
      ValueError: an array is missing, or the method is not known.
    """

    def gaussian(name: str) -> Gaussian:
        return Gaussian(arrays[f"{name}_whitening"], arrays[f"{name}_means"])

    try:
        method = _checked_method(str(arrays["method"]))
        if method == "knn":
            return Neighbours(k=int(arrays["k"]), units=arrays["units"])
        relative = method == "relative_mahalanobis"
        return Gaussians(gaussian("classes"), gaussian("background") if relative else None)
    except KeyError as missing:
        raise ValueError(f"a reference of features lacks an array: {missing}") from None


def distances(reference: Reference, features: np.ndarray) -> np.ndarray:
    """How far images lie from the training images, `[B]` float64; see the module for the unit.

    Time: B x M x F products for `knn`, otherwise B x F x F.

    Args:
      reference: see `fit`.
      features: `[B, F]`, finite, of the same network.

    Raises:
      ValueError: another F, or a feature that is not finite.
    """
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] != reference.dimensions:
        raise ValueError(
            f"features {features.shape} for a reference of {reference.dimensions} dimensions must "
            f"be [B, {reference.dimensions}]: take those of the network that it was fitted to"
        )
    _check_finite(features)
    return reference.distances(features)


def threshold(distances: np.ndarray, patients: np.ndarray, share: float = 0.05) -> float:
    """The distance ABOVE which a photograph is flagged as unlike the training images.

    Of random images of new patients like those of validation at most `share` are flagged, on
    average over draws of the validation patients; see `patientwise.upper_quantile`.

    Args:
      distances: `[B]` of VALIDATION images, which were not trained on.
      patients: `[B]`, the patient of each image; any type that sorts.
      share: in (0, 1).

    Returns:
      Infinity, so that nothing is flagged, of fewer than `patientwise.least_patients(1 - share)`
      patients: 19 of .05.

    Raises:
      ValueError: the share is outside (0, 1), or see `patientwise.upper_quantile`.
    """
    if not 0 < share < 1:
        raise ValueError(f"share = {share} must lie in (0, 1); .05 is usual")
    return patientwise.upper_quantile(distances, patients, 1 - share)


def _units(features: np.ndarray) -> np.ndarray:
    """The features `[M, F]` float32 with unit L2 norm; zeros stay zeros, at distance 1 from all."""
    units = np.empty(features.shape, np.float32)
    for rows in _blocks(len(features), _ROWS):
        block = features[rows].astype(np.float64)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        units[rows] = block / np.where(norms > 0, norms, 1)
    return units


def _gaussian(features: np.ndarray, labels: np.ndarray) -> Gaussian:
    """The means of the classes that have images, and their shrunk covariance."""
    present, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    size, dimensions = features.shape
    means = np.zeros((len(present), dimensions))
    for rows in _blocks(size, _ROWS):
        member = of_class[rows] == np.arange(len(present))[:, None]  # [N, rows]
        means += member.astype(np.float64) @ features[rows].astype(np.float64)
    means /= counts[:, None]
    covariance, fourth = np.zeros((dimensions, dimensions)), 0.0
    for rows in _blocks(size, _ROWS):
        residuals = features[rows] - means[of_class[rows]]
        covariance += residuals.T @ residuals / size
        fourth += float(((residuals**2).sum(1) ** 2).sum() / size)
    covariance = _shrunk(covariance, fourth, size)
    # W = L'^-1 of the covariance L L': its inverse is W W'.
    factor = linalg.cholesky(covariance, lower=True)
    whitening = linalg.solve_triangular(factor, np.eye(dimensions), lower=True).T
    return Gaussian(whitening=whitening, means=means @ whitening)


def _shrunk(covariance: np.ndarray, fourth: float, size: int) -> np.ndarray:
    """The covariance drawn to a multiple of the identity (Ledoit & Wolf 2004).

    Args:
      covariance: `[F, F]` of the residuals.
      fourth: the mean of the fourth power of the residuals' norms.
      size: M.
    """
    dimensions = len(covariance)
    scale = float(np.trace(covariance)) / dimensions
    if not scale > 0:
        raise ValueError(
            f"{size} training images vary in no feature within a class, so that there is no "
            "covariance; take knn"
        )
    squares = float((covariance**2).sum())
    spread = max(squares - dimensions * scale**2, 0.0)
    error = min(max((fourth - squares) / size, 0.0), spread)
    shrinkage = max(error / spread if spread > 0 else 1.0, _LEAST_SHRINKAGE)
    return (1 - shrinkage) * covariance + shrinkage * scale * np.eye(dimensions)


def _checked_method(method: str) -> str:
    """The method; raises ValueError where it is not known."""
    if method not in METHODS:
        raise ValueError(f"method = {method!r} is not known; it is one of {', '.join(METHODS)}")
    return method


def _check_finite(features: np.ndarray) -> None:
    """Raises ValueError unless all features are finite."""
    blocks = _blocks(len(features), _ROWS)
    wrong = sum(int((~np.isfinite(features[rows])).any(1).sum()) for rows in blocks)
    if wrong:
        raise ValueError(
            f"{wrong} of {len(features)} images have features that are not finite; all must be: "
            "look at the network's outputs"
        )


def _blocks(size: int, rows: int) -> Iterator[slice]:
    """Slices of at most so many rows that hold each of `size` once."""
    return (slice(start, start + rows) for start in range(0, size, rows))
