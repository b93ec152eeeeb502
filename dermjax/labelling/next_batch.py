"""`label/next.csv`: the photographs that are asked about, as a table to fill in and read back."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from dermjax.data.manifest import BOX, KNOWN, OURS, read_table
from dermjax.data.problems import ManifestError
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.pool import Choice
from dermjax.labelling.settings import PROBE
from dermjax.labelling.source import Source
from dermjax.runs.files import write_text

NAME, QUESTION = "next.csv", "question.json"
_ANSWERS = ("label", "verdict")  # columns that a person fills in
_ALWAYS = ("image", "label", "patient")


@dataclasses.dataclass(frozen=True)
class Question:
    """What was asked: the same question has the same answer."""

    run: str
    data: str  # fingerprint
    encoder: str
    method: str
    count: int
    per_patient: int
    seed: int
    classifier: str = PROBE


def table(source: Source, candidates: Candidates, chosen: Sequence[Choice]) -> pd.DataFrame:
    """A row for each choice: the user's own columns, a blank label, `rank` from 1, and `why`.

    Columns that the user's table leaves blank everywhere are left out.
    """
    dataset = source.dataset
    frame = dataset.frame
    if dataset.manifest is not None:  # its patients are as the user has written them
        whole = dataset.manifest.frame
        frame = whole[whole["exclude"] != "all"].reset_index(drop=True)
    frame = frame.drop(columns=[name for name in OURS if name in frame])
    for side in BOX:
        frame[side] = ["" if np.isnan(value) else f"{value:.10g}" for value in frame[side]]
    blank = [name for name in KNOWN if name not in _ALWAYS and (frame[name] == "").all()]
    part = frame.drop(columns=blank).iloc[[candidates.rows[one.row] for one in chosen]]
    part = part.rename(columns={name: f"given_{name}" for name in ("rank", "why") if name in part})
    return part.assign(label="", rank=range(1, len(part) + 1), why=[one.why for one in chosen])


def check_free(folder: epath.Path, question: Question, known: pd.DataFrame) -> None:
    """Keeps a batch that somebody may be labelling from being replaced.

    A batch all of whose photographs are answered in the table has been merged: it may go.

    Args:
      known: the table's rows: image, x, y, w, h, label and, where somebody has said so, verdict.

    Raises:
      ValueError: there is a batch that is filled in, or the answer to another question.
    """
    path, asked = folder / NAME, folder / QUESTION
    if not path.exists():
        return
    remedy = (
        "merge its labels first (python -m dermjax.data.manifest TABLE.csv --labels=LABELS.csv "
        "--out=NEW.csv) and name the new table, as in data=NEW.csv; or move it away, or name "
        "another folder by --workdir"
    )
    batch = _read(path)
    if batch is not None and set(_keys(batch)) <= set(_keys(known[_is_answered(known)])):
        return
    if batch is None or (filled := int(_is_answered(batch).sum())):
        rows = "" if batch is None else f" in {filled} rows"
        raise ValueError(f"{path} has answers{rows}, which would be lost: {remedy}")
    before = {"classifier": PROBE} | json.loads(asked.read_text()) if asked.exists() else None
    if before != dataclasses.asdict(question):
        raise ValueError(
            f"{path} is another batch, which somebody may be labelling on its page: {remedy}"
        )


def write(folder: epath.Path, batch: pd.DataFrame, question: Question) -> epath.Path:
    """Writes the table and what it is the answer to."""
    write_text(folder / QUESTION, json.dumps(dataclasses.asdict(question), indent=2) + "\n")
    # The mark by which spreadsheets know UTF-8.
    write_text(folder / NAME, "\ufeff" + batch.to_csv(index=False))
    return folder / NAME


def _read(path: epath.Path) -> pd.DataFrame | None:
    """The batch as a person may have saved it; None where it cannot be read."""
    try:
        batch, _, _ = read_table(path)
    except ManifestError:
        return None
    return batch if {"image", "label"} <= set(batch) else None


def _is_answered(table: pd.DataFrame) -> np.ndarray:
    """`[rows]` bool, those with a label or a verdict."""
    given = [(table[name].str.strip() != "").to_numpy() for name in _ANSWERS if name in table]
    return np.any(given, axis=0)


def _keys(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Image and box of each row, however the numbers are written."""
    boxes = [
        pd.to_numeric(table[side], errors="coerce").fillna(-1).round(2).astype(str).tolist()
        for side in BOX
        if side in table
    ] or [["-1.0"] * len(table)] * len(BOX)
    images = table["image"].str.replace("\\", "/").tolist()
    return list(zip(images, *boxes, strict=True))
