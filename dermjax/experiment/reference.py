"""What a classifier made of its run's own images: answers on new photographs are judged by it.

Letters: M training, V validation and T test images; N classes; F features.
"""

import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np

from dermjax.experiment.class_predictor import ClassPredictor
from dermjax.experiment.dataset import Dataset
from dermjax.runs.files import read_arrays, write_arrays
from dermjax.runs.run_folder import RunFolder
from dermjax.statistics import novelty

_MOST = 10_000  # training images whose features are looked at
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A labelled set of the run, V or T images."""

    labels: np.ndarray  # [V] int in [0, N)
    patients: np.ndarray  # [V] int, numbers that only tell them apart: the file may be handed on
    logits: np.ndarray  # [V, N] float64
    distances: np.ndarray  # [V] float64, of the features to those of the training images


@dataclasses.dataclass(frozen=True)
class Reference:
    """The run's validation images, which answers are calibrated on, and its test images."""

    validation: Predicted
    test: Predicted
    familiar: novelty.Reference  # of the labelled training images

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The reference in a file's arrays."""
        sets = [
            Predicted(**{field: arrays[f"{name}_{field}"] for field in _FIELDS})
            for name in ("validation", "test")
        ]
        prefix = "familiar_"
        own = {name.removeprefix(prefix): a for name, a in arrays.items() if prefix in name}
        return cls(sets[0], sets[1], novelty.from_arrays(own))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a file, none of them an object."""
        arrays = {f"familiar_{name}": a for name, a in self.familiar.to_arrays().items()}
        for name in ("validation", "test"):
            own = getattr(self, name)
            arrays |= {f"{name}_{field}": np.asarray(getattr(own, field)) for field in _FIELDS}
        return arrays


_FIELDS = tuple(field.name for field in dataclasses.fields(Predicted))


def make(
    predictor: ClassPredictor,
    dataset: Dataset,
    known: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Reference:
    """Predicts the labelled images of all three sets.

    Of many training images 10,000 are drawn, enough for the covariance of their features.

    Args:
      predictor: of the run's selected network.
      dataset: of the run.
      known: features and logits of a set that was predicted already.
    """
    known = known or {}
    rows = dataset.rows("train", labelled=True)
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _MOST, replace=False))
    features, _ = predictor(rows)
    familiar = _familiar(features, dataset.labels[rows])

    patients = dataset.frame["patient"].to_numpy(str)

    def predicted(split: str) -> Predicted:
        rows = dataset.rows(split, labelled=True)
        features, logits = known[split] if split in known else predictor(rows)
        return Predicted(
            labels=dataset.labels[rows],
            patients=np.unique(patients[rows], return_inverse=True)[1],
            logits=logits,
            distances=novelty.distances(familiar, features),
        )

    return Reference(predicted("validation"), predicted("test"), familiar)


def _familiar(features: np.ndarray, labels: np.ndarray) -> novelty.Reference:
    """What an image's distance is taken to.

    Mahalanobis' distance told HAM10000's photographs from PAD-UFES-20's and from blurred ones
    better than the cosine distance to neighbours did: area under the ROC curve .91 and .90 instead
    of .85 and .64 (tests/benchmarks/predictions.py). It needs classes whose images vary.
    """
    try:
        return novelty.fit(features, labels, "mahalanobis")
    except ValueError:
        return novelty.fit(features, labels, "knn", k=min(novelty.NEIGHBOURS, len(features)))


def write(folder: RunFolder, reference: Reference, *, tta: int = 0) -> None:
    """Keeps it in the run's folder."""
    write_arrays(folder.reference(tta), **reference.to_arrays())


def read(folder: RunFolder, *, tta: int = 0) -> Reference | None:
    """The one that the run's folder has; None where it has none, or a damaged one."""
    arrays = read_arrays(folder.reference(tta))
    try:
        return None if arrays is None else Reference.from_arrays(arrays)
    except (KeyError, ValueError):
        return None
