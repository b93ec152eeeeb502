"""Scores of maps into their records: what was scored is not scored again."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dermjax.runs.json_numbers import or_none
from dermjax.saliency import scores
from dermjax.saliency.context import SaliencyContext
from dermjax.saliency.map_store import Explained, Maps, visible
from dermjax.saliency.perturbation import Answers
from dermjax.saliency.perturbed_predictions import Perturbed

_FILTER = "least_probability"  # chooses among scores; none depends on it
_Todo = tuple[Explained, dict[str, dict[str, Any]]]  # an image's records without scores, by method


def score(context: SaliencyContext) -> None:
    """Fills `scores` of every record that has none by these settings.

    Raises:
      ValueError: a field does not fit the network's images, or these the memory.
    """
    maps, explainer, methods = context.maps, context.explainer, context.methods
    settings = context.settings.score.to_dict() | {"seed": context.settings.seed}
    del settings[_FILTER]
    todo = [(one, _unscored(one, methods, maps, settings)) for one in context.explained]
    todo = [(one, records) for one, records in todo if records]
    perturbed = Perturbed(explainer, context.settings.score, context.writer)
    found = _all(todo, perturbed, explainer.size, maps)
    for one, records, by_method in context.writer.track(found, len(todo), "scores, images"):
        for method, record in records.items():
            own = {"scores": by_method[method], "score_settings": settings}
            maps.update(one, method, record | own)


def _unscored(
    one: Explained, methods: Sequence[str], maps: Maps, settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The records of an image that have no scores by these settings, by method."""
    records = {method: maps.record(one, method) for method in methods}
    return {
        method: record
        for method, record in records.items()
        if record is not None and record.get("score_settings") != settings
    }


def _all(todo: Sequence[_Todo], perturbed: Perturbed, size: int, maps: Maps) -> Iterator[tuple]:
    """(image, records, scores by method); images that lack the same methods go together."""
    for methods in dict.fromkeys(tuple(records) for _, records in todo):
        same = [(one, records) for one, records in todo if tuple(records) == methods]
        for first in range(0, len(same), perturbed.at_once):
            part = same[first : first + perturbed.at_once]
            heat = np.array([[_shown(maps, one, of) for of in methods] for one, _ in part])
            answers = perturbed.answers(
                [one.sample for one, _ in part], [one.target for one, _ in part], heat
            )
            for (one, records), own, answered in zip(part, heat, answers, strict=True):
                regions = one.sample.regions(size)  # from the photograph; they serve all methods
                asked = _asked(answered, perturbed)
                found = [a | _placed(h, regions) for a, h in zip(asked, own, strict=True)]
                yield one, records, dict(zip(methods, found, strict=True))


def _shown(maps: Maps, one: Explained, method: str) -> np.ndarray:
    """A map as shares of the colour scale."""
    heat = maps.heat(one, method)
    if heat is None:
        raise ValueError(f"the map of {one.sample.name} by {method} cannot be read any more")
    return visible(heat, method)


def _asked(answers: Answers, perturbed: Perturbed) -> list[dict[str, Any]]:
    """The scores of each map that the network's answers give."""
    found = []
    lost = np.asarray(answers.whole) - np.asarray(answers.logits, np.float64)
    insertion, deletion = np.asarray(answers.insertion), np.asarray(answers.deletion)
    for number, heat in enumerate(np.asarray(answers.heat)):
        curve = scores.sensitivity_n(heat, lost)
        found.append(
            {
                "insertion": or_none(scores.area(insertion[number], perturbed.shares), 7),
                "deletion": or_none(scores.area(deletion[number], perturbed.shares), 7),
                "sensitivity_n": or_none(curve.mean(), 7),
                "sensitivity_by_n": {
                    str(n): or_none(one, 7) for n, one in zip(perturbed.sizes, curve, strict=True)
                },
            }
        )
    return found


def _placed(heat: np.ndarray, regions: dict[str, np.ndarray]) -> dict[str, Any]:
    """Where the heat of a map `[H, W]` in [0, 1] is; None for what needs a lesion's outline."""
    shares = scores.heat_by_region(heat, regions)
    lesion = regions.get("lesion")
    ratio = np.nan if lesion is None else scores.effective_heat_ratio(heat, lesion)
    inside, area = shares.get("lesion", (np.nan, np.nan))
    found = {"effective_heat_ratio": ratio, "heat_share": inside, "lesion_share": area}
    by_region = {name: [or_none(share, 7) for share in pair] for name, pair in shares.items()}
    return {name: or_none(value, 7) for name, value in found.items()} | {"regions": by_region}
