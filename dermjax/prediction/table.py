"""The table of answers, a row for each photograph or lesion."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dermjax.data.manifest import BOX
from dermjax.prediction.calibration import Answers
from dermjax.prediction.photographs import Photographs

UNFAMILIAR = "unfamiliar"
BETWEEN = " | "  # classes of a set


def make(wanted: Photographs, answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """The columns of `predictions.csv`.

    Returns:
      image; patient, where any is known; x, y, w, h in px, where any has a box; predicted; set
      (classes, the likeliest first); flags (blank, or `unfamiliar`); distance; and p_CLASS,
      calibrated, for each class.
    """
    frame, probabilities = wanted.frame, answers.probabilities
    columns = {"image": frame["image"].where(frame["image"] != "", frame["name"])}
    if (frame["patient"] != "").any():
        columns["patient"] = frame["patient"]
    if frame["x"].notna().any():
        columns |= {side: frame[side] for side in BOX}
    names = np.array(classes, object)
    columns["predicted"] = names[probabilities.argmax(1)]
    columns["set"] = [
        BETWEEN.join(names[c] for c in np.argsort(-p, kind="stable") if inside[c])
        for p, inside in zip(probabilities, answers.sets, strict=True)
    ]
    columns["flags"] = np.where(answers.unfamiliar, UNFAMILIAR, "")
    columns["distance"] = answers.distances
    columns |= {f"p_{name}": probabilities[:, c] for c, name in enumerate(classes)}
    return pd.DataFrame(columns).reset_index(drop=True)


def summary(table: pd.DataFrame, answers: Answers) -> str:
    """How many of each answer, in lines."""
    counts = table["predicted"].value_counts()
    width = max(map(len, counts.index))
    lines = [f"{name:<{width}}  {count:>6}" for name, count in counts.items()]
    single = int((answers.sets.sum(1) == 1).sum())
    lines += [
        "",
        f"{single:,} of {len(table):,} have one class in their prediction set; "
        f"{int(answers.unfamiliar.sum()):,} are unfamiliar",
    ]
    return "\n".join(lines)
