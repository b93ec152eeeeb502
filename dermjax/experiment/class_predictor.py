"""A trained classifier over images: features and logits in one pass."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dermjax import models
from dermjax.experiment import networks
from dermjax.experiment.predictor import Images, Predictor
from dermjax.settings import RunSettings
from dermjax.training import parallel

TURNS = 8  # flips and quarter turns of a square


@dataclasses.dataclass(frozen=True)
class _Turned:
    """A network whose features are means over the turns of each image.

    The classifier behind them is linear: its logits are means over the turns, too.
    """

    encoder: Any

    def apply(self, variables: Any, images, train: bool):
        """`[b, S, S, 3]` -> `[b, F]`."""
        quarter = [jnp.rot90(images, turn, (1, 2)) for turn in range(4)]
        views = jnp.concatenate([*quarter, *(view[:, :, ::-1] for view in quarter)])
        features = self.encoder.apply(variables, views, train=train)
        return features.reshape(TURNS, len(images), -1).mean(0)


class ClassPredictor:
    """A classifier in evaluation mode; compiled once."""

    def __init__(
        self,
        settings: RunSettings,
        devices: parallel.Devices,
        preprocessing: models.Preprocessing,
        images: Images,
        variables: Any,
        *,
        classes: int,
        batch_size: int,
        tta: int = 0,
    ):
        """Args:
        settings: of the run that trained it.
        preprocessing: what it was trained on.
        images: what is predicted.
        variables: `{'params', 'batch_stats'}` of the whole classifier.
        classes: N.
        batch_size: global; rounded up to a multiple of the devices.
        tta: 0, or 8: features are means over flips and quarter turns (test-time augmentation).
        """
        classifier = networks.make_classifier(settings, devices, classes)
        encoder, kernel, bias = models.without_classifier(variables, classifier)
        network = networks.make_encoder(settings, devices)
        self._predictor = Predictor(
            _Turned(network) if tta else network,
            images,
            devices,
            preprocessing,
            image_size=settings.finetuning.image_size,
            batch_size=batch_size,
        )
        # The logits are made from the features here, so that one pass gives both.
        self._encoder = devices.replicate(encoder)
        self._kernel, self._bias = np.asarray(kernel), np.asarray(bias)

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features `[len(rows), F]` float32 and logits `[len(rows), N]` float64, in their order."""
        features = self._predictor(self._encoder, rows)
        return features, self._logits(features)

    def batches(self, rows: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
        """The batches of these rows, which every network of the same input can be given."""
        return self._predictor.batches(rows)

    def of_batch(self, batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits of a batch's rows; those of its padding are left out."""
        features = self._predictor.of_batch(self._encoder, batch)
        return features, self._logits(features)

    def _logits(self, features: np.ndarray) -> np.ndarray:
        return (features @ self._kernel + self._bias).astype(np.float64)
