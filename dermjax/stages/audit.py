"""The audit of a data set: examined, counted, and shown on a page with its photographs."""

import json

import numpy as np
import pandas as pd
from etils import epath
from PIL import ImageDraw

from dermjax.data import audit, images, layouts
from dermjax.data.manifest import Manifest
from dermjax.report import audit as page
from dermjax.stages.prepare import Dataset, make_split
from dermjax.stages.workdir import write_text

_PAGE, _DATA = "audit.html", "audit.json"
_PER_CLASS, _COPIES = 6, 20
_SIDE = 360  # px of a photograph on the sheet, before the page makes it smaller
_OUTLINE = ("#FFFFFF", "#0072B2")  # of a box: one of them is seen on any skin


def run(
    source: str,
    directory: epath.Path,
    *,
    layout: str = "auto",
    official_split: bool = False,
    split_seed: int = 0,
) -> dict:
    """Writes audit.json and audit.html; returns the report.

    Raises:
      ValueError: no table can be made of the source.
      OSError: the folder cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    manifest, problems = layouts.examine(
        source, layout=layout, official_split=official_split, cache_dir=directory / "cache"
    )
    split, why = _split(manifest.frame, split_seed)
    return _write(manifest, split, problems + why, directory)


def write_once(dataset: Dataset, directory: epath.Path) -> None:
    """The audit of a run's data and own sets in its folder; one that is there is left as it is."""
    manifest = dataset.manifest
    if manifest is None or (directory / _PAGE).exists():
        return
    split = np.full(len(manifest.frame), "", object)
    # What is left out of the test set lies in it all the same.
    own = np.where(dataset.split == "excluded", "test", dataset.split)
    split[(manifest.frame["exclude"] != "all").to_numpy()] = own
    _write(manifest, split, [], directory)


def _write(manifest: Manifest, split, problems: list[str], directory: epath.Path) -> dict:
    """Both files, the page last; returns the report."""
    report = audit.audit(manifest, split) | {"problems": problems}
    frame = manifest.frame.assign(split=split)
    shown = frame[(frame["width"] > 0) & (frame["exclude"] != "all")]
    write_text(directory / _DATA, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(directory / _PAGE, page.render(report, _sheet(shown), _copies(shown)))
    return report


def _split(frame: pd.DataFrame, seed: int) -> tuple[np.ndarray, list[str]]:
    """The sets that a run would have, or none and why."""
    split = pd.Series("", index=frame.index, dtype=object)
    kept = frame[frame["exclude"] != "all"]
    try:
        split[kept.index] = make_split(kept, seed)
    except ValueError as error:
        return split.to_numpy(), [f"no sets can be made: {error}"]
    return split.to_numpy(), []


def _sheet(frame: pd.DataFrame) -> list[page.Shown]:
    """Some photographs of each class, drawn at random but always the same."""
    files = frame.drop_duplicates("path").sample(frac=1, random_state=0)
    chosen = files.groupby("label", sort=True).head(_PER_CLASS).sort_values("label", kind="stable")
    return [_shown(frame, row) for _, row in chosen.iterrows()]


def _copies(frame: pd.DataFrame) -> list[list[page.Shown]]:
    """Identical files; those of several labels or patients first."""
    files = frame.drop_duplicates("path")
    files = files[files["content"].duplicated(keep=False)]
    kinds = files.groupby("content").agg({"label": "nunique", "patient": "nunique"}).sum(axis=1)
    first = kinds.sort_values(ascending=False, kind="stable").index[:_COPIES]
    return [
        [_shown(frame, row) for _, row in files[files["content"] == content].head(6).iterrows()]
        for content in first
    ]


def _shown(frame: pd.DataFrame, row: pd.Series) -> page.Shown:
    """The photograph with all its boxes."""
    image = images.read_rgb(row["path"], _SIDE)
    pen, scale = ImageDraw.Draw(image), image.width / row["width"]
    own = frame[frame["path"] == row["path"]]
    for x, y, w, h in own[["x", "y", "w", "h"]].dropna().to_numpy(float) * scale:
        for inset, colour in enumerate(_OUTLINE):
            left, top = x + 2 * inset, y + 2 * inset
            right, bottom = max(x + w - 2 * inset, left), max(y + h - 2 * inset, top)
            pen.rectangle((left, top, right, bottom), outline=colour, width=2)
    note = ", ".join(filter(None, [row["split"], row["patient"]]))
    labels = ", ".join(sorted(set(own["label"]) - {""}))
    return page.Shown(np.asarray(image), row["image"], labels, note)
