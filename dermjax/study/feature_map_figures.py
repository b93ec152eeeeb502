"""The paper's Figures 4 and 5: test images' features on a plane, coloured by class."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dermjax.report.looks import (
    FAINT,
    PLAIN,
    SMALL,
    WIDTH,
    Chart,
    class_sign,
    legend,
    panels,
)
from dermjax.report.numbers import percent

_ACROSS = 5  # panels in a row; more would be too small to see a rare class in
_WIDE = 2.0  # inches, that a line below a panel takes
_LARGEST = 36  # points², of a mark
_COVERED = 0.12  # of a panel, by the marks if none overlapped


def feature_maps(
    maps: Mapping[tuple[str, float], tuple[np.ndarray, str]],
    labels: np.ndarray,
    classes: Sequence[str],
) -> Chart:
    """A panel per strategy (rows) and share of the labels (columns); more shares, more blocks.

    Args:
        maps: by strategy and alpha: points `[B, 2]`, and a line to print below.
        labels: `[B]` int.
        classes: N names.
    """
    strategies = list(dict.fromkeys(strategy for strategy, _ in maps))
    alphas = sorted({alpha for _, alpha in maps})
    blocks = -(-len(alphas) // _ACROSS)
    columns = -(-len(alphas) // blocks)
    side = min(WIDTH / columns, 4.6)
    figure, axes = panels(
        *(blocks * len(strategies), columns),
        height=0.8 + blocks * len(strategies) * (side + 0.5),
        grid=False,
    )
    figure.key.number(classes)
    for place, ax in enumerate(axes.flat):
        row, column = divmod(place, columns)
        block, strategy = divmod(row, len(strategies))
        alpha = block * columns + column
        if alpha >= len(alphas):
            ax.set_visible(False)
            continue
        cell = strategies[strategy], alphas[alpha]
        name = figure.key.named(cell[0], int(7 * side))
        ax.set_title(f"{name}, {percent(cell[1])}", fontsize=PLAIN)
        _draw_map(ax, maps.get(cell), labels, len(classes), side)
    counts = np.bincount(labels, minlength=len(classes))
    _explain(figure, classes, larger=len(set(_sizes(counts, side))) > 1)
    return figure


def _draw_map(
    ax: Axes, one: tuple[np.ndarray, str] | None, labels: np.ndarray, classes: int, side: float
) -> None:
    """Rarer classes later and larger: the commonest would hide them."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_box_aspect(1)
    if one is None:
        ax.text(0.5, 0.5, "not done", ha="center", transform=ax.transAxes, color=FAINT, fontsize=9)
        return
    points, note = one
    counts = np.bincount(labels, minlength=classes)
    sizes = _sizes(counts, side)
    for index in np.argsort(-counts, kind="stable"):
        own = points[labels == index]
        colour, mark = class_sign(int(index))
        ax.scatter(
            own[:, 0],
            own[:, 1],
            s=sizes[index],
            c=colour,
            marker=mark,
            lw=0,
            alpha=0.8,
            rasterized=True,
        )
    _frame(ax, points)
    ax.set_xlabel(note if side > _WIDE else note.replace(", ", "\n"), fontsize=SMALL)


def _sizes(counts: np.ndarray, side: float) -> np.ndarray:
    """The sizes of the marks of each class, in points²: full size where images are few."""
    common = np.clip(_COVERED * (72 * side) ** 2 / counts.sum(), 1.5, _LARGEST)
    rarer = np.clip((counts.max() / np.maximum(counts, 1)) ** 0.25, 1, 3)
    return np.minimum(common * rarer, _LARGEST)


def _frame(ax: Axes, points: np.ndarray) -> None:
    """Both axes as long as the longer one needs: a unit is the same in both."""
    finite = points[np.isfinite(points).all(1)]
    if not len(finite):
        return
    low, high = finite.min(0), finite.max(0)
    half = 0.53 * (high - low).max() or 1.0
    middle = (low + high) / 2
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)


def _explain(figure: Chart, classes: Sequence[str], larger: bool) -> None:
    """The classes' signs; whether the marks of rarer ones are larger."""
    handles = []
    for index in range(len(classes)):
        colour, mark = class_sign(index)
        handles.append(Line2D([], [], ls="", marker=mark, color=colour, ms=6))
    names = figure.key.all_named(classes)
    title = f"marks of rarer classes: {'larger, ' * larger}on top"
    legend(figure, handles, names, "outside lower center", title=title)


def line_of(purity: float, silhouette: float) -> str:
    """What stands below a panel: kNN purity in [0, 1], silhouette in [-1, 1], NaN for none."""
    purity, silhouette = (
        "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
        for value in (purity, silhouette)
    )
    return f"purity {purity}, silhouette {silhouette}"
