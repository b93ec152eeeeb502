"""Outputs of a network over rows of the data set: logits, features or embeddings; as a file."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import flax.linen as nn
import numpy as np
from etils import epath

from dermjax.data import augment
from dermjax.experiment.dataset import Dataset
from dermjax.models import Preprocessing
from dermjax.runs.folder import whole_file
from dermjax.steps import classify
from dermjax.training import parallel, predict


class Images(Protocol):
    """What is predicted, such as a data set."""

    def evaluation_batches(
        self, rows: np.ndarray, *, size: int, interpolation: str, batch_size: int
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """As `pipeline.evaluation_batches`."""
        ...


class Predictor:
    """A network in evaluation mode; compiled once."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Images,
        devices: parallel.Devices,
        preprocessing: Preprocessing,
        *,
        image_size: int,
        batch_size: int,
    ):
        """Args:
        model: images -> `[B, N]`.
        preprocessing: what it was trained on.
        image_size: px; whole crops are resized to it.
        batch_size: global; rounded up to a multiple of the devices.
        """
        step = functools.partial(
            classify.predict_step,
            apply=model.apply,
            normalize=functools.partial(
                augment.normalize, mean=preprocessing.mean, std=preprocessing.std
            ),
        )
        self._step = devices.map_predict_step(step)
        self._dataset = dataset
        self._size = image_size
        self._interpolation = preprocessing.interpolation
        # Predicting pads, so any batch will do.
        self._batch = -(-batch_size // devices.count) * devices.count

    def __call__(self, variables: Any, rows: np.ndarray) -> np.ndarray:
        """`[len(rows), N]` float32, in the order of `rows`."""
        batches = self._dataset.evaluation_batches(
            rows, size=self._size, interpolation=self._interpolation, batch_size=self._batch
        )
        return predict.predict_all(self._step, variables, batches, rows)


def write_features(
    path: epath.Path, dataset: Dataset, rows: np.ndarray, features: np.ndarray, **more: np.ndarray
) -> None:
    """`.npz` without pickled objects: `features [B, F]`, `id [B]`, and the further arrays given.

    Args:
      rows: of the data set, `[B]`.
      **more: arrays, none of objects.
    """
    with whole_file(path) as file:
        names = dataset.frame["name"].to_numpy(str)[rows]
        arrays = {"features": features, "id": names, **more}
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called `allow_pickle`
