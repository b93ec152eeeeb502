"""A run's network on images with changed pixels: on all devices, in chunks that fit the memory."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from dermjax.saliency import perturbation, scores
from dermjax.saliency.explainer import Explainer
from dermjax.saliency.samples import Sample
from dermjax.saliency.settings import ScoreSettings
from dermjax.training.writer import Writer


class Perturbed:
    """Answers to changed images, by a command's score settings: an image on each device."""

    def __init__(self, explainer: Explainer, settings: ScoreSettings, writer: Writer):
        """Raises:
        ValueError: a number does not fit the network's images.
        """
        self._explainer, self._writer, side = explainer, writer, explainer.size
        self.counts, self.shares, self.sizes = changes(settings, side)
        self._masks = settings.masks
        self._blur = perturbation.blur_matrix(side, settings.blur, settings.blur_kernel)
        self._chunk = explainer.forwards()
        self._step: Callable | None = None  # compiled for that chunk

    @property
    def at_once(self) -> int:
        """Images of a call."""
        return self._explainer.devices.count

    def answers(
        self, samples: Sequence[Sample], targets: Sequence[int], maps: np.ndarray
    ) -> list[perturbation.Answers]:
        """The answers for every sample, in NumPy arrays.

        Where the memory is too small for a chunk, smaller ones are taken from there on.

        Args:
          samples: at most `at_once`.
          maps: `[len(samples), K, H, W]`.

        Raises:
          ValueError: not even one image for each device fits, or heat that is not finite.
        """
        batch = self._explainer.given(samples, targets)
        rows = np.arange(self.at_once) % len(samples)
        flat = maps - maps.mean((2, 3), keepdims=True, dtype=np.float64)
        batch["heat"] = flat.astype(np.float32)[rows]
        batch["ranks"] = np.array([[scores.ranks(heat) for heat in of] for of in maps])[rows]
        while True:
            if self._step is None:
                self._step = self._explainer.devices.map_predict_step(self._make(self._chunk))
            try:
                found = self._step(self._explainer.variables, batch)
                break
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._chunk, self._step = self._smaller(), None
        return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(len(samples))]

    def _make(self, chunk: int) -> Callable:
        """`(variables, batch) -> answers` of one device's share, an image after the other."""
        explainer = self._explainer
        made = perturbation.Changes(self.counts, self.sizes, self._masks, self._blur, chunk)

        def of_one(variables, one):
            return perturbation.answers(
                explainer.model,
                variables,
                perturbation.ExplainedImage(
                    explainer.normalize(one["image"][None])[0],
                    one["target"],
                    one["heat"],
                    one["ranks"],
                    jax.random.wrap_key_data(one["key"]),
                ),
                made,
            )

        return lambda variables, batch: jax.lax.map(lambda one: of_one(variables, one), batch)

    def _smaller(self) -> int:
        """Half of a chunk that did not fit.

        Raises:
          ValueError: it was one image.
        """
        if self._chunk == 1:
            raise ValueError(
                f"one image of {self._explainer.size} px does not fit into the memory of a "
                f"{self._explainer.devices.kind}; take a larger device, or --config.scores=False"
            )
        self._writer.say(
            f"{self._chunk} changed images at a time do not fit into the memory: "
            f"{self._chunk // 2} from here"
        )
        return self._chunk // 2


def changes(settings: ScoreSettings, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels changed in each state of a curve, their shares, and the sizes of random sets.

    Args:
      side: of an image, px.

    Raises:
      ValueError: a number does not fit such images.
    """
    try:
        counts, shares = perturbation.states(side * side, settings.steps, settings.pixels_per_step)
        sizes = perturbation.set_sizes(
            side * side, settings.sizes, settings.least_n, settings.most_n
        )
    except ValueError as error:
        raise ValueError(f"config.score.{error}") from None
    return counts, shares, sizes
