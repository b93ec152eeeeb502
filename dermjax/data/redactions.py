"""What must not be seen of a photograph: rectangles that are blacked out before anything else.

They come in the table's columns `redact_x,redact_y,redact_w,redact_h` (one for each row), in a
table of their own beside it (`image,x,y,w,h`, any number for each photograph), or in one column
`redact`, as the manifest is written: `x,y,w,h;x,y,w,h`. All of a photograph's rectangles hold for
all of its rows.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from dermjax.data import boxes, file_names
from dermjax.data.problems import ManifestError, at_rows, quoted

COLUMNS = tuple(f"redact_{side}" for side in boxes.SIDES)
Box = tuple[float, float, float, float]


def parse(text: str) -> tuple[Box, ...]:
    """The rectangles in a cell of the manifest's column `redact`, px of the upright photograph."""
    return tuple(_box(text) for text in text.split(";") if text)


def _box(text: str) -> Box:
    x, y, w, h = map(float, text.split(","))
    return x, y, w, h


def sidecar_of(source: Path) -> Path:
    """Where a table of redactions is looked for: photos.redact.csv, or redact.csv in a folder."""
    return source / "redact.csv" if source.is_dir() else source.with_suffix(".redact.csv")


def take(frame: pd.DataFrame, sidecar: pd.DataFrame | None) -> tuple[pd.DataFrame, list[str]]:
    """The frame with all rectangles in the column `redact`, and what is wrong with them.

    Args:
        frame: A table with `path` and `row`; the columns above are taken from it.
        sidecar: As `read_sidecar` returns it, or None.
    """
    problems, found = [], []
    missing = [name for name in COLUMNS if name not in frame]
    if 0 < len(missing) < 4:
        problems.append(f"a redaction needs {', '.join(COLUMNS)}: {quoted(missing)} missing")
    elif not missing:
        found.append((frame[["image", "path", "row", *COLUMNS]], "redaction"))
    if "redact" in frame and (frame["redact"] != "").any():
        cells = frame.loc[frame["redact"] != "", ["image", "path", "row", "redact"]]
        cells = cells.assign(box=cells["redact"].str.split(";")).explode("box")
        sides = [[side.strip() for side in box.split(",", 3)] for box in cells["box"]]
        sides = [(box + [""] * 4)[:4] for box in sides]
        sides = pd.DataFrame(sides, cells.index, columns=list(COLUMNS), dtype="str")
        found.append((pd.concat([cells[["image", "path", "row"]], sides], axis=1), "redaction"))
    if sidecar is not None:
        sidecar = sidecar.assign(path=_as_in(frame["path"], sidecar["path"]))
        strange = ~sidecar["path"].isin(frame["path"])
        if strange.any():
            names = quoted(sidecar.loc[strange, "image"])
            what = f"no photograph {names} in the table: what it should black out would be seen"
            problems.append("redactions: " + at_rows(sidecar.loc[strange, "row"], what))
        found.append((sidecar[["image", "path", "row", *COLUMNS]], "redactions: redaction"))
    lines = [pd.DataFrame({"path": [], "redact": []}, dtype="str")]
    for table, what in found:
        table = table.reset_index(drop=True)
        number, more = boxes.read(table[list(COLUMNS)], table["row"], what, table["image"])
        problems += more
        whole = number.notna().all(axis=1)
        text = [",".join(f"{side:.10g}" for side in box) for box in number[whole].to_numpy()]
        lines.append(pd.DataFrame({"path": table.loc[whole, "path"], "redact": text}))
    together = dict(pd.concat(lines).groupby("path")["redact"].agg(_joined))
    frame = frame.drop(columns=[name for name in COLUMNS if name in frame])
    texts = [together.get(path, "") for path in frame["path"]]
    return frame.assign(redact=pd.Series(texts, frame.index, dtype="str")), problems


def _as_in(known: pd.Series, paths: pd.Series) -> list[str]:
    """The paths as the table spells them, where it does so in another form of Unicode or ending."""
    known, paths = set(known), paths.tolist()
    if known.issuperset(paths):
        return paths
    forms: dict[str, set[str]] = {}
    for path in known:
        forms.setdefault(file_names.folded(path), set()).add(path)
    meant = [forms.get(file_names.folded(path), ()) for path in paths]
    return [
        path if path in known or len(own) != 1 else next(iter(own))
        for path, own in zip(paths, meant, strict=True)
    ]


def _joined(texts: pd.Series) -> str:
    return ";".join(sorted(set(texts)))


def located(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A sidecar's table with `path`, its images being named as seen from its folder.

    Raises:
        ManifestError: It has no column image, x, y, w or h.
    """
    missing = [name for name in ("image", *boxes.SIDES) if name not in table]
    if missing:
        raise ManifestError(path, [f"a table of redactions needs the columns {quoted(missing)}"])
    base = os.path.abspath(path.parent)
    images = table["image"].str.replace("\\", "/")
    table = table.assign(path=[os.path.normpath(os.path.join(base, image)) for image in images])
    return table.rename(columns=dict(zip(boxes.SIDES, COLUMNS, strict=True)))


def outside(frame: pd.DataFrame) -> list[str]:
    """Rectangles that touch nothing of their photograph, which hides nothing.

    Args:
        frame: A scanned manifest's table.
    """
    rows, named = [], []
    columns = ["row", "image", "redact", "width", "height"]
    for row, image, text, width, height in frame[columns].itertuples(index=False):
        rectangles = np.array(parse(text)).reshape(-1, 4)
        x, y, w, h = rectangles.T
        if width and ((x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)).any():
            rows.append(row)
            named.append(image)
    if not rows:
        return []
    text = "redaction outside the image: count it on the upright photograph"
    return [at_rows(rows, text, named)]
