"""Boxes that were drawn on a photograph as its file has it, before EXIF turned it upright.

Some programs show photographs upright and some as they are stored. Where a table declares the size
of the photograph that it was drawn on, as COCO and Pascal VOC do, that tells which.
"""

import numpy as np
import pandas as pd

from dermjax.data import images
from dermjax.data.boxes import SIDES
from dermjax.data.problems import Kind, Line, at_rows, quoted

# The columns `width` and `height` of a user's table, as a manifest has them.
DECLARED = ("given_width", "given_height")


def turn_boxes(
    frame: pd.DataFrame, orientation: np.ndarray
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Turns boxes that were drawn on unturned photographs.

    Args:
        frame: A scanned manifest's table.
        orientation: `[N]` EXIF's orientation of each row's photograph, 1 to 8.

    Returns:
        (the frame, problems, notes): boxes of a size that is neither the upright nor the unturned
        photograph's are problems; what nothing decides is counted.
    """
    boxed = (frame["x"].notna() & (frame["width"] > 0)).to_numpy()
    upright = frame[["width", "height"]].to_numpy(float)
    stored = np.where((orientation >= 5)[:, None], upright[:, ::-1], upright)
    declared = _declared(frame)
    known = boxed & (declared > 0).all(axis=1)
    as_upright = known & (declared == upright).all(axis=1)
    as_stored = known & (declared == stored).all(axis=1)
    if known.any() and not _are_sizes(frame, declared, known, as_upright | as_stored):
        known, as_upright, as_stored = (np.zeros(len(frame), bool) for _ in range(3))
    problems = _other_sizes(frame, declared, known & ~as_upright & ~as_stored)
    decided = as_upright != as_stored
    turned = decided & as_stored
    undecided = boxed & (orientation != 1) & ~decided & ~(known & ~as_upright & ~as_stored)
    notes: list[str] = []
    if turned.any():
        text = (
            f"boxes drawn on the unturned photograph, as its declared size shows, and turned with "
            f"it: {turned.sum()} ({quoted(frame.loc[turned, 'image'])})"
        )
        notes.append(Line(text, Kind.BOXES))
        if undecided.any() and not (decided & as_upright).any():  # one program drew them all
            text = (
                "boxes turned likewise, as every declared size that decides says so: "
                f"{undecided.sum()} ({quoted(frame.loc[undecided, 'image'])})"
            )
            notes.append(Line(text, Kind.BOXES))
            turned, undecided = turned | undecided, np.zeros(len(frame), bool)
    if undecided.any():
        text = (
            "boxes on photographs that EXIF turns, where nothing tells whether they were drawn on "
            f"the turned one: {undecided.sum()} ({quoted(frame.loc[undecided, 'image'])}); taken "
            "as drawn on the upright photograph, so look at them in the audit"
        )
        notes.append(Line(text, Kind.BOXES))
    hidden = (frame["redact"] != "").to_numpy() & (orientation != 1) & (frame["width"] > 0)
    if hidden.any():
        text = (
            f"redactions on photographs that EXIF turns: {quoted(frame.loc[hidden, 'image'])}; "
            "they are taken as drawn on the upright photograph, so look at them in the audit"
        )
        notes.append(Line(text, Kind.REDACTIONS))
    return _turned(frame, turned, orientation), problems, notes


def _declared(frame: pd.DataFrame) -> np.ndarray:
    """`[N, 2]` width and height as the table has them; NaN where it has none."""
    if not set(DECLARED) <= set(frame):
        return np.full((len(frame), 2), np.nan)
    return frame[list(DECLARED)].apply(pd.to_numeric, errors="coerce").to_numpy(float)


def _are_sizes(frame, declared: np.ndarray, known: np.ndarray, matching: np.ndarray) -> bool:
    """Whether the columns are sizes of photographs at all, not a lesion's in mm, say."""
    right, bottom = (frame["x"] + frame["w"]).to_numpy(), (frame["y"] + frame["h"]).to_numpy()
    inside = (right <= declared[:, 0] + 1) & (bottom <= declared[:, 1] + 1)
    return max(matching[known].mean(), inside[known].mean()) > 0.5


def _other_sizes(frame, declared: np.ndarray, other: np.ndarray) -> list[str]:
    if not other.any():
        return []
    first = frame[other].iloc[0]
    width, height = declared[other][0]
    return [
        at_rows(
            frame.loc[other, "row"],
            f"boxes drawn on another size ({first['image']}: declared {width:g} x {height:g} px, "
            f"the photograph has {first['width']} x {first['height']}) of "
            f"{quoted(frame.loc[other, 'image'])}: take the photographs that were drawn on, or "
            "scale the boxes",
        )
    ]


def _turned(frame: pd.DataFrame, rows: np.ndarray, orientation: np.ndarray) -> pd.DataFrame:
    """The frame with these rows' boxes in pixels of the upright photograph."""
    if not rows.any():
        return frame
    frame = frame.copy()
    found = [
        images.upright_box(box, size, turn)
        for box, size, turn in zip(
            frame.loc[rows, list(SIDES)].to_numpy(float),
            frame.loc[rows, ["width", "height"]].to_numpy(int),
            orientation[rows],
            strict=True,
        )
    ]
    frame.loc[rows, list(SIDES)] = np.array(found)
    return frame
