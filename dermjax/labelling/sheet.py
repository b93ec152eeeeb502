"""The photographs of a batch for the page: upright, with their boxes and labelled neighbours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dermjax.data import images, redactions
from dermjax.data.manifest import BOX
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.page import SIDE, Candidate, Neighbour
from dermjax.labelling.pool import Choice
from dermjax.labelling.source import Source
from dermjax.report import figures
from dermjax.training.writer import Writer

_SMALL = 240  # px of a neighbour
_NEIGHBOURS = 5


def shown(
    source: Source, candidates: Candidates, chosen: Sequence[Choice], writer: Writer
) -> list[Candidate]:
    """The photographs as the page wants them; each is read at most once, 3 MB of memory at most.

    Raises:
      ValueError: a photograph cannot be read any more.
    """
    labelled = np.flatnonzero(candidates.pool.labelled)  # of the pool
    return [
        _shown(source, candidates, choice, labelled)
        for choice in writer.track(chosen, len(chosen), "photographs")
    ]


def _shown(
    source: Source, candidates: Candidates, choice: Choice, labelled: np.ndarray
) -> Candidate:
    """One photograph, upright, its redactions blacked out."""
    row = source.dataset.frame.iloc[candidates.rows[choice.row]]
    black = redactions.parse(row["redact"])
    pixels = np.asarray(images.read_crop(row["path"], None, SIDE, black))
    box, seen = _boxes(row, pixels)
    return Candidate(
        name=row["name"],
        image=row["image"],
        box=box,
        why=choice.why,
        pixels=pixels,
        shown_box=seen,
        neighbours=_neighbours(source, candidates, choice.row, labelled),
    )


def _neighbours(
    source: Source, candidates: Candidates, row: int, labelled: np.ndarray
) -> list[Neighbour]:
    """The labelled training photographs that are most like a row of the pool."""
    features, dataset = candidates.pool.features, source.dataset
    cosines = features[labelled] @ features[row]
    found = []
    for place in np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]:
        own = int(candidates.rows[labelled[place]])
        found.append(
            Neighbour(
                pixels=figures.shrunk(dataset.pixels(own), _SMALL),
                label=dataset.classes[dataset.labels[own]],
                name=str(dataset.frame["name"].iloc[own]),
                similarity=float(cosines[place]),
            )
        )
    return found


_Box = tuple[float, float, float, float] | None


def _boxes(row: pd.Series, pixels: np.ndarray) -> tuple[_Box, _Box]:
    """The lesion's box in px of the photograph and of `pixels`; None for a whole photograph."""
    x, y, w, h = (float(row[side]) for side in BOX)
    if np.isnan(x):
        return None, None
    across, down = pixels.shape[1] / row["width"], pixels.shape[0] / row["height"]
    return (x, y, w, h), (x * across, y * down, w * across, h * down)
