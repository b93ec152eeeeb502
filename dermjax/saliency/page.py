"""Maps of images as a clinician looks at them: overlays, Figure 6's sheet, one offline page.

Letters: H, W px of a photograph; S px side of a map.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from PIL import Image

from dermjax.report import figures, lettering, pages
from dermjax.report.looks import INK, PLAIN, SMALL, WIDTH, Chart
from dermjax.report.numbers import number
from dermjax.report.table import Table, unlinked
from dermjax.statistics.clustered_mean import LEAST_PATIENTS

STRENGTH = 0.5  # of an overlay, where nobody moves the slider
COLOURS = "turbo"  # dark blue: least; dark red: most informative, as in the paper's Figure 6
_WRONG = "#B03A00"
_ACROSS = 2  # samples in a row
_ROWS = 12  # of a sheet
_SIDE = 320  # px kept of a photograph in the page
_TITLES = {
    "input_iba": "InputIBA",
    "input_iba_gan": "InputIBA with a GAN",
    "iba": "IBA",
    "grad_cam": "Grad-CAM",
}
_PANELS = ("photograph", "map", "overlay")
# Inches of a sheet.
_MARGIN, _GAP, _BETWEEN = 0.06, 0.03, 0.22  # at the sides, between panels, between samples
_TITLE, _FOOT = 0.46, 0.95  # above a row; below all, for names and the colour bar
_BELOW: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": SMALL, "color": INK}
# Without it the page shows the overlays as the files have them.
_SCRIPT = """
const slider = document.getElementById("strength");
function show() {
  document.documentElement.style.setProperty("--strength", slider.value / 100);
  document.getElementById("told").textContent = slider.value + " %";
}
slider.addEventListener("input", show);
show();
"""


@dataclasses.dataclass(frozen=True)
class Shown:
    """One image, its answer and its map."""

    name: str
    true: str  # '' where it is not known
    predicted: str
    probability: float  # of the predicted class
    target: str  # the class that the map explains
    pixels: np.ndarray  # `[H, W, 3]` uint8
    heat: np.ndarray  # `[S, S]` in [0, 1]

    @property
    def wrong(self) -> bool:
        return bool(self.true) and self.true != self.predicted

    @property
    def answer(self) -> str:
        """The predicted class and its probability, and which class is explained instead."""
        return _answer(self, worded)


def _answer(one: Shown, named: Callable[[str], str]) -> str:
    said = f"predicted {named(one.predicted)}, {percent(one.probability)}"
    return said if one.target == one.predicted else f"{said}; map of {named(one.target)}"


@dataclasses.dataclass(frozen=True)
class Page:
    """All that the page says beside the images."""

    title: str
    reading: str  # how the maps are to be read
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    findings: Sequence[str]
    tables: Sequence[Table]
    definitions: Mapping[str, str]


def visible(heat: np.ndarray, *, absolute: bool) -> np.ndarray:
    """A method's map as shares of the colour scale, `[S, S]` float32 in [0, 1].

    Args:
      absolute: the method's own values are in [0, 1]; otherwise the image's maximum is the darkest
        red, and what speaks against the class (below 0) is as blue as what says nothing.
    """
    heat = np.clip(heat, 0, None)
    most = 1.0 if absolute else float(heat.max())
    return np.clip(heat / most if most else heat, 0, 1).astype(np.float32)


def coloured(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map `[S, S]` in [0, 1] over a photograph of `size` (width, height): `[H, W, 3]` uint8."""
    grown = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return colormaps[COLOURS](np.clip(np.asarray(grown), 0, 1), bytes=True)[..., :3]


def overlay(pixels: np.ndarray, heat: np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """The coloured map laid on its photograph, `[H, W, 3]` uint8.

    Args:
      pixels: `[H, W, 3]` uint8.
      heat: `[S, S]` in [0, 1].
      strength: share of the map in the mixture, in [0, 1].
    """
    colours = coloured(heat, (pixels.shape[1], pixels.shape[0]))
    return np.rint((1 - strength) * pixels + strength * colours.astype(float)).astype(np.uint8)


def sheets(shown: Sequence[Shown]) -> list[Chart]:
    """Figure 6's layout: photograph, map and overlay of two samples in a row, classes below.

    Args:
      shown: at least one, those of a class one after the other; every class begins a row.

    Returns:
      Figures of a page's width (half of it where no class has two), at most twelve rows each.
    """
    rows = list(_rows(shown))
    return [_sheet(rows[first : first + _ROWS]) for first in range(0, len(rows), _ROWS)]


def _rows(shown: Sequence[Shown]):
    for _, group in itertools.groupby(shown, key=lambda one: one.true):
        group = list(group)
        yield from (group[i : i + _ACROSS] for i in range(0, len(group), _ACROSS))


def _sheet(rows: Sequence[Sequence[Shown]]) -> Chart:
    """Placed in inches: panels of one size, whatever the photographs' shapes and the rows."""
    across = len(_PANELS)
    gaps = 2 * _MARGIN + _BETWEEN + _ACROSS * (across - 1) * _GAP
    side = (WIDTH - gaps) / (_ACROSS * across)
    sample = across * side + (across - 1) * _GAP
    # Half as wide where no class has a second sample.
    samples = max(map(len, rows))
    width = 2 * _MARGIN + samples * sample + (samples - 1) * _BETWEEN
    height = len(rows) * (side + _TITLE) + _FOOT
    figure = Chart(figsize=(width, height))

    def axes_at(left: float, bottom: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    for r, row in enumerate(rows):
        bottom = height - (r + 1) * (side + _TITLE)
        for s, one in enumerate(row):
            first = _MARGIN + s * (sample + _BETWEEN)
            axes = [axes_at(first + p * (side + _GAP), bottom, side, side) for p in range(across)]
            _draw(axes, one, figure.key)
            if r == len(rows) - 1:
                for ax, name in zip(axes, _PANELS, strict=True):
                    ax.text(0.5, -0.03, name, transform=ax.transAxes, **_BELOW)
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOURS),
        cax=axes_at(width / 4, 0.36, width / 2, 0.13),
        orientation="horizontal",
    )
    bar.set_ticks([0, 0.5, 1], labels=["0, least informative", "0.5", "1, most informative"])
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.outline.set_visible(False)
    return figure


