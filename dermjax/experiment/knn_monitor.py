"""Whether pretraining learns: nearest neighbours on labelled images, and how embeddings lie.

The labels measure and never train; the test set is not touched. The bank holds the labelled share
of the training images (alpha's), the queries are the validation images.
"""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.predictor import Predictor
from dermjax.settings import MonitorSettings, PretrainSettings
from dermjax.statistics import embeddings, health, measures, neighbours
from dermjax.steps import moco

# Of the steps: a young encoder's embeddings always lie in a cone.
_JUDGED_FROM = 0.1
# Steps, before which there is nothing to see: batch norm's running statistics are not yet those of
# any images (.9 ** 50 of their first value is left).
_SETTLED = 50
# Share of the training's work that the automatic interval allows the monitor.
_SHARE = 0.02


class Monitor:
    """`state -> (scalars, None)`, as the loop wants its evaluation; says warnings once."""

    def __init__(self, run: RunContext, features: "Features", *, queue_size: int):
        self._stage, self._dataset = run.settings.pretraining, run.dataset
        self._writer, self._features, self._queue_size = run.writer, features, queue_size
        self._said: set[str] = set()
        self._warn({})
        self.bank, self.queries = monitored(run.dataset)
        self.every = interval(self._stage, len(self.bank) + len(self.queries))
        # An encoder that has learned next to nothing: what later looks are compared with.
        self.first = _rounded_up(_SETTLED, self._stage.report_every)
        if not len(self.bank) or not len(self.queries):
            self._writer.say(
                f"pretrain: {len(self.bank)} labelled training and {len(self.queries)} labelled "
                "validation images: without both no nearest neighbours are monitored"
            )

    def __call__(self, state: moco.MoCoState) -> tuple[dict[str, float], None]:
        """Scalars of the query encoder and the queue."""
        started = time.monotonic()
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        rows = np.concatenate([self.bank, self.queries])
        scalars = {}
        if len(rows):
            features = self._features(variables, rows)
            scalars = _named("feature", _sphere(features))
            scalars |= classify_by_neighbours(
                features[len(self.bank) :],
                features[: len(self.bank)],
                self._dataset.labels[self.queries],
                self._dataset.labels[self.bank],
                self._stage.monitor,
                len(self._dataset.classes),
            )
        scalars |= _named("queue", _sphere(state.queue))
        scalars["queue_filled"] = float(jnp.mean(state.queue_ids != moco.NO_ID))
        if int(state.step) >= _JUDGED_FROM * self._stage.steps:
            self._warn(scalars)
        return scalars | {"monitor_seconds": time.monotonic() - started}, None

    def _warn(self, scalars: dict[str, float]) -> None:
        """Says what is wrong, each once."""
        found = diagnose(self._stage, self._dataset, self._queue_size, scalars)
        for name, words in found.items():
            if name not in self._said:
                self._said.add(name)
                self._writer.warn(words)


def diagnose(
    stage: PretrainSettings, dataset: Dataset, queue_size: int, scalars: dict[str, float]
) -> dict[str, str]:
    """Warnings in words, of a line of the monitor's scalars."""
    return health.diagnose(
        scalars,
        dim=stage.dim,
        queue_size=queue_size,
        images=len(dataset.rows("train", labelled=False)),
        masked=stage.mask_same_image or stage.positives != "image",
    )


class Features:
    """Unit vectors `[len(rows), F]` of MoCo's network: of its encoder, or behind its head."""

    def __init__(self, run: RunContext):
        stage = run.settings.pretraining
        model = networks.make_projected_encoder(run.settings, run.devices)
        self._whole = stage.monitor.features == "embedding"
        self._predictor = Predictor(
            model if self._whole else model.encoder,
            run.dataset,
            run.devices,
            run.preprocessing,
            image_size=stage.image_size,
            batch_size=run.settings.evaluate.batch_size,
        )

    def __call__(self, variables: dict[str, Any], rows: np.ndarray) -> jax.Array:
        if not self._whole:
            variables = {name: tree["encoder"] for name, tree in variables.items()}
        return moco.l2_normalize(jnp.asarray(self._predictor(variables, rows)))


def monitored(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the bank (labelled training images) and of the queries (validation images)."""
    return dataset.rows("train", labelled=True), dataset.rows("validation", labelled=True)


def interval(stage: PretrainSettings, images: int) -> int:
    """Steps between two looks; automatic: so that `images` forward passes are 2 % of the work.

    A step costs about four forward passes for each image of the batch: one of the key encoder and
    one of the query encoder, whose gradient costs two more.
    """
    if stage.monitor.every:
        return stage.monitor.every
    work = 4 * stage.keys_per_step
    return _rounded_up(max(images, 1) / (_SHARE * work), stage.report_every)


def _rounded_up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def classify_by_neighbours(
    queries: jax.Array,
    bank: jax.Array,
    query_labels: np.ndarray,
    bank_labels: np.ndarray,
    settings: MonitorSettings,
    classes: int,
) -> dict[str, float]:
    """kNN, the single nearest neighbour, and the floor beneath both; nothing without labels."""
    if not len(bank) or not len(queries):
        return {}
    count = min(settings.k or _neighbours_of(len(bank)), len(bank))
    similarities, index = neighbours.nearest(queries, bank, count)
    labels = jnp.asarray(bank_labels)[index]
    scores = neighbours.vote(
        similarities, labels, classes=classes, temperature=settings.temperature
    )
    answers = np.asarray(scores.argmax(-1))
    knn = measures.measure(query_labels, answers, classes)
    commonest = np.argmax(np.bincount(bank_labels, minlength=classes))
    return {
        "knn_accuracy": knn.accuracy,
        "knn_macro_sensitivity": knn.macro_sensitivity,
        "nearest_accuracy": float(np.mean(np.asarray(labels[:, 0]) == query_labels)),
        "majority_accuracy": float(np.mean(query_labels == commonest)),
        "knn_k": count,
        "knn_bank": len(bank),
        "knn_queries": len(queries),
    }


def _neighbours_of(labels: int) -> int:
    """The root of the bank: its 50,000 labels give the notebook its 200; 200 of 245 name the
    commonest class whatever the query.
    """
    return min(200, round(math.sqrt(labels)))


@jax.jit
def _sphere(unit: jax.Array) -> dict[str, jax.Array]:
    """How unit vectors lie."""
    return {
        "std": embeddings.standard_deviation(unit),
        "uniformity": embeddings.uniformity(unit),
        "effective_rank": embeddings.effective_rank(unit),
    }


def _named(what: str, scalars: dict[str, jax.Array]) -> dict[str, float]:
    return {f"{what}_{name}": float(value) for name, value in scalars.items()}
