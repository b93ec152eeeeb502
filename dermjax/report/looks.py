"""How every chart of the study looks: its colours, marks and names, and the files it becomes."""

import csv
import dataclasses
import io
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from dermjax import atomic, stores
from dermjax.report import lettering
from dermjax.strategies import split

INK, GRID, FAINT = "#444444", "#DDDDDD", "#999999"
WIDTH = 9.2  # inches of a full row: 920 CSS px
SMALL, PLAIN, LARGE = 8, 9, 10  # points, at that width
_DPI = 170
_LEGEND_LINES, _LINE = 3, 0.178  # that figures have room for; inches of each further one


Line = Literal["-", "--", "-.", ":"] | tuple[float, Sequence[float]]
Mark = str | tuple


class Chart(Figure):
    """A figure that prints names in any alphabet.

    Attributes:
      key: its names; `key.entries` are those that it prints as numbers.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)
        self.key = lettering.Key()

    def draw(self, renderer):
        """Draws as matplotlib does, each text in the fonts that have its letters."""
        for ax in self.axes:
            ax.get_xticklabels(), ax.get_yticklabels()  # are made when they are asked for
        for text in self.findobj(Text):
            fonts = lettering.families(text.get_text().replace("\n", ""))
            if fonts and len(fonts) > 1:
                text.set(fontfamily=fonts, fontweight="normal")  # few have a bold cut
        super().draw(renderer)


@dataclasses.dataclass(frozen=True)
class Style:
    """How a strategy is drawn; mark and line distinguish it in black and white, too."""

    colour: str
    mark: Mark
    line: Line


# Okabe & Ito (2008), told apart by colour-blind readers.
_KNOWN = {
    "SS": Style("#0072B2", "o", "-"),
    "SS-IN": Style("#CC79A7", "D", (0, (9, 2, 2, 2))),
    "IN": Style("#D55E00", "s", "--"),
    "FS": Style("#009E73", "^", ":"),
}
# Marks by their corners, where matplotlib's own are used up.
_BOW = ((-1, -1), (-1, 1), (1, -1), (1, 1), (-1, -1))
_HOURGLASS = ((-1, -1), (1, -1), (-1, 1), (1, 1), (-1, -1))
_CORNER = ((-1, -1), (1, 1), (-1, 1), (-1, -1))
_BAR = ((-1, -0.45), (1, -0.45), (1, 0.45), (-1, 0.45), (-1, -0.45))
# SS-balanced and the like have their strategy's colour: a line each, and a mark for each strategy.
_VARIANTS: dict[str, tuple[Line, dict[str, Mark]]] = {
    "balanced": ("-.", {"SS": _BOW, "SS-IN": _HOURGLASS, "IN": "p", "FS": "d"}),
    "weights": ((0, (8, 2)), {"SS": "v", "SS-IN": _CORNER, "IN": "<", "FS": ">"}),
    "logit": ((0, (5, 1, 1, 1, 1, 1)), {"SS": "P", "SS-IN": (6, 1, 0), "IN": "h", "FS": "8"}),
    "focal": ((0, (3, 3)), {"SS": "X", "SS-IN": _BAR, "IN": "*", "FS": "H"}),
}
_OTHERS = (
    Style("#882255", (8, 1, 0), (0, (9, 2, 2, 2, 2, 2))),
    Style("#56B4E9", "v", (0, (8, 2))),
    Style("#E69F00", "P", (0, (5, 1, 1, 1, 1, 1))),
    Style("#000000", "X", (0, (3, 3))),
    Style("#777777", "*", (0, (1, 3))),
)
# Ten classes: Tol's muted colours, and marks as a second sign; more marks beyond a hundred.
_COLOURS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777"),
)
_MARKS, _MORE_MARKS = "os^vDP*X<>", "pHd8"


def styles(strategies: Iterable[str]) -> dict[str, Style]:
    """A style for each strategy; SS, SS-IN, IN, FS and their variants always have the same."""
    found, others = {}, itertools.cycle(_OTHERS)
    for name in dict.fromkeys(strategies):
        base, variant = split(name)
        if base in _KNOWN and variant in ("", *_VARIANTS):
            found[name] = _KNOWN[base]
            if variant:
                line, marks = _VARIANTS[variant]
                found[name] = Style(_KNOWN[base].colour, marks[base], line)
        else:
            found[name] = next(others)
    return found


def class_sign(index: int) -> tuple[str, str]:
    """Colour and mark of a class; of 140 classes no two share both."""
    colour, ring = _COLOURS[index % 10], index // 10
    if ring < 10:
        return colour, _MARKS[(index + ring) % 10]
    return colour, _MORE_MARKS[(ring - 10) % len(_MORE_MARKS)]


def panels(
    rows: int, columns: int, *, height: float, grid: bool = True, **subplots
) -> tuple[Chart, np.ndarray]:
    """A figure of a page's width and its `[rows, columns]` axes.

    Args:
        height: inches.
        grid: axes with a grid and two sides, else a frame.
        **subplots: for `Figure.subplots`.
    """
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for ax in axes.flat:
        dress(ax, grid)
    return figure, axes


def dress(ax: Axes, grid: bool = True) -> None:
    """Quiet axes, so that the data are seen first."""
    ax.tick_params(labelsize=SMALL, colors=INK)
    ax.spines[["top", "right"]].set_visible(not grid)
    for spine in ax.spines.values():
        spine.set_color("#AAAAAA")
    if grid:
        ax.grid(color=GRID, lw=0.6)
        ax.set_axisbelow(True)


def legend(
    figure: Figure,
    handles: Sequence[Artist],
    names: Sequence[str],
    place: Literal["outside upper right", "outside lower center"],
    title: str = "",
) -> None:
    """Outside of all axes, where it covers no data; as many columns as the width has room for.

    The figure grows by what it takes beyond a few lines, so that axes keep their size.
    """
    columns = _columns([lettering.width(name) for name in names])
    found = figure.legend(
        handles,
        names,
        loc=place,
        ncols=columns,
        frameon=False,
        fontsize=PLAIN,
        title=title or None,
    )
    found.get_title().set(fontsize=SMALL, color=INK)
    lines = -(-len(names) // columns)
    if lines > _LEGEND_LINES:
        figure.set_figheight(figure.get_figheight() + _LINE * (lines - _LEGEND_LINES))


def _columns(lengths: Sequence[int]) -> int:
    """How many columns fit: a letter is 0.076 inches wide, a handle and its space are eight."""
    for count in range(len(lengths), 1, -1):
        # As matplotlib fills them, one column after the other.
        parts = np.array_split(lengths, count)
        if 0.076 * sum(part.max() + 8 for part in parts) <= WIDTH:
            return count
    return 1


def worded(measure: str) -> str:
    """`macro precision`."""
    return measure.replace("_", " ")


def png(figure: Figure) -> bytes:
    """A figure as the page shows it."""
    return _saved(figure, "png")


def save(figure: Figure, folder: pathlib.Path, name: str) -> bytes:
    """`name.png` and `name.pdf`, each whole or not there; the same bytes for the same figure.

    A figure that prints names as numbers has `name.key.csv` beside it: number and whole name.

    Args:
        folder: exists; of pathlib, or a path with the same methods.

    Returns:
        The PNG, as `png` makes it.
    """
    files = {kind: _saved(figure, kind) for kind in ("png", "pdf")}
    entries = figure.key.entries if isinstance(figure, Chart) else {}
    if entries:
        files["key.csv"] = _key_file(entries)
    elif (old := folder / f"{name}.key.csv").exists():
        old.unlink()
    for kind, content in files.items():
        path = folder / f"{name}.{kind}"
        if stores.is_remote(path):  # an object is whole or not there
            path.write_bytes(content)
            continue
        with atomic.replace(path) as beside:
            beside.write_bytes(content)
    return files["png"]


def _key_file(entries: Mapping[int, str]) -> bytes:
    """The key as CSV, with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("number", "name"), *sorted(entries.items())])
    return text.getvalue().encode("utf-8-sig")


def _saved(figure: Figure, kind: str) -> bytes:
    """The figure's file, without the date and the versions that matplotlib writes into it."""
    unsaid = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=_DPI, metadata=unsaid[kind])
    return file.getvalue()
