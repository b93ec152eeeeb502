"""Other studies of the same test images, such as another network's, shown beside a study."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
from etils import epath

from dermjax import stores
from dermjax.study import feature_maps, tables
from dermjax.study.plan import finished
from dermjax.study.results import Outcomes, collect
from dermjax.study.settings import StudySettings
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class Beside:
    """Another study, as far as it is shown."""

    name: str  # of its folder
    network: str
    outcomes: Outcomes
    overall: pd.DataFrame
    maps: feature_maps.Panels


def look(
    settings: StudySettings, directory: epath.Path, outcomes: Outcomes, writer: Writer
) -> tuple[list[Beside], dict[str, str]]:
    """The studies of `config.report.beside`; nothing is written into their folders.

    Returns:
      Those that can be shown, and why the others cannot, by folder.
    """
    shown, left_out = [], {}
    for folder in settings.report.beside:
        other, _ = collect(finished(stores.folder(folder)))
        if other is None:
            left_out[str(folder)] = "has no finished run"
            continue
        reason = _differs(outcomes, other)
        if reason:
            left_out[str(folder)] = reason
            continue
        name = pathlib.PurePath(stores.absolute(stores.folder(folder))).name
        writer.say(f"beside it: {folder}, {len(other.runs)} runs")
        cells = tables.make_cells(other, tables.make_weights(settings, other))
        shown.append(
            Beside(
                name=name,
                network=other.runs[0].planned.settings.model.name,
                outcomes=other,
                overall=tables.overall(cells, writer.track),
                maps=feature_maps.make(settings, directory / "feature_maps" / name, other, writer),
            )
        )
    return shown, left_out


def _differs(outcomes: Outcomes, other: Outcomes) -> str:
    """Why the two cannot be compared; '' where they can."""
    ours, theirs = (
        (one.classes, one.runs[0].results["data_fingerprint"]) for one in (outcomes, other)
    )
    if ours != theirs:
        return "was made with other data"
    if not np.array_equal(np.sort(outcomes.images), np.sort(other.images)):
        return "has other test images"
    return ""
