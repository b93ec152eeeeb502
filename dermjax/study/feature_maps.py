"""Test images' features on a plane, a panel per strategy and share; made once, then read."""

import hashlib
import os

import numpy as np
from etils import epath

from dermjax.runs.files import read_arrays, whole_file
from dermjax.runs.run_folder import features_of
from dermjax.statistics import tsne
from dermjax.study import figures
from dermjax.study.results import Outcome, Outcomes
from dermjax.study.settings import StudySettings
from dermjax.training.writer import Writer

_NEIGHBOURS = 10
_LEAST = 4  # images of a t-SNE


# Points `[B, 2]` and a line about them, by strategy and share of the labels.
Panels = dict[tuple[str, float], tuple[np.ndarray, str]]


def make(settings: StudySettings, folder: epath.Path, outcomes: Outcomes, writer: Writer) -> Panels:
    """Panels of the first finished trials; `folder` keeps what takes long.

    There are none with `report.tsne=False`, and of runs without features
    (`evaluate.features=False`).
    """
    if not settings.report.tsne:
        return {}
    wanted = [
        ((strategy, alpha), outcomes.of(strategy, alpha)[0])
        for strategy in outcomes.strategies()
        for alpha in outcomes.alphas()
        if outcomes.of(strategy, alpha)
    ]
    wanted = [(cell, run) for cell, run in wanted if run.planned.folder.test_features.exists()]
    if len(outcomes.images) < _LEAST or not wanted:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    return {
        cell: _panel(settings, folder, outcomes, run)
        for cell, run in writer.track(wanted, len(wanted), "t-SNE")
    }


def _panel(
    settings: StudySettings, folder: epath.Path, outcomes: Outcomes, run: Outcome
) -> tuple[np.ndarray, str]:
    """Made anew only where the features are others than when it was made."""
    features = _features(run, outcomes.images)
    seed = settings.report.seed
    # The labels count, too: purity and silhouette are of them.
    parts = (f"{seed}".encode(), features.tobytes(), outcomes.labels.tobytes())
    mark = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    path = folder / f"{run.planned.name}-{mark}.npz"
    if not path.exists():
        points = tsne.embed(features, seed, jobs=os.cpu_count() or 1)
        count = min(_NEIGHBOURS, len(features) - 1)
        purity = tsne.purity(features, outcomes.labels, count).mean
        silhouette = tsne.silhouette(features, outcomes.labels, seed)
        with whole_file(path) as file:
            np.savez(file, points=points, purity=purity, silhouette=silhouette)
    with path.open("rb") as file, np.load(file) as kept:
        note = figures.line_of(float(kept["purity"]), float(kept["silhouette"]))
        return kept["points"], note


def _features(run: Outcome, images: np.ndarray) -> np.ndarray:
    """`[B, F]` float32 in the order of the study's images."""
    path = run.planned.folder.test_features
    arrays = read_arrays(path)
    features = None if arrays is None else features_of(arrays, images.tolist())
    if features is None:
        raise ValueError(f"{path} cannot be read any more; --config.report.tsne=False goes without")
    return features.astype(np.float32)
