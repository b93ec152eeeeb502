"""Boxes in tables: four columns of text that are numbers of pixels, or what is wrong with them."""

import re

import numpy as np
import pandas as pd

from dermjax.data.problems import Kind, Line, at_rows, quoted

SIDES = ("x", "y", "w", "h")
_FEW = 8  # px: a side of less is hardly a lesion's
# Names of four columns, without their signs and a leading `bbox`: the corners of a box, or another
# spelling of its sides.
_CORNERS = (
    *(("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy")),
    *(("left", "top", "right", "bottom"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1")),
)
_OF_A_BOX = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
_AMBIGUOUS = (("left", "top", "width", "height"), ("xmin", "ymin", "width", "height"))
_ONE_COLUMN = ("bbox", "box", "boundingbox", "bndbox", "boxes", "bboxes", "polygon", "segmentation")


def from_corners(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A table whose boxes stand in columns of other names, under SIDES; and what was done.

    Args:
        frame: A user's table of strings; unchanged where it has one of SIDES already.
    """
    if set(SIDES) & set(frame):
        return frame, []
    plain = {re.sub(r"[\W_]", "", name.removeprefix("given_")): name for name in frame}
    short = {re.sub(r"^(bbox|bndbox|box)", "", key): name for key, name in plain.items()}
    for names in _CORNERS:
        if all(name in short for name in names):
            theirs = [short[name] for name in names]
            sides = _sides(frame[theirs])
            note = (
                f"columns {', '.join(theirs)} read as the corners of boxes, in px from 0, the last "
                "two just outside"
            )
            return frame.drop(columns=theirs).assign(**sides), [Line(note, Kind.BOXES)]
    boxed = {key: name for key, name in short.items() if name not in plain or key not in plain}
    for names in _OF_A_BOX:
        if all(name in boxed for name in names):
            theirs = [boxed[name] for name in names]
            note = f"columns {', '.join(theirs)} read as the boxes' x, y, w, h"
            renamed = frame.rename(columns=dict(zip(theirs, SIDES, strict=True)))
            return renamed, [Line(note, Kind.BOXES)]
    for names in _AMBIGUOUS:
        if all(name in short for name in names):
            theirs = ", ".join(short[name].removeprefix("given_") for name in names)
            note = f"columns {theirs} are not read; if they are boxes, name them x, y, w, h"
            return frame, [Line(note, Kind.BOXES)]
    one = [name for key, name in plain.items() if key in _ONE_COLUMN]
    if one:
        note = f"column '{one[0]}' is not read; a box needs the columns x, y, w, h, in px"
        return frame, [Line(note, Kind.BOXES)]
    return frame, []


def _sides(corners: pd.DataFrame) -> dict[str, list[str]]:
    """x, y, w, h of corners; what is no number stays as it is, for the message."""
    columns = [corners[name].tolist() for name in corners]
    rows = [_sides_of(row) for row in zip(*columns, strict=True)]
    return dict(zip(SIDES, map(list, zip(*rows, strict=True)), strict=True))


def _sides_of(row: tuple[str, ...]) -> tuple[str, ...]:
    try:
        left, top, right, bottom = map(float, row)
    except ValueError:
        return row
    return row[0], row[1], f"{right - left:.10g}", f"{bottom - top:.10g}"


def small(frame: pd.DataFrame) -> list[str]:
    """Notes on boxes that may not be what they seem, though they lie in their photographs.

    Args:
        frame: A scanned manifest's table.
    """
    boxed = frame[frame["x"].notna() & (frame["width"] > 0)]
    tiny = boxed[boxed[["w", "h"]].min(axis=1) < _FEW]
    notes: list[str] = []
    if len(tiny):
        text = (
            f"boxes with a side of less than {_FEW} px: {len(tiny)} ({quoted(tiny['image'])}); are "
            "they pixels of these photographs?"
        )
        notes.append(Line(text, Kind.BOXES))
    whole = (boxed["w"] == boxed["width"]) & (boxed["h"] == boxed["height"])
    if len(boxed) > 3 and len(boxed[list(SIDES)].drop_duplicates()) == 1 and not whole.any():
        box = ", ".join(f"{side}={boxed[side].iloc[0]:g}" for side in SIDES)
        text = f"every box is {box}; are they pixels, drawn on each photograph?"
        notes.append(Line(text, Kind.BOXES))
    return notes


def read(
    text: pd.DataFrame, rows: pd.Series, what: str, images: pd.Series
) -> tuple[pd.DataFrame, list[str]]:
    """Boxes as floats.

    Args:
        text: `[N, 4]` strings: left, top, width, height under any names.
        rows: `[N]` line numbers for the messages; rows that are not used have none (NaN).
        what: What the boxes are, for the messages.
        images: `[N]` names of the photographs, for the messages.

    Returns:
        (`[N, 4]` under SIDES, NaN where a box is blank or bad; problems).
    """
    names = list(text)
    number = text.apply(pd.to_numeric, errors="coerce").astype(float)
    number = number.where(np.isfinite(number))
    filled = (text != "").sum(axis=1)
    partly = (filled > 0) & (filled < 4)
    wrong = ((text != "") & number.isna()).any(axis=1)
    width, height = number[names[2]], number[names[3]]
    small = ~wrong & ~partly & ((width <= 0) | (height <= 0))
    # 1 x 1 is a pixel, or all of the photograph in shares of it: no lesion is of one pixel.
    relative = (width < 1) | (height < 1) | ((width <= 1) & (height <= 1))
    relative &= ~wrong & ~partly & ~small
    problems = []
    for bad, words in (
        (partly, f"partly blank {{}}: fill all of {', '.join(names)} or none"),
        (wrong, "is not numeric {}: write pixels such as 12 or 12.5"),
        (small, f"without area {{}}: {names[2]} and {names[3]} must be positive"),
        (relative, "of a pixel or less {}: write pixels, not shares of the photograph"),
    ):
        if (unreadable := bad & rows.notna()).any():
            values = text[unreadable].iloc[0]
            example = ", ".join(f"{side}={value!r}" for side, value in values.items())
            line = f"{what} {words.format(f'({example})')}"
            problems.append(at_rows(rows[unreadable], line, images[unreadable]))
    bad = wrong | partly | small | relative
    return number.mask(bad).set_axis(SIDES, axis=1), problems
