"""Curves over steps, drawn into PNG files; images ready to stand inside a page."""

import base64
import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

# Okabe & Ito (2008): told apart by colour-blind readers. Line styles tell them apart in black and
# white, too. Yellow, too faint on white, is left out.
_STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (5, 1.5))),
    ("#009E73", (0, (5, 1.5, 1, 1.5))),
    ("#CC79A7", "-"),
)
_INK = "#444444"
_INCHES = 9.2  # of a full row of panels: 920 CSS px, a page in a window of 1,000
_PIXELS_PER_INCH = 170  # sharp on paper and on dense screens
_MARKED = 40  # up to so many points, each is marked: a curve of one point would not be seen


@dataclasses.dataclass(frozen=True)
class Curve:
    """Finite values over steps."""

    label: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Level:
    """A value to compare curves with, drawn as a dotted line."""

    label: str
    value: float


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes; labels are the project's own, `$` would start a formula."""

    title: str
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...] = ()
    percent: bool = False  # values are shares
    bottom: float | None = None  # of the axis; None: wherever the curves are
    top: float | None = None


def draw(panels: Sequence[Panel], *, last_step: int, columns: int = 2) -> tuple[bytes, int]:
    """All panels in one picture, row by row, over the same steps.

    Args:
      panels: at least one.
      last_step: the right end of every panel; 0 is the left.
      columns: of panels in a full row.

    Returns:
      A PNG file, and the width in CSS pixels at which its text is as large as the page's.
    """
    across = min(columns, len(panels))
    rows = math.ceil(len(panels) / across)
    inches = _INCHES * across / columns
    figure = Figure(
        figsize=(inches, (3.1 if columns < 3 else 2.3) * rows),
        dpi=_PIXELS_PER_INCH,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08),
    )
    # Room for a legend above all panels or none, so that titles and axes stand in line.
    pad = 19 if any(_named(panel) > 1 for panel in panels) else 6
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, across, place)
        axes.set_title(panel.title, loc="left", fontsize=10, weight="bold", pad=pad)
        _draw_panel(axes, panel)
        _set_scales(axes, panel, max(last_step, 1), steps=4 if columns < 3 else 3)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue(), round(100 * inches)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """Curves and levels, and their legend above the axes, where it covers no data."""
    for curve, (color, style) in zip(panel.curves, _STYLES, strict=False):
        axes.plot(
            curve.steps,
            curve.values,
            label=curve.label,
            color=color,
            linestyle=style,
            linewidth=1.5,
            zorder=3,  # over the axis: a point at step 0 is seen
            marker="o" if len(curve.steps) <= _MARKED else None,
            markersize=3,
            clip_on=False,  # a mark on the edge is drawn whole
        )
    for level in panel.levels:
        axes.axhline(level.value, label=level.label, color=_INK, linestyle=":", linewidth=1.3)
    if _named(panel) > 1:
        legend = axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.02),
            ncols=_named(panel),
            frameon=False,
            fontsize=8.5,
            borderpad=0,
            borderaxespad=0,
            columnspacing=1.0,
            handlelength=2.0,
        )
        legend.set_in_layout(False)  # its room is the title's pad; a wide one narrows no panel


def _set_scales(axes: Axes, panel: Panel, last_step: int, steps: int) -> None:
    """The range that the panel asks for, and round, readable numbers at both axes."""
    axes.set_xlim(0, last_step)
    low, high = axes.get_ylim()
    values = [value for curve in panel.curves for value in curve.values]
    axes.set_ylim(
        low if panel.bottom is None else min(panel.bottom, *values),
        high if panel.top is None else max(panel.top, *values),
    )
    axes.xaxis.set_major_locator(MaxNLocator(steps, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent if panel.percent else _number))
    axes.set_xlabel("step", fontsize=8.5, color=_INK)
    axes.tick_params(labelsize=8.5, colors=_INK)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _named(panel: Panel) -> int:
    """How many lines a legend has to distinguish."""
    return len(panel.curves) + len(panel.levels)


def _percent(share: float, _) -> str:
    return f"{100 * share:.4g}%"


def _number(value: float, _) -> str:
    return f"{round(value, 12) + 0.0:,.6g}"  # without the -0 and 1e-17 of floating point


def describe(panels: Sequence[Panel]) -> str:
    """What the picture shows, in words, for those who do not see it."""
    sentences = []
    for panel in panels:
        for curve in panel.curves:
            name = ", ".join(filter(None, (panel.title, curve.label)))
            sentences.append(
                f"{name}: {curve.values[0]:.4g} at step {curve.steps[0]:,}, "
                f"{curve.values[-1]:.4g} at step {curve.steps[-1]:,}."
            )
    return " ".join(sentences)


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """`[h, w, 3]` uint8, of at most `side` pixels a side; as it is where it has no more."""
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def photograph(pixels: np.ndarray, side: int, quality: int = 85) -> bytes:
    """`[h, w, 3]` uint8 -> a JPEG file of at most `side` pixels a side, of a quality up to 95."""
    file = io.BytesIO()
    Image.fromarray(shrunk(pixels, side)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def data_uri(file: bytes, kind: str) -> str:
    """An image file as the source of an `<img>`; `kind` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
