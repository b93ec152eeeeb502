"""The page on which photographs are labelled."""

import dataclasses
import html
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A labelled photograph that resembles the one asked about."""

    pixels: np.ndarray  # [h, w, 3] uint8, small
    label: str
    name: str
    similarity: float  # cosine


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A photograph or lesion that is asked about."""

    name: str  # the manifest's key: the image, with #xywh=... where a photo has several rows
    image: str  # the manifest's image column
    box: tuple[float, float, float, float] | None  # x, y, w, h, px of the upright photograph
    why: str
    pixels: np.ndarray  # [h, w, 3] uint8, upright, redactions blacked out
    shown_box: tuple[float, float, float, float] | None  # the box in px of `pixels`
    neighbours: Sequence[Neighbour]


def render(
    title: str,
    facts: Sequence[tuple[str, str]],
    classes: Sequence[str],
    candidates: Sequence[Candidate],
) -> str:
    """The page as HTML."""
    lines = [f"{name}: {value}" for name, value in facts]
    lines += [f"{one.name}: {one.why}" for one in candidates]
    return "\n".join(["<!DOCTYPE html>", *map(html.escape, [title, *classes, *lines])])
