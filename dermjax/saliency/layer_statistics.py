"""Mean and standard deviation of a layer's output over training images, kept beside the maps."""

from typing import Any

import numpy as np
from etils import epath

from dermjax.experiment.dataset import Dataset
from dermjax.saliency import map_store
from dermjax.saliency.explainer import Explainer
from dermjax.training.writer import Writer

_BATCH = 16  # images


class LayerStatistics:
    """The noise of the bottlenecks: of the trained network, or of another one."""

    def __init__(
        self,
        explainer: Explainer,
        dataset: Dataset,
        directory: epath.Path,
        writer: Writer,
        *,
        images: int,
        seed: int,
    ):
        """Args:
        directory: where those of the trained network are kept.
        images: of the training set at most, drawn by `seed`.
        """
        rows = dataset.rows("train", labelled=False)
        count = min(images, len(rows))
        self._rows = np.random.default_rng(seed).permutation(rows)[:count]
        self._explainer, self._dataset, self._writer = explainer, dataset, writer
        self._mark = {"layer": explainer.layer, "image_size": explainer.size, "images": count}
        self._mark |= {"data": dataset.fingerprint, "network": explainer.fingerprint, "seed": seed}
        self._path = directory / f"statistics-{explainer.layer}.npz"

    def of_trained(self) -> Any:
        """Of the trained network; read where they were written before."""
        found = map_store.read_statistics(self._path, self._mark)
        if found is None:
            found = self.of_network(None)
            map_store.write_statistics(self._path, self._mark, found)
        return found

    def of_network(self, variables: Any) -> Any:
        """Of the network with other variables; None: its own."""
        explainer = self._explainer
        batches = self._dataset.evaluation_batches(
            self._rows,
            size=explainer.size,
            interpolation=explainer.interpolation,
            batch_size=_BATCH,
        )
        real = (batch["image"][batch["id"] >= 0] for batch in batches)
        total, label = -(-len(self._rows) // _BATCH), f"features of {explainer.layer}, batches"
        return explainer.statistics(self._writer.track(real, total, label), variables)
