"""The photographs of a batch for the page: upright, with their boxes and labelled neighbours."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import pandas as pd

from dermjax.data import images, redactions
from dermjax.data.manifest import BOX
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.page import Candidate, Neighbour
from dermjax.labelling.pool import Choice
from dermjax.labelling.source import Source
from dermjax.report import figures

_SIDE = 1024  # px of a photograph, at most
_SMALL = 240  # px of a neighbour
_NEIGHBOURS = 5


class Sheet(Sequence[Candidate]):
    """The batch as the page wants it, each photograph read when it is asked for."""

    def __init__(self, source: Source, candidates: Candidates, chosen: Sequence[Choice]):
        self._source, self._candidates, self._chosen = source, candidates, chosen
        self._labelled = np.flatnonzero(candidates.pool.labelled)  # of the pool

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Candidate]: ...

    def __getitem__(self, place):
        if isinstance(place, slice):
            return Sheet(self._source, self._candidates, self._chosen[place])
        choice = self._chosen[place]
        row = self._source.dataset.frame.iloc[self._candidates.rows[choice.row]]
        pixels = np.asarray(
            images.read_crop(row["path"], None, _SIDE, redactions.parse(row["redact"]))
        )
        box, shown = _boxes(row, pixels)
        return Candidate(
            name=row["name"],
            image=row["image"],
            box=box,
            why=choice.why,
            pixels=pixels,
            shown_box=shown,
            neighbours=self._neighbours(choice.row),
        )

    def _neighbours(self, row: int) -> list[Neighbour]:
        """The labelled training photographs that are most like a row of the pool."""
        features, dataset = self._candidates.pool.features, self._source.dataset
        cosines = features[self._labelled] @ features[row]
        nearest = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
        found = []
        for place in nearest:
            own = int(self._candidates.rows[self._labelled[place]])
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
