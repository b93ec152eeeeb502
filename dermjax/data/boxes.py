"""Boxes in tables: four columns of text that are numbers of pixels, or what is wrong with them."""

import numpy as np
import pandas as pd

from dermjax.data.problems import at_rows

SIDES = ("x", "y", "w", "h")


def read(text: pd.DataFrame, rows: pd.Series, what: str) -> tuple[pd.DataFrame, list[str]]:
    """Boxes as floats.

    Args:
        text: `[N, 4]` strings: left, top, width, height under any names.
        rows: `[N]` line numbers for the messages; rows that are not used have none (NaN).
        what: What the boxes are, for the messages.

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
    relative = ~wrong & ~partly & ~small & ((width < 1) | (height < 1))
    problems = []
    for bad, words in (
        (partly, f"partly blank {{}}: fill all of {', '.join(names)} or none"),
        (wrong, "is not numeric {}: write pixels such as 12 or 12.5"),
        (small, f"without area {{}}: {names[2]} and {names[3]} must be positive"),
        (relative, "smaller than a pixel {}: write pixels, not shares"),
    ):
        if (told := bad & rows.notna()).any():
            values = text[told].iloc[0]
            example = ", ".join(f"{side}={value!r}" for side, value in values.items())
            problems.append(at_rows(rows[told], f"{what} {words.format(f'({example})')}"))
    bad = wrong | partly | small | relative
    return number.mask(bad).set_axis(SIDES, axis=1), problems
