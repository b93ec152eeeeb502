"""The synthetic data set on disk: drawn by many processes, the same whoever draws, resumable."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from dermjax import atomic
from dermjax.data.synthetic.patients import (
    PhotoPlan,
    SyntheticSettings,
    draw_patient,
    plan_photos,
)
from dermjax.data.synthetic.render import REGIONS, render_photo, render_regions
from dermjax.data.workers import in_order

COLUMNS = ("image", "label", "patient", "lesion", "x", "y", "w", "h")
COLUMNS += ("site", "skin_type", "sex", "age", "mask")
DRAWING = 1  # raise it when photographs change: old directories are then not carried on
MARGIN_PX = 2  # of a box round its mask, plus MARGIN_PART of its longer side
MARGIN_PART = 0.05

Box = tuple[int, int, int, int]


def write_dataset(
    directory: str | os.PathLike,
    settings: SyntheticSettings,
    *,
    workers: int,
    track: Callable[[Iterable, int, str], Iterable] = lambda items, total, label: items,
) -> pathlib.Path:
    """Draw the data set, or what is missing of it.

    Args:
        directory: receives photos/*.jpg, masks/*.png, settings.json and at last photos.csv.
            One process at a time may write there.
        settings: what to draw.
        workers: processes that draw; 0 and 1 draw in this one. They are spawned, so a script
            that calls this needs the guard `if __name__ == "__main__":`.
        track: wraps an iterable of known length to show progress: `(items, total, label)`.

    Returns:
        directory/photos.csv, one row per lesion box; it exists only if all else does.

    Raises:
        ValueError: negative workers, or a directory begun with other settings.
    """
    if workers < 0:
        raise ValueError(f"workers {workers} is below 0; take 0 or 1 to draw in this process")
    directory = pathlib.Path(directory)
    table = directory / "photos.csv"
    _claim(directory, settings)
    if table.exists():
        return table
    plans = plan_photos(settings)
    boxes: dict[str, list[Box]] = {}
    draw = functools.partial(_draw, directory=directory, settings=settings)
    with contextlib.closing(in_order(draw, plans, workers=workers)) as done:
        boxes |= track(done, len(plans), "drawing photographs")
    rows = [row for plan in plans for row in _rows(plan, boxes[plan.name], settings)]
    with atomic.replace(table) as beside:
        _write_table(beside, rows)
    return table


def regions_of(photograph: str | os.PathLike) -> dict[str, np.ndarray] | None:
    """The parts of the body on a photograph that `write_dataset` wrote: name -> `[H, W]` bool.

    They are drawn anew from the directory's settings; those that are not in view are left out, and
    no pixel is in two. None for a photograph of another origin.
    """
    photograph = pathlib.Path(photograph)
    settings = _settings_of(photograph.parent.parent / "settings.json")
    if settings is None:
        return None
    plan = _plans(settings).get(photograph.stem)
    if plan is None:
        return None
    regions = render_regions(plan, settings)
    return {REGIONS[index]: regions == index for index in np.unique(regions)}


def _settings_of(note: pathlib.Path) -> SyntheticSettings | None:
    """What a `settings.json` says; None if it is another drawing's or somebody else's file."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return SyntheticSettings(**known) if known.pop("drawing") == DRAWING else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


@functools.lru_cache(maxsize=4)
def _plans(settings: SyntheticSettings) -> dict[str, PhotoPlan]:
    return {plan.name: plan for plan in plan_photos(settings)}


def boxes_of_mask(mask: np.ndarray, count: int) -> list[Box]:
    """The boxes (x, y, w, h in px) round lesions 1 to `count` of a mask `[H, W]`, with a margin."""
    boxes = []
    height, width = mask.shape
    for value in range(1, count + 1):
        here = mask == value
        columns = np.flatnonzero(here.any(0))
        rows = np.flatnonzero(here.any(1))
        if not rows.size:
            raise ValueError(f"lesion {value} of {count} has 0 px in the mask; draw it anew")
        longer = max(np.ptp(columns), np.ptp(rows)) + 1
        margin = MARGIN_PX + round(MARGIN_PART * float(longer))
        left, top = max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin)
        right = min(width, int(columns[-1]) + 1 + margin)
        bottom = min(height, int(rows[-1]) + 1 + margin)
        boxes.append((left, top, right - left, bottom - top))
    return boxes


def _claim(directory: pathlib.Path, settings: SyntheticSettings) -> None:
    """Make the folders; refuse a directory of other settings; sweep up after a killed run."""
    for folder in ("photos", "masks"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for stale in (directory / folder).glob(f"*{atomic.PART}"):
            stale.unlink(missing_ok=True)
    note = directory / "settings.json"
    if not note.exists():
        wanted = {**dataclasses.asdict(settings), "drawing": DRAWING}
        with atomic.replace(note) as beside:
            beside.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    elif _settings_of(note) != settings:
        raise ValueError(
            f"{directory} was begun with other settings than {settings} (drawing {DRAWING}): see "
            f"its settings.json; choose another directory or remove this one"
        )


def _draw(plan: PhotoPlan, *, directory, settings: SyntheticSettings) -> tuple[str, list[Box]]:
    """Draw one photograph and its mask unless both are there."""
    photo, mask_path = _paths(directory, plan)
    if photo.exists() and mask_path.exists():
        with Image.open(mask_path) as stored:
            return plan.name, boxes_of_mask(np.asarray(stored), plan.boxes)
    drawn = render_photo(plan, settings)
    image, mask = Image.fromarray(drawn.image), Image.fromarray(drawn.mask)
    with atomic.replace(photo) as beside:
        image.save(beside, "JPEG", quality=95)
    with atomic.replace(mask_path) as beside:
        mask.save(beside, "PNG", compress_level=4)
    return plan.name, boxes_of_mask(drawn.mask, plan.boxes)


def _paths(directory, plan: PhotoPlan) -> tuple[pathlib.Path, pathlib.Path]:
    """Where a photograph and its mask lie."""
    directory = pathlib.Path(directory)
    return directory / "photos" / f"{plan.name}.jpg", directory / "masks" / f"{plan.name}.png"


def _rows(plan: PhotoPlan, boxes: list[Box], settings: SyntheticSettings) -> list[dict]:
    """The rows of one photograph in the table."""
    patient = draw_patient(settings.seed, plan.label, plan.member)
    shared = {
        "image": f"photos/{plan.name}.jpg",
        "mask": f"masks/{plan.name}.png",
        "label": plan.label,
        "patient": plan.patient,
        "site": plan.site,
        "skin_type": patient.skin_type,
        "sex": patient.sex,
        "age": patient.age,
    }
    return [
        {**shared, "lesion": f"{plan.name}_{number + 1}", **dict(zip("xywh", box, strict=True))}
        for number, box in enumerate(boxes)
    ]


def _write_table(path: pathlib.Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
