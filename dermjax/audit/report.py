"""The audit of a data set: examined, counted, and shown on a page with its photographs."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
from etils import epath
from PIL import ImageDraw

from dermjax import stores
from dermjax.audit import checks, page
from dermjax.data import images, layouts, redactions, splits
from dermjax.data.manifest import Manifest, in_order
from dermjax.data.work import Work
from dermjax.runs.files import write_text
from dermjax.runs.locations import cache_dir
from dermjax.training import processes
from dermjax.training.writer import Writer

_PAGE, _DATA = "audit.html", "audit.json"
_PER_CLASS, _COPIES, _PAIRS = 6, 20, 18
_SIDE = 360  # px of a photograph on the sheet, before the page makes it smaller
_OUTLINE = ("#FFFFFF", "#0072B2")  # of a box: one of them is seen on any skin


def run(
    source: str,
    directory: epath.Path,
    *,
    split_seed: int = 0,
    nearest: Callable[[pd.DataFrame, Writer], pd.DataFrame] | None = None,
    **options,
) -> dict:
    """Writes audit.json and audit.html; returns the report.

    Args:
      source: a CSV, or a folder of a known layout.
      directory: where both files go.
      split_seed: of the sets, where the data come without.
      nearest: from the scanned table to pairs of files that a network takes for alike, as
        `experiment.lookalikes.nearest_pairs` has them; None for none.
      **options: of `layouts.examine`.

    Raises:
      ValueError: no table can be made of the source; the run has no trained network.
      OSError: the folder cannot be written.
    """
    directory = stores.folder(directory)
    directory.mkdir(parents=True, exist_ok=True)
    writer = Writer()
    manifest, problems = layouts.examine(
        source, cache_dir=cache_dir() / "scans", work=Work(track=writer.track), **options
    )
    manifest = in_order(manifest)  # as a run has it: what it would draw is counted
    split, why = _split(manifest.frame, split_seed)
    pairs = nearest(manifest.frame, writer) if nearest else None
    return _write(manifest, split, problems + why, directory, pairs)


def write_once(manifest: Manifest | None, own: np.ndarray, directory: epath.Path) -> None:
    """The audit of a run's data and own sets in its folder; one that is there is left as it is.

    Args:
      manifest: what the run was given; None of data that have no photographs' files.
      own: set of each row that is not excluded everywhere: train, validation, test or excluded.
      directory: the run's.
    """
    if manifest is None or (directory / _PAGE).exists() or not processes.is_first():
        return
    split = np.full(len(manifest.frame), "", object)
    # What is left out of the test set lies in it all the same.
    kept = (manifest.frame["exclude"] != "all").to_numpy()
    split[kept] = np.where(own == "excluded", "test", own)
    _write(manifest, split, [], directory)


def _write(
    manifest: Manifest,
    split,
    problems: list[str],
    directory: epath.Path,
    nearest: pd.DataFrame | None = None,
) -> dict:
    """Both files, the page last; returns the report."""
    alike = checks.alike(manifest)
    report = checks.audit(manifest, split, alike) | {"problems": problems}
    frame = manifest.frame.assign(split=split)
    shown = frame[(frame["width"] > 0) & (frame["exclude"] != "all")]
    write_text(directory / _DATA, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    photographs = _Photographs(shown)
    text = page.render(
        report,
        _sheet(shown, photographs),
        _copies(shown, photographs),
        _pairs(frame, alike, nearest, photographs),
    )
    write_text(directory / _PAGE, text)
    return report


def _split(frame: pd.DataFrame, seed: int) -> tuple[np.ndarray, list[str]]:
    """The sets that a run would have, or none and why."""
    split = pd.Series("", index=frame.index, dtype=object)
    kept = frame[frame["exclude"] != "all"]
    try:
        split[kept.index] = splits.make_split(kept, seed)
    except ValueError as error:
        return split.to_numpy(), [f"no sets can be made: {error}"]
    return split.to_numpy(), []


class _Photographs:
    """Photographs as the page shows them; what is redacted is black here, too."""

    def __init__(self, frame: pd.DataFrame):
        self._of_file = dict(iter(frame.groupby("path")))

    def __call__(self, row: pd.Series) -> page.Shown:
        """The row's photograph with all its boxes."""
        own = self._of_file[row["path"]]
        image = images.read_crop(row["path"], None, _SIDE, redactions.parse(row["redact"]))
        pen, scale = ImageDraw.Draw(image), image.width / row["width"]
        for x, y, w, h in own[["x", "y", "w", "h"]].dropna().to_numpy(float) * scale:
            for inset, colour in enumerate(_OUTLINE):
                left, top = x + 2 * inset, y + 2 * inset
                right, bottom = max(x + w - 2 * inset, left), max(y + h - 2 * inset, top)
                pen.rectangle((left, top, right, bottom), outline=colour, width=2)
        note = ", ".join(filter(None, [row["split"], row["patient"]]))
        labels = ", ".join(sorted(set(own["label"]) - {""}))
        return page.Shown(np.asarray(image), row["image"], labels, note)


def _sheet(frame: pd.DataFrame, photographs: _Photographs) -> list[page.Shown]:
    """Some photographs of each class, drawn at random but always the same; redacted ones first."""
    files = frame.drop_duplicates("path").sample(frac=1, random_state=0)
    files = files.assign(open=files["redact"] == "").sort_values("open", kind="stable")
    chosen = files.groupby("label", sort=True).head(_PER_CLASS).sort_values("label", kind="stable")
    return [photographs(row) for _, row in chosen.iterrows()]


def _copies(frame: pd.DataFrame, photographs: _Photographs) -> list[list[page.Shown]]:
    """Identical files; those of several labels or patients first."""
    files = frame.drop_duplicates("path")
    files = files[files["content"].duplicated(keep=False)]
    kinds = files.groupby("content").agg({"label": "nunique", "patient": "nunique"}).sum(axis=1)
    first = kinds.sort_values(ascending=False, kind="stable").index[:_COPIES]
    return [
        [photographs(row) for _, row in files[files["content"] == content].head(6).iterrows()]
        for content in first
    ]


def _pairs(
    frame: pd.DataFrame,
    alike: pd.DataFrame,
    nearest: pd.DataFrame | None,
    photographs: _Photographs,
) -> dict[str, list[page.Pair]]:
    """Near duplicates, look-alikes and nearest in features; the suspicious ones first."""

    def shown(pairs, words) -> list[page.Pair]:
        first, second = frame.loc[pairs["first"]], frame.loc[pairs["second"]]
        differ = sum(
            (first[name].to_numpy() != second[name].to_numpy()).astype(int)
            for name in ("label", "patient", "split")
        )
        order: np.ndarray | list[int] = np.argsort(-differ, kind="stable") if len(pairs) else []
        return [
            page.Pair(
                (photographs(frame.loc[pair.first]), photographs(frame.loc[pair.second])),
                words(pair),
            )
            for pair in pairs.iloc[order].head(_PAIRS).itertuples()
        ]

    found = {
        "near": shown(alike[alike["sure"]], lambda pair: f"{pair.distance} of 256 bits"),
        "alike": shown(alike[~alike["sure"]], lambda pair: f"{pair.distance} of 256 bits"),
    }
    if nearest is not None:
        found["encoder"] = shown(nearest, lambda pair: f"cosine {pair.cosine:.3f}")
    return found
