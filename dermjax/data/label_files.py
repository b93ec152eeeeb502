"""Tables of labels that people fill in, read as answers about the rows of a manifest.

They are `labels.csv`, which the labelling page saves, and `next.csv`, which a spreadsheet can fill.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermjax.data import boxes, file_names, identity, images
from dermjax.data import manifest as tables
from dermjax.data.manifest import BOX, Manifest
from dermjax.data.problems import at_rows, quoted

CANNOT_TELL, NOT_A_LESION = VERDICTS = ("cannot tell", "not a lesion")
COLUMNS = ("image", *BOX, "label", "verdict", "labelled_by", "labelled_at")

_SLACK = 0.5  # px by which a spreadsheet may have rounded a box's sides
_DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+)")
# A spreadsheet would calculate what begins so, and the page puts a quote before it. Who labelled
# keeps it: the merged table is for spreadsheets, too.
_QUOTED = re.compile(r"'('*[=+\-@\t\r])")
_FRAGMENT = re.compile(r"(.+)#xywh=([^,]+),([^,]+),([^,]+),([^,]+)")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What somebody said of one photograph or lesion: a label or a verdict."""

    place: int  # of the row in the manifest's frame
    label: str  # as it is written there; '' with a verdict
    verdict: str  # '' or one of VERDICTS
    by: str  # who said it, '' for unknown
    at: str  # when, as text
    file: str  # name of the table
    row: int  # line in it

    @property
    def said(self) -> str:
        """The label or the verdict, as it is shown."""
        return self.label or self.verdict


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """The answers of one table."""

    answers: tuple[Answer, ...]
    blank: int  # rows without an answer
    problems: tuple[str, ...]  # all of them, one line each
    notes: tuple[str, ...]


def read(path: os.PathLike | str, manifest: Manifest) -> LabelFile:
    """Reads a table of labels; whether their classes are known is not looked at.

    Args:
        path: CSV of any kind that `manifest.read_table` reads, with the columns image and label
            and, if it has them, x, y, w, h (px), verdict, labelled_by and labelled_at. Images are
            named as in the manifest's own table, or as seen from this table's folder.
        manifest: What the photographs are looked up in.

    Raises:
        ManifestError: The file cannot be read, or has no rows.
    """
    path = Path(path)
    frame, problems, notes = tables.read_table(path)
    found = [name for name in frame if name != "row"]
    lacking = [tables.no_column(name, found) for name in ("image", "label") if name not in frame]
    frame, about_boxes = _with_box_columns(frame)
    problems += lacking + about_boxes
    if problems:
        return LabelFile((), 0, tuple(problems), tuple(notes))
    for name in COLUMNS:
        cells = frame[name] if name in frame else pd.Series("", frame.index, dtype="str")
        frame = frame.assign(**{name: cells})
    frame = frame.assign(
        image=_unquoted(frame["image"], set(manifest.frame["image"]), str),
        label=_unquoted(frame["label"], set(map(identity.key, manifest.classes)), identity.key),
    )
    frame, problems, more = _with_verdicts(frame, manifest)
    answered = (frame["label"] != "") | (frame["verdict"] != "")
    given = frame[answered].reset_index(drop=True)
    places, unplaced = _places(given, path, manifest)
    answers = [
        Answer(int(place), label, verdict, by, at, path.name, int(row))
        for place, label, verdict, by, at, row in zip(
            places, *(given[name] for name in (*COLUMNS[5:], "row")), strict=True
        )
        if place >= 0
    ]
    blank = int((~answered).sum())
    return LabelFile(tuple(answers), blank, (*problems, *unplaced), (*notes, *more))


def _unquoted(cells: pd.Series, known: Collection[str], key: Callable[[str], str]) -> pd.Series:
    """Cells without the quote that keeps a spreadsheet from calculating them.

    Where the quote belongs to a known name, which has no other without it, it stays.
    """

    def unquoted(cell: str) -> str:
        if not _QUOTED.match(cell):
            return cell
        return cell if key(cell) in known and key(cell[1:]) not in known else cell[1:]

    return cells.map(unquoted)


