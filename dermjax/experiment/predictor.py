"""Outputs of a network over rows of the data set: logits, features or embeddings."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from dermjax.data import augment
from dermjax.models import Preprocessing
from dermjax.steps import classify
from dermjax.training import parallel, predict


class Images(Protocol):
    """What is predicted, such as a data set."""

    def evaluation_batches(
        self, rows: np.ndarray, *, size: int, interpolation: str, batch_size: int
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """As `pipeline.evaluation_batches`."""
        ...


class Network(Protocol):
    """A module of Flax, or what is made of one."""

    def apply(self, variables: Any, images: Any, train: bool) -> Any:
        """`[b, S, S, 3]` -> `[b, N]`."""
        ...


class Predictor:
    """A network in evaluation mode; compiled once."""

    def __init__(
        self,
        model: Network,
        images: Images,
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
        self._images = images
        self._size = image_size
        self._interpolation = preprocessing.interpolation
        # Predicting pads, so any batch will do.
        self._batch = -(-batch_size // devices.count) * devices.count

    def __call__(self, variables: Any, rows: np.ndarray) -> np.ndarray:
        """`[len(rows), N]` float32, in the order of `rows`."""
        return predict.predict_all(self._step, variables, self.batches(rows), rows)

    def batches(self, rows: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
        """Batches of these rows, in their order, the last one padded."""
        return self._images.evaluation_batches(
            rows, size=self._size, interpolation=self._interpolation, batch_size=self._batch
        )

    def of_batch(self, variables: Any, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """`[b, N]` float32 of the b rows of a batch that are not padding."""
        outputs = self._step(variables, batch)
        return outputs["output"][outputs["id"] >= 0]
