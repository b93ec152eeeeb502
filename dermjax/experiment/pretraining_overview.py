"""The page at the end of pretraining: curves, warnings, and nearest neighbours to look at."""

import numpy as np

from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.knn_monitor import Features, diagnose, monitored
from dermjax.experiment.pretrain import Pretraining, queue_size
from dermjax.experiment.pretraining_page import Neighbour, NeighbourRow, Page, render
from dermjax.runs.files import write_text
from dermjax.settings import RunSettings
from dermjax.statistics import neighbours
from dermjax.training import processes

PAGE = "pretraining.html"
_QUERIES, _NEAREST = 16, 5


def picture(run: RunContext, done: Pretraining) -> None:
    """Writes `pretraining.html` into the run's folder; one that is there is left as it is."""
    path = run.folder.path / PAGE
    if processes.first_says(path.exists()):
        return
    dataset = run.dataset
    bank, queries = monitored(dataset)
    rows = []
    if len(bank) and len(queries):
        chosen = _spread_over_classes(queries, dataset.labels, _QUERIES, seed=run.settings.seed)
        features = Features(run)
        rows = _neighbours(dataset, features, done, bank, chosen)
    write_text(path, render(_page(run, done, rows, bank, queries)))
    run.writer.say(f"pretrain: curves and nearest neighbours in {path}")


def _page(run: RunContext, done: Pretraining, rows, bank, queries) -> Page:
    settings, dataset = run.settings, run.dataset
    lines = [line for line in done.metrics if line["stage"] == "pretrain"]
    newest = next(line for line in reversed(lines) if "queue_std" in line)
    shares = _shares(dataset, bank)
    stage, size = settings.pretraining, queue_size(run)
    images = len(dataset.rows("train", labelled=False))
    epochs = stage.steps * stage.batch_size / images
    facts = [
        ("network", settings.model.name),
        ("first weights", _first_weights(settings)),
        ("training images", f"{images:,}, their labels unused"),
        ("length", f"{stage.steps:,} steps of {stage.batch_size} images: {epochs:,.1f} epochs"),
        ("image size", f"{stage.image_size} px"),
        ("optimizer", f"{stage.optimizer}, learning rate {stage.learning_rate:g}"),
        ("queue", f"{size:,} keys{', and those of the batch' if stage.batch_negatives else ''}"),
        ("loss", "symmetric" if stage.symmetric else "asymmetric"),
        ("momentum", f"{stage.momentum:g} to {stage.momentum_end:g}"),
        ("temperature", f"{stage.temperature:g}"),
        ("monitor", f"{len(queries):,} validation images ask {len(bank):,} labelled training ones"),
        ("time", f"{done.seconds / 60:,.1f} minutes"),
    ]
    if done.positives:
        facts.insert(2, ("positives", _positives(**done.positives)))
    return Page(
        title=f"Pretraining of {settings.model.name}",
        facts=facts,
        lines=lines,
        warnings=list(diagnose(stage, dataset, size, newest).values()),
        rows=rows,
        embedding_dim=stage.dim,
        queue_size=size,
        negatives=size + (stage.batch_size - 1 if stage.batch_negatives else 0),
        majority=dataset.classes[int(np.argmax(shares))] if len(bank) else "",
        classes=len(dataset.classes),
        chance_same_label=_chance(dataset, shares, rows),
        positives=stage.positives,
    )


def _positives(*, kind: str, images: int, with_partner: int) -> str:
    """Where positives come from, and of how many images."""
    return (
        f"from another photograph of the same {kind}: of {with_partner:,} images "
        f"({with_partner / images:.1%}); of the others, which have none, from the image itself"
    )


def _first_weights(settings: RunSettings) -> str:
    return settings.first_weights if settings.starts_from_weights else "random"


def _neighbours(dataset: Dataset, features: Features, done, bank, queries) -> list[NeighbourRow]:
    """The rows of the picture."""
    count = min(_NEAREST, len(bank))
    found = features(done.network, np.concatenate([bank, queries]))
    similarities, index = neighbours.nearest(found[len(bank) :], found[: len(bank)], count)
    return [
        NeighbourRow(
            _shown(dataset, query),
            tuple(_shown(dataset, bank[i], float(s)) for s, i in zip(*of_query, strict=True)),
        )
        for query, *of_query in zip(
            queries, np.asarray(similarities), np.asarray(index), strict=True
        )
    ]


def _shown(dataset: Dataset, row: int, similarity: float = 1.0) -> Neighbour:
    label = dataset.labels[row]
    return Neighbour(
        pixels=dataset.pixels(row),
        label=dataset.classes[label] if label >= 0 else "",
        name=str(dataset.frame["name"].iloc[row]),
        similarity=similarity,
    )


def _spread_over_classes(rows, labels, count: int, *, seed: int) -> np.ndarray:
    """`count` of the rows at random, the classes in turn, so that rare ones are seen."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    turn = np.zeros(len(shuffled), int)  # which of its class each row is
    for label in np.unique(labels[shuffled]):
        own = labels[shuffled] == label
        turn[own] = np.arange(own.sum())
    first = shuffled[np.argsort(turn, kind="stable")[:count]]
    return first[np.argsort(labels[first], kind="stable")]


def _shares(dataset: Dataset, bank: np.ndarray) -> np.ndarray:
    """The fraction of each class in the bank."""
    return np.bincount(dataset.labels[bank], minlength=len(dataset.classes)) / max(len(bank), 1)


def _chance(dataset: Dataset, shares: np.ndarray, rows: list[NeighbourRow]) -> float | None:
    """Share of neighbours with the query's label if neighbours were drawn at random."""
    asked = [dataset.classes.index(row.query.label) for row in rows]
    return float(shares[asked].mean()) if asked else None
