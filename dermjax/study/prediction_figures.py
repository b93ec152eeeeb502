"""Charts of single answers: which class is taken for which, and whether probabilities are right."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dermjax.report import lettering
from dermjax.report.looks import (
    FAINT,
    INK,
    LARGE,
    PLAIN,
    SMALL,
    WIDTH,
    Chart,
    legend,
    panels,
)

_CELL, _LEAST, _DIGIT = 0.24, 0.22, 0.071  # inches: a good cell, the least with a count; a digit
_LETTER, _LINE = 0.062, 0.135  # inches that a letter is wide, and a line of small ones high
_SPECK = 0.055  # inches: the least of a cell without a count
_SURE = 10  # images of a bin; the accuracy of fewer is chance
_CURVES = (("#D55E00", "s"), ("#0072B2", "o"))  # Okabe & Ito: before, after


def confusion_matrices(matrices: Sequence[tuple[str, np.ndarray]], classes: Sequence[str]) -> Chart:
    """Shares of each true class's images by answer; a panel per strategy.

    Args:
        matrices: title and counts `[N, N]`, rows are true classes; means over trials.
        classes: N names.

    Returns:
        With the names of the classes at its sides; of more classes than those have room for, with
        their numbers, whose names are in the figure's key.
    """
    names = lettering.Key().all_named(classes, 20)
    longest = _LETTER * max(map(lettering.width, names))
    numbered = (WIDTH - longest - 0.9) / len(classes) < _LINE
    below = 0.3 if numbered else 0.75 * longest + 0.1  # and to the left of the first column
    for columns in range(min(len(matrices), 3), 0, -1):
        room = WIDTH - (0.4 if numbered else longest) - 0.9 - (columns - 1) * below
        side = min(room / columns - 0.1, max(5.5, _LINE * len(classes)))
        if side / len(names) >= (_SPECK if numbered else _CELL):
            break
    rows = -(-len(matrices) // columns)
    height = 0.4 + rows * (side + below + 0.4)
    figure, axes = panels(rows, columns, height=height, grid=False)
    for ax in axes.flat[len(matrices) :]:
        ax.set_visible(False)
    names = [] if numbered else figure.key.all_named(classes, 20)
    if numbered:
        figure.key.show_all(classes)
    for place, (ax, (title, counts)) in enumerate(zip(axes.flat, matrices, strict=False)):
        counts = np.asarray(counts, float)
        _draw_matrix(ax, counts, cell=side / len(classes))
        ax.set_title(figure.key.named(title), fontsize=LARGE)
        if numbered:
            _number_classes(ax, len(classes), side)
        else:
            _name_classes(ax, names, counts.sum(1), side, longest, left=place % columns == 0)
    number = "number of the class; " if numbered else ""
    figure.supxlabel(f"answer ({number}shade: share of the true class's images)", fontsize=PLAIN)
    figure.supylabel("truth" if numbered else "truth (test images)", fontsize=PLAIN)
    return figure


def _name_classes(
    ax: Axes, names: Sequence[str], n: np.ndarray, side: float, longest: float, *, left: bool
) -> None:
    """Names at the answers, and at the truth with the images where it is the first column."""
    ax.set_xticks(range(len(names)), names)
    if longest > side / len(names):
        steep = side / len(names) < 1.5 * _LINE  # slanted ones would touch
        turned = {"rotation": 90} if steep else {"rotation": 45, "rotation_mode": "anchor"}
        for label in ax.get_xticklabels():
            label.set(ha="center" if steep else "right", **turned)
    own = [f"{name} ({count:,.0f})" for name, count in zip(names, n, strict=True)]
    ax.set_yticks(range(len(names)), own if left else [""] * len(names))


def _number_classes(ax: Axes, count: int, side: float) -> None:
    """Round numbers, as many as have room; the classes are counted from 1."""
    step = next(step for step in (5, 10, 20, 50, 100, count) if step * side / count >= 0.3)
    places = np.arange(step, count + 1, step) - 1
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(places, [str(place + 1) for place in places])


def _draw_matrix(ax: Axes, counts: np.ndarray, cell: float) -> None:
    """Shades by row, counts where cells of so many inches have room; no images: a white row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-9)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*shares.shape if cell >= _LEAST else (0, 0)):
        text = f"{math.floor(counts[i, j] + 0.5)}" if counts[i, j] >= 0.5 else ""
        if len(text) * _DIGIT > cell:
            text = f"{counts[i, j] / 1000:.2g}k"
        colour = "white" if shares[i, j] > 0.55 else INK
        ax.text(j, i, text, ha="center", va="center", fontsize=SMALL, color=colour)


