"""Whether sets that were drawn are as large as they should be, and whose images are the reason."""

import dataclasses

import numpy as np
import pandas as pd

from dermjax.data.links import SETS

_FAR = 0.1  # of all images, by which a set may miss its share without a word
_OF_A_CLASS = 0.6  # of a class's images; one group of more fits into no set
_FEW = 5  # images of a class, of which shares say nothing


@dataclasses.dataclass(frozen=True)
class Uneven:
    """Sets that are far from what is wished, in words, and the rows of the group behind it."""

    text: str
    rows: pd.DataFrame


def uneven(frame: pd.DataFrame, sets: np.ndarray) -> list[Uneven]:
    """What a reader of the results must know about the sizes of the sets.

    A split that the user gave is as it is wished; of one without a validation set the training
    images are looked at, which give a quarter to it.

    Args:
        frame: A manifest's table, with the given `split` or ''.
        sets: `[N]` set of each row; '' for rows that are left out.
    """
    given = set(frame.loc[frame["exclude"] != "all", "split"]) - {""}
    if "validation" in given:
        return []
    wished = dict(zip(SETS, (0.75, 0.25, 0.0) if given else (0.6, 0.2, 0.2), strict=True))
    drawn = (frame["split"] == "train") if given else (frame["exclude"] != "all")
    frame = frame.assign(set=sets)[drawn & (frame["label"] != "") & (sets != "")]
    if frame.empty:
        return []
    names = [name for name in SETS if wished[name]]
    counts = frame["set"].value_counts().reindex(names, fill_value=0)
    found = []
    if max(abs(counts[name] / len(frame) - wished[name]) for name in names) > _FAR:
        largest, own = _largest(frame)
        found.append(
            Uneven(
                f"{_shares(names, counts)} instead of "
                f"{', '.join(f'{wished[name]:.0%}' for name in names)}: {largest} has {own} of "
                f"{len(frame)} labelled images ({own / len(frame):.0%}), and what belongs together "
                "stays in one set; add patients, or leave some of its images out (column exclude)",
                frame[frame["group"] == largest],
            )
        )
    classes = (_uneven_class(label, part, names) for label, part in frame.groupby("label"))
    return found + [one for one in classes if one is not None]


def _uneven_class(label: str, frame: pd.DataFrame, names: list[str]) -> Uneven | None:
    """A class most of whose images are of one group."""
    largest, own = _largest(frame)
    if len(frame) < _FEW or own <= _OF_A_CLASS * len(frame):
        return None
    counts = frame["set"].value_counts().reindex(names, fill_value=0)
    text = (
        f"class {label!r}: {_shares(names, counts)}: {largest} alone has {own} of its "
        f"{len(frame)} images, so that what is measured of the class rests on few others; add "
        "patients, or leave some of its images out (column exclude)"
    )
    return Uneven(text, frame[frame["group"] == largest])


def _largest(frame: pd.DataFrame) -> tuple[str, int]:
    """The group with the most rows, and their number; of equal ones the first by name."""
    counts = frame["group"].value_counts()
    return min(counts.index, key=lambda name: (-counts[name], name)), int(counts.max())


def _shares(names: list[str], counts: pd.Series) -> str:
    parts = (f"{counts[name]} for {name} ({counts[name] / counts.sum():.0%})" for name in names)
    return f"images {', '.join(parts)}"
