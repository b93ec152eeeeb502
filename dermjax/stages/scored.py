"""Scores of maps, image by image, into their records: what was scored is not scored again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dermjax.analysis import measures
from dermjax.analysis.saliency import scores
from dermjax.stages.explainer import Explainer
from dermjax.stages.kept import Explained, Maps, visible
from dermjax.training.writer import Writer


def check(config: ConfigDict) -> None:
    """Looks at `config.score`.

    Raises:
      ValueError: a number is below its bound.
    """
    for name, low in (("steps", 2), ("masks", 3), ("sizes", 1)):
        if config.score[name] < low:
            raise ValueError(f"config.score.{name} = {config.score[name]} must be at least {low}")


def score(
    config: ConfigDict,
    explainer: Explainer,
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    writer: Writer,
) -> None:
    """Fills `scores` of every record that has none by these settings."""
    settings = config.score.to_dict() | {"seed": config.seed}
    todo = [(one, _unscored(one, methods, maps, settings)) for one in explained]
    todo = [(one, records) for one, records in todo if records]
    for one, records in writer.track(todo, len(todo), "scores, images"):
        regions = one.sample.regions(explainer.size)  # from the photograph; they serve all methods
        for method, record in records.items():
            heat = visible(maps.heat(one, method), method)
            found = _scores(explainer, one, heat, regions, settings)
            maps.update(one, method, record | {"scores": found, "score_settings": settings})


def _unscored(
    one: Explained, methods: Sequence[str], maps: Maps, settings: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """The records of an image that have no scores by these settings, by method."""
    records = {method: maps.record(one, method) for method in methods}
    return {
        method: record
        for method, record in records.items()
        if record is not None and record.get("score_settings") != settings
    }


def _scores(
    explainer: Explainer,
    one: Explained,
    heat: np.ndarray,
    regions: dict[str, np.ndarray],
    settings: dict[str, int],
) -> dict[str, Any]:
    """Every score of one map `[H, W]` in [0, 1]; None for those that need a lesion's outline."""
    image = np.asarray(explainer.normalize(explainer.input([one.sample])), np.float32)[0]

    def logits(images):
        return explainer.logits(images)[:, one.target]

    def probability(images):
        return measures.softmax(explainer.logits(images))[:, one.target]

    points = settings["steps"]
    found = {
        "insertion": scores.insertion(probability, image, heat, points=points),
        "deletion": scores.deletion(probability, image, heat, points=points),
        "sensitivity_n": scores.sensitivity_n(
            logits,
            image,
            heat,
            masks=settings["masks"],
            sizes=settings["sizes"],
            seed=settings["seed"],
        ),
    }
    shares = scores.heat_by_region(heat, regions)
    lesion = regions.get("lesion")
    ratio = np.nan if lesion is None else scores.effective_heat_ratio(heat, lesion)
    found |= {"effective_heat_ratio": ratio, "heat_share": np.nan, "lesion_share": np.nan}
    if lesion is not None:
        found["heat_share"], found["lesion_share"] = shares["lesion"]
    found = {name: None if np.isnan(value) else round(value, 7) for name, value in found.items()}
    rounded = {name: [round(share, 7) for share in pair] for name, pair in shares.items()}
    return found | {"regions": rounded}
