"""How every chart of the study looks: its colours, marks and names, and the files it becomes."""

import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from dermjax import stores

INK, GRID, FAINT = "#444444", "#DDDDDD", "#999999"
WIDTH = 9.2  # inches of a full row: 920 CSS px
SMALL, PLAIN, LARGE = 8, 9, 10  # points, at that width
_DPI = 170


@dataclasses.dataclass(frozen=True)
class Style:
    """Of a strategy; mark and line tell it apart in black and white, too."""

    colour: str
    mark: str
    line: str | tuple


# Okabe & Ito (2008), told apart by colour-blind readers.
_KNOWN = {
    "SS": Style("#0072B2", "o", "-"),
    "IN": Style("#D55E00", "s", "--"),
    "FS": Style("#009E73", "^", ":"),
}
# SS-balanced and the like have their strategy's colour: a line each, and a mark for each strategy.
_VARIANTS = {
    "balanced": ("-.", {"SS": "D", "IN": "p", "FS": "d"}),
    "weights": ((0, (8, 2)), {"SS": "v", "IN": "<", "FS": ">"}),
    "logit": ((0, (5, 1, 1, 1, 1, 1)), {"SS": "P", "IN": "h", "FS": "8"}),
    "focal": ((0, (3, 3)), {"SS": "X", "IN": "*", "FS": "H"}),
}
_OTHERS = (
    Style("#CC79A7", "D", "-."),
    Style("#56B4E9", "v", (0, (8, 2))),
    Style("#E69F00", "P", (0, (5, 1, 1, 1, 1, 1))),
    Style("#000000", "X", (0, (3, 3))),
    Style("#777777", "*", (0, (1, 3))),
)
# Ten classes: Tol's muted colours, and marks as a second sign.
_COLOURS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777"),
)
_MARKS = "os^vDP*X<>"


def styles(strategies: Iterable[str]) -> dict[str, Style]:
    """A style for each strategy; SS, IN, FS and their variants always have the same."""
    found, others = {}, itertools.cycle(_OTHERS)
    for name in dict.fromkeys(strategies):
        base, _, variant = name.partition("-")
        if base in _KNOWN and variant in ("", *_VARIANTS):
            found[name] = _KNOWN[base]
            if variant:
                line, marks = _VARIANTS[variant]
                found[name] = Style(_KNOWN[base].colour, marks[base], line)
        else:
            found[name] = next(others)
    return found


def class_sign(index: int) -> tuple[str, str]:
    """Colour and mark of a class; of a hundred classes no two share both."""
    return _COLOURS[index % 10], _MARKS[(index + index // 10) % 10]


def panels(rows: int, columns: int, *, height: float, grid: bool = True, **subplots):
    """A figure of a page's width and its `[rows, columns]` axes.

    Args:
        height: inches.
        grid: axes with a grid and two sides, else a frame.
        **subplots: for `Figure.subplots`.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
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
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], place: str, title: str = ""
) -> None:
    """Outside of all axes, where it covers no data; as many columns as the width has room for."""
    found = figure.legend(
        handles,
        names,
        loc=f"outside {place}",
        ncols=_columns([len(name) for name in names]),
        frameon=False,
        fontsize=PLAIN,
        title=title or None,
    )
    found.get_title().set(fontsize=SMALL, color=INK)


def _columns(lengths: Sequence[int]) -> int:
    """As many as fit: a letter is 0.076 inches wide, a handle with its space eight letters."""
    for count in range(len(lengths), 1, -1):
        parts = np.array_split(lengths, count)
        if 0.076 * sum(part.max() + 8 for part in parts) <= WIDTH:
            return count
    return 1


def named(name: object, longest: int = 24) -> str:
    """A user's name as matplotlib prints it letter by letter, at most about `longest` of them.

    The middle is left out of a longer one: names often differ only in their ends.
    """
    text = " ".join(str(name).split())
    text = "".join(letter if ord(letter) in _letters() else "□" for letter in text)
    if len(text) > longest:
        end = longest // 3
        text = f"{text[: longest - end - 1].rstrip()}…{text[-end:].lstrip()}"
    text = text.replace("$", r"\$")  # a pair would make a formula
    return f" {text}" if text.startswith("_") else text  # which legends would leave out


@functools.cache
def _letters() -> frozenset[int]:
    """What the font has; matplotlib warns of each letter that it has not."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def percent(alpha: float) -> str:
    """`10 %`."""
    return f"{100 * alpha:.4g} %"


def worded(measure: str) -> str:
    """`macro precision`."""
    return measure.replace("_", " ")


def png(figure: Figure) -> bytes:
    """A figure as the page shows it."""
    return _saved(figure, "png")


def save(figure: Figure, folder: pathlib.Path, name: str) -> None:
    """`name.png` and `name.pdf`, each whole or not there; the same bytes for the same figure.

    Args:
        folder: exists; of pathlib, or a path with the same methods.
    """
    for kind in ("png", "pdf"):
        path = folder / f"{name}.{kind}"
        content = _saved(figure, kind)
        if stores.is_remote(path):  # an object is whole or not there
            path.write_bytes(content)
            continue
        part = path.with_name(path.name + ".tmp")
        part.write_bytes(content)
        part.replace(path)


def _saved(figure: Figure, kind: str) -> bytes:
    """Without the date and the versions that matplotlib writes into files."""
    unsaid = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=_DPI, metadata=unsaid[kind])
    return file.getvalue()