def reliability(charts: Sequence[tuple[str, Mapping[str, tuple]]]) -> Chart:
    """Accuracy against confidence, and how many images have that confidence; one per strategy.

    Args:
        charts: title, and by name (`before`, `after` scaling) count, confidence, accuracy `[M]`
            of M bins of equal width, and the expected calibration error.
    """
    columns = 2 if len(charts) in (1, 2, 4) else 3  # one alone would be stretched
    rows = -(-len(charts) // columns)
    figure, axes = panels(
        *(2 * rows, columns),
        height=0.6 + 3.9 * rows,
        sharex=True,
        sharey=False,
        height_ratios=[3.4, 1] * rows,
    )
    pairs = [
        (axes[2 * row, c], axes[2 * row + 1, c]) for row in range(rows) for c in range(columns)
    ]
    for upper, lower in pairs[len(charts) :]:
        upper.set_visible(False)
        lower.set_visible(False)
    for (upper, lower), (title, curves) in zip(pairs, charts, strict=False):
        upper.plot([0, 1], [0, 1], color=FAINT, lw=1)
        for place, ((_, bins), sign) in enumerate(zip(curves.items(), _CURVES, strict=False)):
            _draw_bins(upper, lower, bins, *sign, filled=place == 0)
        errors = " → ".join("–" if np.isnan(e) else f"{e:.3f}" for *_, e in curves.values())
        upper.set_title(f"{figure.key.named(title)}\nECE {errors}", fontsize=PLAIN)
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
        lower.set_ylim(bottom=0)
        lower.tick_params(labelbottom=True)
    for row in range(rows):
        axes[2 * row, 0].set_ylabel("accuracy", fontsize=PLAIN)
        axes[2 * row + 1, 0].set_ylabel("images, %", fontsize=PLAIN)
    figure.supxlabel("confidence", fontsize=PLAIN)
    _explain(figure, list(charts[0][1]))
    return figure


def _draw_bins(upper: Axes, lower: Axes, bins: tuple, colour: str, mark: str, filled: bool) -> None:
    """A curve, its larger marks where there are more images, and their share below."""
    count, confidence, accuracy = (np.asarray(part, float) for part in bins[:3])
    sure = count >= _SURE
    upper.plot(confidence[sure], accuracy[sure], color=colour, lw=0.9)
    size = 14 + 80 * count / max(count.max(), 1)
    for part, face in ((sure, colour), (~sure & (count > 0), "white")):
        upper.scatter(
            confidence[part],
            accuracy[part],
            size[part],
            marker=mark,
            facecolor=face,
            edgecolor=colour,
            zorder=3,
        )
    share = 100 * count / max(count.sum(), 1)
    edges = np.linspace(0, 1, len(count) + 1)
    lower.stairs(share, edges, fill=filled, color=colour, alpha=0.35 if filled else 1, lw=1.4)


def _explain(figure: Chart, names: Sequence[str]) -> None:
    handles: list[Artist] = []
    words = []
    for place, (name, (colour, mark)) in enumerate(zip(names, _CURVES, strict=False)):
        handles += [Line2D([], [], color=colour, marker=mark, lw=0.9, ms=6)]
        handles += [
            Patch(color=colour, alpha=0.35, lw=0)
            if place == 0
            else Patch(facecolor="none", edgecolor=colour, lw=1.4)
        ]
        words += [name, f"images {name}"]
    handles.append(Line2D([], [], color=INK, marker="o", ls="", mfc="white", ms=5))
    words.append(f"fewer than {_SURE} images")
    legend(figure, handles, words, "outside upper right")
