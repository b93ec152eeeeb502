"""The page on which somebody labels photographs: one HTML file, offline, that saves labels.csv."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from dermjax.data.label_files import VERDICTS
from dermjax.report import figures, pages

SIDE = 1024  # px of a photograph's longest side, at most
# .18 bytes a pixel of PAD-UFES-20's photographs: a hundred of 1,024 px are 19 MB (4:3) to 25 MB
# (square) in the page, where 90 would make them 35 MB.
_QUALITY = 85
_NEIGHBOUR, _THUMBNAIL = 224, 112  # px: shown at half of it, for dense screens
_SMALL_QUALITY = 80

_KEYS = (
    ("1 ... 9, 0", "the first ten classes"),
    ("/", "find a class by its name, where there are more than ten; Enter takes the marked one"),
    ("c", VERDICTS[0]),
    ("x", VERDICTS[1]),
    ("s", "skip: not in labels.csv"),
    ("k", "the next skipped one"),
    ("u", "undo the last answer"),
    ("← →", "the photograph before, the next one"),
    ("+ - f b", "zoom in, zoom out, the whole photograph, its box"),
    ("Shift + arrows", "move the photograph; or drag it; wheel and two fingers zoom"),
    ("n", "similar photographs that have a label"),
    ("w", "why this photograph was chosen"),
    ("d", "download labels.csv"),
)


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A labelled photograph that resembles the one asked about."""

    pixels: np.ndarray  # [h, w, 3] uint8, small
    label: str
    name: str
    similarity: float  # cosine


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A photograph or lesion that a label is asked for."""

    name: str  # the manifest's key: the image, with #xywh=... where a photo has several rows
    image: str  # the manifest's image column
    box: tuple[float, float, float, float] | None  # x, y, w, h as in the manifest, px upright
    why: str  # in words
    pixels: np.ndarray  # [h, w, 3] uint8, upright, redactions blacked out, at most 1,024 px a side
    shown_box: tuple[float, float, float, float] | None  # the box in px of `pixels`
    neighbours: Sequence[Neighbour]


def render(
    title: str,
    facts: Sequence[tuple[str, str]],
    classes: Sequence[str],
    candidates: Sequence[Candidate],
) -> str:
    """The page as HTML, a file that needs nothing else and sends nothing anywhere.

    Neighbours and the reason of the choice are shown on request only, as they can sway the reader.
    Answers are kept in the reader's browser under a digest of photographs and classes, so that two
    pages do not mix.

    Args:
      title: of the page.
      facts: names and values for whoever asks what the page is of.
      classes: to choose from, in the order of their buttons; the first ten have digits as keys.
      candidates: in the order in which they are asked about.

    Raises:
      ValueError: There is no class or no candidate, or two have one name.
    """
    if not classes:
        raise ValueError("a page to label on needs at least one class: name them in the config")
    if not candidates:
        raise ValueError("a page to label on needs at least one photograph: none was chosen")
    for what, names in (("class", classes), ("photograph", [one.name for one in candidates])):
        name, count = collections.Counter(names).most_common(1)[0]
        if count > 1:
            raise ValueError(f"a page asks about each {what} once, and {name!r} is there twice")
    script = pages.script("label.js")
    return pages.render(
        "label.html",
        title=title,
        facts=facts,
        classes=classes,
        verdicts=VERDICTS,
        keys=_KEYS,
        count=len(candidates),
        has_boxes=any(one.shown_box is not None for one in candidates),
        has_neighbours=any(one.neighbours for one in candidates),
        questions={
            "key": _digest(classes, candidates),
            "classes": list(classes),
            "verdicts": list(VERDICTS),
            "photographs": [_question(one) for one in candidates],
        },
        script=script,
        digest=pages.digest(script),
    )


def _digest(classes: Sequence[str], candidates: Sequence[Candidate]) -> str:
    """16 hex digits: equal for the same photographs, boxes and classes in the same order."""
    found = hashlib.sha256(json.dumps(list(classes)).encode())
    for one in candidates:
        found.update(json.dumps([one.name, one.image, _floats(one.box)]).encode())
        found.update(one.pixels.tobytes())
    return found.hexdigest()[:16]


def _question(one: Candidate) -> dict:
    """What the page's script needs of a candidate."""
    height, width = one.pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    shown = _floats(one.shown_box)
    return {
        "name": one.name,
        "image": one.image,
        "box": _floats(one.box),
        "why": one.why,
        "photograph": _jpeg(one.pixels, SIDE, _QUALITY),
        "thumbnail": _jpeg(one.pixels, _THUMBNAIL, _SMALL_QUALITY),
        "width": round(width * scale),
        "height": round(height * scale),
        "shown": shown and [side * scale for side in shown],
        "neighbours": [
            {
                "photograph": _jpeg(other.pixels, _NEIGHBOUR, _SMALL_QUALITY),
                "label": other.label,
                "name": other.name,
                "similarity": float(other.similarity),
            }
            for other in one.neighbours
        ],
    }


def _floats(box: Sequence[float] | None) -> list[float] | None:
    return None if box is None else [float(side) for side in box]


def _jpeg(pixels: np.ndarray, side: int, quality: int) -> str:
    return figures.data_uri(figures.photograph(pixels, side, quality), "jpeg")
