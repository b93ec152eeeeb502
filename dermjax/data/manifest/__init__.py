"""The table of photographs: read as it is written, checked whole, one row per lesion."""

import csv
import dataclasses
import difflib
import hashlib
import io
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dermjax import atomic
from dermjax.data import boxes, encodings, identity, links, redactions, splits
from dermjax.data.crops import Crop
from dermjax.data.problems import Kind, Line, ManifestError, at_rows, kind_of, quoted

BOX = boxes.SIDES
KNOWN = ("image", "label", "patient", "lesion", "split", "exclude", *BOX, "redact")
OURS = ("name", "path", "row", "group", "width", "height", "content", "mode", "hash", "near")

SETS = {  # as tables, folders and files name them
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_EXCLUDES = {
    "": "",
    "0": "",
    "0.0": "",
    "false": "",
    "no": "",
    "test": "test",
    "1": "all",
    "1.0": "all",
    "true": "all",
    "yes": "all",
    "all": "all",
}
_ALLOWED = {
    "split": "train, validation or test, or leave the column out",
    "exclude": "'test', 'all' (or 1, true, yes) or blank (or 0, false, no)",
}
# Excel's own first line, which names the delimiter.
_EXCELS_LINE = re.compile(r'\s*"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)
# A patient column that goes unrecognised would leak patients between sets in silence, so its
# common spellings are taken (and told); a missing image or label stops the run anyway.
_ALIASES = {
    "patient": {"patientid", "patientnr", "patientno", "pid", "subject", "subjectid"},
    "lesion": {"lesionid", "lesionnr", "lesionno"},
}
_COUNTED = (Kind.NO_PATIENTS, Kind.ROWS, Kind.EXCLUDED, Kind.REDACTED)  # of `_notes`
_HINTS = {
    "image": {
        "photo",
        "photograph",
        "file",
        "filename",
        "path",
        "imageid",
        "imagepath",
        "imagename",
        "imgid",
        "img",
        "picture",
    },
    "label": {"class", "diagnosis", "diagnostic", "dx", "target", "category", "disease"},
}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A checked table; the columns are listed in the field comments.

    `name` is the key of a row: the image, with a W3C media fragment where a photo has several rows.
    """

    # image, name, path (absolute), row (line in the user's file, header = 1), label ('' =
    # unlabelled), patient, lesion, split ('', train, validation, test), exclude ('', test, all),
    # x, y, w, h (px of the upright photo, NaN = whole photo), redact ('x,y,w,h;...' blacked out),
    # group, further columns as strings; after the scan: width, height (px, upright), content
    # (sha256), mode (such as 'JPEG RGB'), hash (perceptual, 256 bits) and near (the smallest hash
    # of the photographs that are taken for one).
    frame: pd.DataFrame
    source: str  # as the user named it
    folder: str  # on this machine, that relative paths in the table start from
    notes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # leaks of the given split that are accepted, as `links.torn` says
    pairs: pd.DataFrame | None = None  # photographs that look alike, as `near_duplicates.find`
    fingerprint: str = ""  # equal on every machine for the same data; set after the scan

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted labels of the rows that are not left out everywhere."""
        kept = self.frame.loc[self.frame["exclude"] != "all", "label"]
        return tuple(sorted(set(kept) - {""}))


def read_table(path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Reads a delimited text file without guessing types.

    Args:
        path: CSV with ',', ';' or tab, any line ends, an encoding of `encodings.read_text`; a first
            line `sep=;` as Excel has it.

    Returns:
        (table of stripped strings under lower-case headers plus the integer column `row`,
        problems, notes).

    Raises:
        ManifestError: The file cannot be read or has no rows.
    """
    text, notes = encodings.read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=re.sub(r'"[^"]*"', "", first).count)
    if excel_line := _EXCELS_LINE.match(text):  # the line is left, but counted
        delimiter, text = excel_line[1], text[excel_line.end() :]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    # Columns, not rows: a million small lists would keep the garbage collector busy.
    header: list[str] = []
    columns: list[list[str]] = []
    rows, odd = [], []
    skipped = line = len(excel_line[0].splitlines()) if excel_line else 0
    try:
        for record in reader:
            start, line = line + 1, skipped + reader.line_num
            if not any(cell.strip() for cell in record):
                continue
            if not header:
                header = [identity.visible(cell).lower() for cell in record]
                columns = [[] for _ in header]
                continue
            if len(record) < len(header) or any(map(str.strip, record[len(header) :])):
                odd.append((start, len(record), record))
            filled = itertools.chain(record, itertools.repeat(""))  # a row may be too short
            for column, cell in zip(columns, filled, strict=False):
                column.append(cell.strip())
            rows.append(start)
    except csv.Error as error:
        raise ManifestError(path, [f"line {line + 1} is not valid CSV ({error})"]) from None
    if not rows:
        raise ManifestError(path, ["the file has no rows below its header: write one per photo"])
    problems = (
        [
            at_rows(
                [row for row, _, _ in odd],
                f"{odd[0][1]} cells where the header has {len(header)} (first of them): "
                "check the delimiters and quotes",
                [_image_in(header, record) for _, _, record in odd],
            )
        ]
        if odd
        else []
    )
    header = [name or f"column_{index + 1}" for index, name in enumerate(header)]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ManifestError(path, problems + [f"columns named twice: {quoted(twice)}: rename one"])
    frame = pd.DataFrame(dict(zip(header, columns, strict=True)), dtype="str")
    # A user's own column called `row` must not hide ours.
    frame = frame.rename(columns={"row": "given_row"}) if "row" in frame else frame
    return frame.assign(row=rows), problems, notes


def _image_in(header: list[str], record: list[str]) -> str:
    """The photograph that a row names; '' where the row is too short to name one."""
    place = header.index("image") if "image" in header else 0
    return record[place].strip() if place < len(record) else ""


def read_csv(path) -> tuple[Manifest, list[str]]:
    """Reads a manifest; files are not opened.

    Args:
        path: The CSV; image paths in it are relative to its folder.

    Returns:
        (manifest, problems): every problem that the table alone can show.

    Raises:
        ManifestError: The file is unreadable or has no image column.
    """
    frame, problems, notes = read_table(path)
    manifest, more = build(frame, root=Path(path).parent, source=str(path), notes=notes)
    return manifest, problems + more + splits.group_problems(manifest.frame)


def build(
    frame: pd.DataFrame,
    *,
    root,
    source: str,
    notes=(),
    redact: pd.DataFrame | None = None,
    labelled: bool = True,
) -> tuple[Manifest, list[str]]:
    """Turns a table of strings under the known headers (plus `row`) into a manifest.

    Args:
        frame: Columns as in a manifest CSV, all strings, and the integer column `row`.
        root: Folder that relative image paths start from.
        source: What the user named, for messages.
        notes: Notes so far.
        redact: A table of redactions, as `redactions.located` returns it.
        labelled: Labels are needed; where they are not, what is wrong with them is a note.

    Returns:
        (manifest, problems).

    Raises:
        ManifestError: No column `image`.
    """
    frame, notes = _rename(frame.reset_index(drop=True), list(notes))
    found = [name for name in frame.columns if name != "row"]
    problems = [no_column("image", found)] if "image" not in frame else []
    about_labels = problems if labelled else notes  # where what is wrong with labels is told
    if "label" not in frame:
        about_labels.append(no_column("label", found))
    if "image" not in frame:
        raise ManifestError(source, problems)
    frame, more = boxes.from_corners(frame)
    notes += more
    present = [name for name in BOX if name in frame]
    if 0 < len(present) < 4:
        missing = [name for name in BOX if name not in frame]
        sides = [name for name in ("given_width", "given_height") if name in frame]
        hint = "; name 'w' and 'h' what is a box's 'width' and 'height'" if sides else ""
        problems.append(f"a box needs the columns x, y, w, h: {quoted(missing)} missing{hint}")
        frame = frame.drop(columns=present)  # or every row would be told as partly blank, too
    no_patient = "patient" not in frame
    for name in KNOWN:
        frame = frame if name in frame else frame.assign(**{name: ""})
    frame["image"] = frame["image"].str.replace("\\", "/")
    # normpath, not resolve: a link inside the data set keeps the place that the user gave it.
    base = os.path.abspath(root)
    frame["path"] = [os.path.normpath(os.path.join(base, image)) for image in frame["image"]]
    if (address := frame["image"].str.contains("://", regex=False)).any():
        text = (
            "image is an address: name it as seen from the table, which may be in the bucket, too"
        )
        problems.append(at_rows(frame.loc[address, "row"], text, frame.loc[address, "image"]))
    blank = frame["image"] == ""
    if blank.any():
        problems.append(at_rows(frame.loc[blank, "row"], "no image named: fill the cell"))
    for name, words in (("split", {"": "", **SETS}), ("exclude", _EXCLUDES)):
        frame[name], more = _words(frame, name, words)
        problems += more
    frame, more, identity_notes = identity.settle(frame, labelled=labelled)
    problems, notes = problems + more, notes + identity_notes
    used = frame["row"].where(frame["exclude"] != "all")
    given = (frame[list(BOX)] != "").any(axis=1)
    frame[list(BOX)], more = boxes.read(frame[list(BOX)], used, "box", frame["image"])
    frame, hidden = redactions.take(frame, redact)
    problems += more + hidden
    frame["name"] = names(frame)
    bad = given & frame["x"].isna()  # told above; without its box it may look like another row
    problems += duplicates(frame[~bad])
    first = ["image", "name", "path", "row", *KNOWN[1:]]
    frame = frame[first + [name for name in frame if name not in first]]
    frame["group"] = links.merge_groups(frame)
    notes = tuple(notes + _notes(frame, no_patient))
    return Manifest(frame, source, base, notes), problems


def _rename(frame, notes) -> tuple[pd.DataFrame, list[str]]:
    """Takes the aliases of patient and lesion, and moves further columns off our names."""
    names = {}
    for column, aliases in _ALIASES.items():
        near = [name for name in frame if re.sub(r"[\W_]", "", name) in aliases]
        if column not in frame and near:
            names[near[0]] = column
            notes.append(f"column '{near[0]}' read as '{column}'")
    if {"photo", "class"} <= set(frame) and not {"image", "label"} & set(frame):
        names |= {"photo": "image", "class": "label"}
        notes.append("columns 'photo' and 'class' read as 'image' and 'label', as the paper has it")
    names |= {name: f"given_{name}" for name in OURS if name in frame and name != "row"}
    return frame.rename(columns=names), notes


def no_column(name: str, found: Sequence[str]) -> str:
    """The line about a table without the column `name`, and which of those found may be meant."""
    plain = {re.sub(r"[\W_]", "", column): column for column in found if column not in KNOWN}
    near = [plain[hint] for hint in plain if hint in _HINTS[name]] or [
        plain[match] for match in difflib.get_close_matches(name, plain, 1, 0.5)
    ]
    remedy = f"rename '{near[0]}' to '{name}'?" if near else f"add a column '{name}'"
    text = f"no column '{name}' (found: {', '.join(found)}): {remedy}"
    return Line(text, Kind.NO_LABELS) if name == "label" else text


def _words(frame, name, words) -> tuple[pd.Series, list[str]]:
    """Maps a column onto its few meanings, and returns the words that have none."""
    lower = frame[name].map(identity.visible).str.lower()
    bad = ~lower.isin(list(words))
    problems = [
        at_rows(
            frame.loc[bad, "row"],
            f"unknown {name} {quoted(frame.loc[bad, name])}: use {_ALLOWED[name]}",
            frame.loc[bad, "image"],
        )
    ]
    return lower.map(words).fillna("").astype("str"), problems if bad.any() else []


def names(frame: pd.DataFrame) -> pd.Series:
    """The image, made unique by `#xywh=` where a photo has several rows."""
    several = frame["path"].duplicated(keep=False) & frame["x"].notna()
    boxes = frame.loc[several, list(BOX)].itertuples(index=False)
    found = frame["image"].to_numpy(object, copy=True)
    found[several.to_numpy()] = [
        f"{image}#xywh={','.join(f'{side:.10g}' for side in box)}"
        for image, box in zip(found[several.to_numpy()], boxes, strict=True)
    ]
    return pd.Series(found, index=frame.index, dtype="str")


def duplicates(frame: pd.DataFrame) -> list[str]:
    """Rows of one photograph and one box, as a problem."""
    twice = frame.duplicated(["path", *BOX], keep=False) & (frame["image"] != "")
    if not twice.any():
        return []
    return [
        at_rows(
            frame.loc[twice, "row"],
            "the same image and box more than once "
            f"({quoted(frame.loc[twice, 'name'])}): keep one row",
        )
    ]


def with_frame(manifest: Manifest, frame: pd.DataFrame) -> Manifest:
    """The manifest with other cells in the same rows; what its notes count is counted anew."""
    no_patient = Kind.NO_PATIENTS in map(kind_of, manifest.notes)
    others = [note for note in manifest.notes if kind_of(note) not in _COUNTED]
    return dataclasses.replace(manifest, frame=frame, notes=(*others, *_notes(frame, no_patient)))


def _notes(frame, no_patient) -> list[str]:
    """Notes for the user on what is no error and yet worth knowing; their kinds are _COUNTED."""
    notes: list[str] = []
    kept = frame["exclude"] != "all"
    lesions = (frame["lesion"] != "").any()
    if no_patient:
        key = "lesion" if lesions else "photo"
        text = (
            f"no column 'patient': sets are kept apart by {key}, so a patient with "
            f"several {key}s may be in two sets"
        )
        notes.append(Line(text, Kind.NO_PATIENTS))
    elif blank := int((frame["patient"] == "").sum()):
        text = f"rows without a patient: {blank} (each photo counts as its own patient)"
        notes.append(Line(text, Kind.ROWS))
    if blank := int((frame["label"] == "")[kept].sum()):
        notes.append(Line(f"unlabelled rows: {blank} (used for pretraining only)", Kind.ROWS))
    if hidden := int((frame.drop_duplicates("path")["redact"] != "").sum()):
        text = f"photographs with redactions: {hidden} (blacked out before anything is cut)"
        notes.append(Line(text, Kind.REDACTED))
    for value, where in (("test", "the test set"), ("all", "everything")):
        if count := int((frame["exclude"] == value).sum()):
            notes.append(Line(f"rows left out of {where}: {count}", Kind.EXCLUDED))
    if further := [name for name in frame if name not in (*KNOWN, *OURS)]:
        notes.append(Line(f"further columns kept: {', '.join(further)}", Kind.ROWS))
    return notes


def fingerprint(frame: pd.DataFrame) -> str:
    """First 16 hex digits of a sha256 over what training depends on.

    Args:
        frame: A scanned manifest's table. Folders, times and the order of rows do not count.
    """
    return hashlib.sha256("\n".join(sorted(_identities(frame))).encode()).hexdigest()[:16]


def in_order(manifest: Manifest) -> Manifest:
    """The scanned manifest with its rows in the order of their identities.

    Whatever is drawn, cached or batched goes by a row's place from here on, so that the place must
    not depend on how the user has sorted the table.
    """
    lines, names = _identities(manifest.frame), manifest.frame["name"].tolist()
    order = sorted(range(len(lines)), key=lambda place: (lines[place], names[place]))
    frame = manifest.frame.iloc[order].reset_index(drop=True)
    return dataclasses.replace(manifest, frame=frame)


def _identities(frame: pd.DataFrame) -> list[str]:
    """All that training depends on, as one line for each row; its name stands first."""
    # An absolute path in the manifest would make the same data differ between machines.
    if (absolute := frame["image"].map(os.path.isabs)).any():
        last = r"^(photo:)?.*/"
        frame = frame.assign(
            name=frame["name"].mask(absolute, frame["name"].str.replace(last, "", regex=True)),
            group=frame["group"].mask(
                frame["group"].str.startswith("photo:"),
                frame["group"].str.replace(last, r"\1", regex=True),
            ),
        )
    table = frame[["name", "label", "group", "split", "exclude", *BOX, "redact", "content"]]
    columns = [table[name].tolist() for name in table]  # lists: ten times faster than rows
    return ["\x1f".join(map(str, row)) for row in zip(*columns, strict=True)]


def make_crops(frame: pd.DataFrame) -> list[Crop]:
    """What to cut out of which photograph, in the order of a manifest's rows."""
    areas = frame[[*BOX]].to_numpy(float)
    return [
        Crop(path, None if np.isnan(area).any() else tuple(area), redactions.parse(redact))
        for path, area, redact in zip(frame["path"], areas, frame["redact"], strict=True)
    ]


def write_csv(manifest: Manifest, path) -> None:
    """The table as a CSV that reads as the same; images are named as seen from its folder."""
    path = Path(path)
    folder = os.path.abspath(path.parent)
    frame = manifest.frame.drop(columns=[name for name in OURS if name in manifest.frame])
    images = [os.path.relpath(image, folder) for image in manifest.frame["path"]]
    boxes = {
        side: ["" if np.isnan(value) else f"{value:.10g}" for value in frame[side]] for side in BOX
    }
    frame = frame.assign(image=images, **boxes)
    with atomic.replace(path) as beside:
        frame.to_csv(beside, index=False)