def _draw(axes: Sequence[Axes], one: Shown, key: lettering.Key) -> None:
    """Three panels and, above them, the true class and the answer."""
    height, width = one.pixels.shape[:2]
    pictures = (one.pixels, coloured(one.heat, (width, height)), overlay(one.pixels, one.heat))
    half = max(height, width) / 2
    for ax, picture in zip(axes, pictures, strict=True):
        ax.imshow(picture, interpolation="bilinear")
        # All panels are squares of one size, whatever the photograph's shape.
        ax.set_xlim(width / 2 - 0.5 - half, width / 2 - 0.5 + half)
        ax.set_ylim(height / 2 - 0.5 + half, height / 2 - 0.5 - half)
        ax.set_axis_off()
    first = axes[0]
    title = f"true: {key.named(worded(one.true), 40)}" if one.true else "true class not known"
    first.set_title(f"{title}\n", loc="left", fontsize=PLAIN, weight="bold", color=INK, pad=3)
    mark = "✗ " if one.wrong else ""
    first.text(
        0,
        1.03,
        mark + _answer(one, lambda name: key.named(worded(name), 24).lstrip()),
        fontsize=SMALL,
        color=_WRONG if one.wrong else INK,
        va="bottom",
        transform=first.transAxes,
    )


def render(page: Page, shown: Sequence[Shown], *, left_out: int = 0) -> str:
    """The page as HTML: a file that needs nothing else, with a slider for the overlays' strength.

    Args:
      shown: as for `sheets`.
      left_out: images whose maps are files only.
    """
    groups = [(name, list(group)) for name, group in itertools.groupby(shown, lambda one: one.true)]
    return pages.render(
        "saliency.html",
        page=page,
        title=page.title,
        groups=groups,
        left_out=left_out,
        strength=round(100 * STRENGTH),
        script=_SCRIPT,
        digest=pages.digest(_SCRIPT),
        worded=worded,
        photograph=lambda one: figures.data_uri(figures.photograph(one.pixels, _SIDE), "jpeg"),
        heat=lambda one: figures.data_uri(figures.photograph(_small_map(one), _SIDE), "jpeg"),
        scale=_scale(),
    )


def _small_map(one: Shown) -> np.ndarray:
    """At the photograph's shape and the page's size."""
    height, width = one.pixels.shape[:2]
    share = min(_SIDE / max(height, width), 1)
    return coloured(one.heat, (max(round(width * share), 1), max(round(height * share), 1)))


def _scale() -> str:
    """The colour bar as CSS."""
    stops = colormaps[COLOURS](np.linspace(0, 1, 13), bytes=True)[:, :3]
    return ", ".join(f"rgb({r}, {g}, {b})" for r, g, b in stops.tolist())


def score_table(
    heading: str, caption: str, scores: Mapping[str, str], rows: Sequence[tuple[str, Mapping]]
) -> Table:
    """Method x score.

    Args:
      scores: title by the name of a score.
      rows: method and, by score, (mean, low, high); NaN for what is not known.
    """
    kept = [s for s in scores if any(s in of and not math.isnan(of[s][0]) for _, of in rows)]
    cells = [[titled(method), *(interval(of.get(score)) for score in kept)] for method, of in rows]
    header = unlinked(["method", *(scores[s] for s in kept)])
    return Table(heading, caption, header, cells)


def interval(found: tuple | None) -> str:
    """(mean, low, high) as `.530 [.410, .620]`."""
    if found is None or math.isnan(found[0]):
        return "–"
    mean, low, high = (number(value, 3).replace("-", "−") for value in found)
    return mean if math.isnan(found[1]) else f"{mean} [{low}, {high}]"


def brackets(lows: Iterable[float]) -> str:
    """What a caption says of the intervals in its table's cells.

    Args:
      lows: their lower ends, NaN where there is none.
    """
    known = ~np.isnan(np.fromiter(lows, float))
    least = f"{LEAST_PATIENTS} patients who do not all have the same mean"
    if not known.any():
        return f"Without intervals: those need {least}."
    said = "In brackets the 95 % interval over patients"
    return f"{said}." if known.all() else f"{said}, where there are {least}."


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def chance(p: float) -> str:
    """An adjusted p as `adjusted p .012`, the smallest as `adjusted p below .001`."""
    return f"adjusted p {'below .001' if p < 0.001 else number(p, 3)}"


def titled(method: str) -> str:
    """A method's name as its authors write it."""
    return _TITLES.get(method, worded(method))


def worded(name: str) -> str:
    """`acne_vulgaris` -> `acne vulgaris`."""
    return name.replace("_", " ")


def percent(share: float) -> str:
    """`87 %`."""
    return f"{100 * share:.0f} %"