def _with_box_columns(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with x, y, w, h, blank where it has none, decimal points for commas; problems."""
    frame, _ = boxes.from_corners(frame)
    missing = [name for name in BOX if name not in frame]
    if 0 < len(missing) < 4:
        return frame, [f"a box needs the columns x, y, w, h: {quoted(missing)} missing"]
    if missing:
        return frame.assign(**dict.fromkeys(BOX, "")), []
    return frame.assign(
        **{n: frame[n].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True) for n in BOX}
    ), []


def _with_verdicts(
    frame: pd.DataFrame, manifest: Manifest
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The table with each row's label or verdict, problems and notes.

    A verdict may stand in the column of labels, unless it is the name of a class.
    """
    problems, notes = [], []
    nobody = (frame["label"] != "") & frame["label"].map(identity.is_nobody)
    if nobody.any():
        words = quoted(frame.loc[nobody, "label"])
        notes.append(at_rows(frame[nobody], f"label {words} is no label: not taken"))
    label = frame["label"].mask(nobody, "")
    known = {identity.key(one): one for one in VERDICTS}
    theirs = set(map(identity.key, manifest.classes))
    is_verdict = label.map(lambda text: (key := identity.key(text)) in known and key not in theirs)
    verdict = frame["verdict"].mask(is_verdict & (frame["verdict"] == ""), label)
    label = label.mask(is_verdict, "")
    strange = (verdict != "") & ~verdict.map(identity.key).isin(list(known))
    if strange.any():
        words = quoted(verdict[strange])
        use = " or ".join(map(repr, VERDICTS))
        problems.append(at_rows(frame[strange], f"unknown verdict {words}: use {use}, or blank"))
    both = (verdict != "") & (label != "")
    if both.any():
        problems.append(at_rows(frame[both], "a label and a verdict: keep one of the two"))
    verdict = verdict.map(lambda text: known.get(identity.key(text), text) if text else "")
    return frame.assign(label=label, verdict=verdict), problems, notes


def _places(given: pd.DataFrame, path: Path, manifest: Manifest) -> tuple[list[int], list[str]]:
    """`[N]` places of the manifest's rows, -1 where none is meant for sure; and problems."""
    given = _without_fragments(given)
    number, problems = boxes.read(given[list(BOX)], given["row"], "box", given["image"])
    bad = ((given[list(BOX)] != "").any(axis=1) & number["x"].isna()).to_numpy()
    photographs = _Photographs(manifest)
    base = photographs.base_of(given["image"], [manifest.folder, os.path.abspath(path.parent)])
    places: list[int] = []
    missed: dict[str, list[int]] = {}
    for row, (image, box) in enumerate(zip(given["image"], number.to_numpy(), strict=True)):
        place, why = (-1, "") if bad[row] else photographs.place(os.path.join(base, image), box)
        places.append(place)
        if why:
            missed.setdefault(why, []).append(row)
    for why, rows in missed.items():
        names = quoted(given["image"].iloc[rows])
        text = why.format(names=names, table=os.path.basename(manifest.source))
        problems.append(at_rows(given.iloc[rows], text))
    return places, problems


def _without_fragments(given: pd.DataFrame) -> pd.DataFrame:
    """The table with the boxes of `a.jpg#xywh=1,2,3,4`, as names have them, in their columns."""
    given = given.assign(image=given["image"].str.replace("\\", "/"))
    parts = given["image"].str.extract(_FRAGMENT)
    named = parts[0].notna() & (given[list(BOX)] == "").all(axis=1)
    columns = dict(zip(("image", *BOX), parts, strict=True))
    return given.assign(**{name: given[name].mask(named, parts[c]) for name, c in columns.items()})


_NO_PHOTOGRAPH = (
    "no photograph {names} in {table}: name it as the column image there does, or take the row out"
)
_NO_BOX = "no such box on {names} in {table}: take x, y, w, h as they stand there"
_WHICH_BOX = "several rows of {names} in {table}: fill x, y, w, h to say which is meant"


class _Photographs:
    """The rows of a manifest by their photographs."""

    def __init__(self, manifest: Manifest):
        self._boxes = manifest.frame[list(BOX)].to_numpy(float)
        self._paths = manifest.frame["path"].tolist()
        self._rows: dict[str, list[int]] = {}
        for place, path in enumerate(self._paths):
            self._rows.setdefault(path, []).append(place)
        # Another form of Unicode or case of the ending, where that is one photograph only.
        self._forms: dict[str, list[str]] = {}
        for path in self._rows:
            self._forms.setdefault(file_names.folded(path), []).append(path)

    def base_of(self, images: Iterable[str], folders: Sequence[str]) -> str:
        """The folder from which most of the images are found; the first of equal ones."""
        images = list(images)
        return max(
            folders,
            key=lambda base: sum(bool(self._of(os.path.join(base, one))) for one in images),
        )

    def place(self, path: str, box: np.ndarray) -> tuple[int, str]:
        """The row of a photograph and box (`[4]`, NaN for none); or -1 and why there is none."""
        rows = self._of(path)
        if not rows:
            return -1, _NO_PHOTOGRAPH
        theirs = self._boxes[rows]
        if np.isnan(box).any():
            whole = np.flatnonzero(np.isnan(theirs[:, 0]))
            if len(whole) or len(rows) == 1:
                return rows[whole[0] if len(whole) else 0], ""
            return -1, _WHICH_BOX
        found = _nearest(theirs, box)
        if found is None:
            found = _nearest(_upright(theirs, self._paths[rows[0]]), box)
        return (-1, _NO_BOX) if found is None else (rows[found], "")

    def _of(self, path: str) -> list[int]:
        path = os.path.normpath(path)
        forms = self._forms.get(file_names.folded(path), [])
        return self._rows.get(path) or (self._rows[forms[0]] if len(forms) == 1 else [])


def _nearest(theirs: np.ndarray, box: np.ndarray) -> int | None:
    """Which of the boxes `[N, 4]` is the box `[4]`, but for rounding."""
    apart = np.nan_to_num(np.abs(theirs - box).max(axis=1), nan=np.inf)
    return int(apart.argmin()) if apart.min() <= _SLACK else None


def _upright(theirs: np.ndarray, path: str) -> np.ndarray:
    """`[N, 4]` boxes of a photograph that EXIF turns, as if drawn on the unturned one.

    Labels are of boxes on the upright photograph, and a table may have been drawn otherwise, as
    `orientation.turn_boxes` finds out.
    """
    try:
        turn = images.orientation_of(path)
        with Image.open(path) as image:
            size = image.size[::-1] if turn >= 5 else image.size
    except (OSError, ValueError):
        return theirs
    return np.array([images.upright_box(tuple(box), size, turn) for box in theirs])
