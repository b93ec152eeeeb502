"""The page of answers: what they promise, what was measured, and the photographs."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dermjax.report import figures, pages
from dermjax.report.table import Table

_SIDE = 240  # px kept of a photograph
_LINE = 6  # px at most, of a box's frame in it

# Shows one class, or flagged photographs alone; without it all are shown.
_SCRIPT = """
const chosen = document.getElementById("class"), flagged = document.getElementById("flagged");
const cards = [...document.querySelectorAll(".card")], told = document.getElementById("told");
function show() {
  let count = 0;
  for (const card of cards) {
    const isShown = (!chosen.value || card.dataset.class === chosen.value)
      && (!flagged.checked || card.classList.contains("flagged"));
    card.hidden = !isShown; count += isShown;
  }
  told.textContent = count + " shown";
}
chosen.addEventListener("change", show); flagged.addEventListener("change", show); show();
"""


@dataclasses.dataclass(frozen=True)
class Card:
    """A photograph or lesion and what is said of it."""

    name: str
    pixels: np.ndarray  # [h, w, 3] uint8, small, with its box
    predicted: str
    probability: float  # in [0, 1], calibrated
    others: Sequence[tuple[str, float]]  # further classes of its set with their probabilities
    flags: Sequence[str]  # in words


@dataclasses.dataclass(frozen=True)
class Page:
    """All that the page says beside the photographs."""

    title: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    promises: Sequence[str]  # sentences
    tables: Sequence[Table]
    classes: Sequence[str]


def framed(pixels: np.ndarray, box: Sequence[float] | None) -> np.ndarray:
    """A small copy of a photograph with a lesion's box drawn on it.

    Args:
      pixels: `[h, w, 3]` uint8.
      box: (x, y, w, h) in px of it; None for the whole photograph.

    Returns:
      At most 240 px a side.
    """
    step = max(max(pixels.shape[:2]) / _SIDE, 1e-9)
    small = figures.shrunk(pixels, _SIDE)
    if box is None:
        return small
    step = max(step, 1.0)
    height, width = small.shape[:2]
    x, y, w, h = (float(side) / step for side in box)
    left, top = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
    right, bottom = int(np.clip(x + w, left + 1, width)), int(np.clip(y + h, top + 1, height))
    line = max(1, min(_LINE, round(min(right - left, bottom - top) / 12), 2))
    framed = small.copy()
    # White within black: seen on any skin.
    for inset, colour in ((0, 0), (line, 255)):
        _frame(framed, left + inset, top + inset, right - inset, bottom - inset, line, colour)
    return framed


def _frame(pixels, left, top, right, bottom, line, colour) -> None:
    """Draws the four sides of a frame, as far as there is room."""
    if right - left <= 2 * line or bottom - top <= 2 * line:
        return
    pixels[top : top + line, left:right] = colour
    pixels[bottom - line : bottom, left:right] = colour
    pixels[top:bottom, left : left + line] = colour
    pixels[top:bottom, right - line : right] = colour


def share_in_words(share: float) -> str:
    """`34 %`; no answer is `0 %` or `100 %`."""
    if share > 0.995:
        return "> 99 %"
    return f"{100 * share:.0f} %" if share >= 0.005 else "< 1 %"


def render(page: Page, cards: Sequence[Card], *, left_out: int = 0) -> str:
    """The page as HTML, a file that needs nothing else.

    Args:
      cards: in the order of the page, the least certain first.
      left_out: photographs that only the table has.
    """
    return pages.render(
        "predictions.html",
        title=page.title,
        page=page,
        cards=cards,
        left_out=left_out,
        script=_SCRIPT,
        digest=pages.digest(_SCRIPT),
        percent=share_in_words,
    )
