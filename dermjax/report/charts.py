"""The study's figures, drawn from its frames of numbers; every one for print and for the page."""

import io
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

# Okabe & Ito (2008), told apart by colour-blind readers; marks tell them apart without colour.
_STYLES = {
    "SS": ("#0072B2", "o", "-"),
    "IN": ("#D55E00", "s", "--"),
    "FS": ("#009E73", "^", ":"),
}
_OTHERS = (("#CC79A7", "D", "-."), ("#56B4E9", "v", "-"), ("#E69F00", "P", "--"))
# Ten classes: Tol's muted colours, and marks as a second sign.
_COLOURS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777"),
)
_MARKS = "os^vDP*X<>"
_INK, _GRID = "#444444", "#DDDDDD"
_WIDTH = 9.2  # inches of a full row: 920 CSS px
_DPI = 170


def png(figure: Figure) -> bytes:
    """A figure as the page shows it."""
    return _saved(figure, "png")


def save(figure: Figure, folder: epath.Path, name: str) -> None:
    """`name.png` and `name.pdf`, each whole or not there; the same bytes for the same figure."""
    for kind in ("png", "pdf"):
        path = folder / f"{name}.{kind}"
        part = path.with_name(path.name + ".tmp")
        part.write_bytes(_saved(figure, kind))
        part.replace(path)


def _saved(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    unsaid = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    figure.savefig(file, format=kind, dpi=_DPI, metadata=unsaid[kind])
    return file.getvalue()


def strategies_against_alpha(
    overall: pd.DataFrame, published: pd.DataFrame | None = None
) -> Figure:
    """Figure 3: accuracy, macro precision and macro sensitivity against the share of the labels.

    Args:
        overall: a row per cell: strategy, alpha, and of each measure its value, sd, low and high.
        published: strategy, alpha and the three measures of the paper, drawn hollow.
    """
    names = ("accuracy", "macro_precision", "macro_sensitivity")
    figure, axes = _panels(1, 3, height=3.3)
    for ax, name in zip(axes.flat, names, strict=True):
        for strategy, rows in _by_strategy(overall):
            colour, mark, line = _style(strategy)
            rows = rows.sort_values("alpha")
            x = 100 * rows["alpha"]
            ax.fill_between(
                x, rows[f"{name}_low"], rows[f"{name}_high"], color=colour, alpha=0.12, lw=0
            )
            ax.errorbar(
                *(x, rows[name], rows[f"{name}_sd"].fillna(0)),
                color=colour,
                marker=mark,
                linestyle=line,
                markersize=5,
                capsize=3,
                label=strategy,
            )
            if published is not None:
                known = published[published["strategy"] == strategy].dropna(subset=[name])
                ax.plot(100 * known["alpha"], known[name], mark, color=colour, mfc="none", ms=9)
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.set_xticks(sorted(set(100 * overall["alpha"])))
        ax.margins(x=0.08)
    axes.flat[0].set_ylabel("test set")
    figure.supxlabel("labelled share of the training images, %", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    if published is not None:
        handles.append(Line2D([], [], marker="o", ls="", mfc="none", color=_INK, ms=9))
        labels.append("the paper")
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def sensitivity_against_labels(by_class: pd.DataFrame) -> Figure:
    """Each class's sensitivity against the labelled training images behind it, log scale."""
    strategies = [strategy for strategy, _ in _by_strategy(by_class)]
    figure, axes = _panels(1, len(strategies), height=3.6, share=True)
    classes = sorted(set(by_class["class"]))
    for ax, strategy in zip(axes.flat, strategies, strict=True):
        own = by_class[by_class["strategy"] == strategy]
        for index, name in enumerate(classes):
            rows = own[own["class"] == name].sort_values("labelled")
            ax.plot(
                *(rows["labelled"], rows["sensitivity"]),
                color=_COLOURS[index % 10],
                marker=_MARKS[index % 10],
                markersize=5,
                lw=1,
                label=_plain(name),
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(strategy, fontsize=10)
    axes.flat[0].set_ylabel("sensitivity")
    figure.supxlabel("labelled training images of the class", fontsize=9)
    _class_legend(figure, *axes.flat[0].get_legend_handles_labels(), place="upper")
    return figure


def confusion_matrices(
    matrices: Sequence[tuple[str, np.ndarray]], classes: Sequence[str]
) -> Figure:
    """Shares of each true class's images by answer; a panel per strategy.

    Args:
        matrices: title and counts `[N, N]`, rows are true classes; means over trials.
    """
    columns = min(len(matrices), 3 if len(classes) <= 4 else 2 if len(classes) <= 8 else 1)
    rows = -(-len(matrices) // columns)
    side = _WIDTH / columns * (0.85 if columns > 1 else 0.62)
    figure, axes = _panels(rows, columns, height=rows * side, grid=False)
    for ax in axes.flat[len(matrices) :]:
        ax.set_visible(False)
    for ax, (title, counts) in zip(axes.flat, matrices, strict=False):
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(*shares.shape):
            text = f"{counts[i, j]:.0f}" if counts[i, j] >= 0.5 else ""
            dark = shares[i, j] > 0.55
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if dark else _INK)
        names = [_plain(name) for name in classes]
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        ax.set_title(title, fontsize=10)
    figure.supxlabel("answer", fontsize=9)
    figure.supylabel("truth", fontsize=9)
    return figure


def reliability(panels: Sequence[tuple[str, dict[str, tuple]]]) -> Figure:
    """Accuracy against confidence; a panel per strategy, marks as large as their bins are full.

    Args:
        panels: title, and by name (`before`, `after` scaling) count, confidence, accuracy `[M]` and
            the calibration error.
    """
    figure, axes = _panels(2, len(panels), height=4.2, share="row", ratios=(4, 1))
    for (ax, below), (title, curves) in zip(axes.T, panels, strict=True):
        ax.plot([0, 1], [0, 1], color="#999999", lw=1)
        for (name, bins), colour, mark in zip(
            curves.items(), ("#D55E00", "#0072B2"), "so", strict=False
        ):
            count, confidence, accuracy, _ = map(np.asarray, bins)
            full = count > 0
            ax.plot(confidence[full], accuracy[full], color=colour, lw=0.8, alpha=0.6)
            size = 6 + 90 * count[full] / max(count.max(), 1)
            ax.scatter(
                *(confidence[full], accuracy[full], size), color=colour, marker=mark, label=name
            )
        errors = " → ".join(f"{bins[3]:.3f}" for bins in curves.values())
        ax.set_title(f"{title}, ECE {errors}", fontsize=10)
        ax.set(xlim=(0, 1), ylim=(-0.02, 1.02))
        first = np.asarray(next(iter(curves.values()))[0])
        edges = (np.arange(len(first)) + 0.5) / len(first)
        below.bar(edges, first / max(first.sum(), 1), 0.9 / len(first), color="#AAAAAA")
        below.set_xlim(0, 1)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    figure.supxlabel("confidence; below, the share of the images (before scaling)", fontsize=9)
    return figure


def differences(pairs: pd.DataFrame) -> Figure:
    """Paired differences with their intervals: one panel per measure."""
    measures = list(dict.fromkeys(pairs["measure"]))
    first = pairs[pairs["measure"] == measures[0]]
    figure, axes = _panels(1, len(measures), height=1.1 + 0.26 * len(first), share=True)
    for ax, measure in zip(axes.flat, measures, strict=True):
        rows = pairs[pairs["measure"] == measure].reset_index(drop=True)
        y = -np.arange(len(rows))
        for place, row in zip(y, rows.itertuples(), strict=True):
            colour, mark, _ = _style(row.first)
            ax.plot([row.low, row.high], [place, place], color=colour, lw=1.6)
            ax.plot([row.difference], [place], mark, color=colour, ms=6)
        ax.axvline(0, color="#777777", lw=1)
        names = [f"{row.first} − {row.second}, {100 * row.alpha:g} %" for row in rows.itertuples()]
        ax.set_yticks(y, names, fontsize=8)
        ax.set_title(str(measure).replace("_", " "), fontsize=10)
    figure.supxlabel("difference and 95 % interval over patients", fontsize=9)
    return figure


def subgroups(rows: pd.DataFrame, minimum: int) -> Figure:
    """Accuracy and macro sensitivity of the parts of the test set that a column makes.

    Args:
        rows: strategy, value, n, and of both measures the value (NaN: too few), low and high.
        minimum: images, below which measures are not shown.
    """
    values = list(dict.fromkeys(rows["value"]))
    strategies = [strategy for strategy, _ in _by_strategy(rows)]
    figure, axes = _panels(1, 2, height=1.2 + 0.34 * len(values), share=True)
    for ax, name in zip(axes.flat, ("accuracy", "macro_sensitivity"), strict=True):
        for place, strategy in enumerate(strategies):
            colour, mark, _ = _style(strategy)
            own = rows[rows["strategy"] == strategy].set_index("value").reindex(values)
            y = -np.arange(len(values)) - 0.2 * (place - (len(strategies) - 1) / 2)
            ax.hlines(y, own[f"{name}_low"], own[f"{name}_high"], color=colour, lw=1.4)
            ax.plot(own[name], y, mark, color=colour, ms=5, label=strategy)
        ax.set_xlim(-0.02, 1.02)
        ax.set_title(name.replace("_", " "), fontsize=10)
    n = rows.drop_duplicates("value").set_index("value")["n"]
    names = [f"{_plain(v)}  (n {n[v]}{', too few' if n[v] < minimum else ''})" for v in values]
    first = axes.flat[0]
    first.set_ylim(0.6 - len(values), 0.6)
    for label, value in zip(
        first.set_yticks(-np.arange(len(values)), names, fontsize=8), values, strict=False
    ):
        label.label1.set_color("#999999" if n[value] < minimum else _INK)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def feature_maps(
    panels: dict[tuple[str, float], tuple[np.ndarray, str]],
    labels: np.ndarray,
    classes: Sequence[str],
) -> Figure:
    """Figures 4 and 5: t-SNE of the test images' features.

    Args:
        panels: by strategy and alpha: points `[B, 2]`, and a line to print below.
        labels: `[B]` int.
        classes: N names.
    """
    strategies = list(dict.fromkeys(strategy for strategy, _ in panels))
    alphas = sorted({alpha for _, alpha in panels})
    side = _WIDTH / max(len(alphas), 2)
    figure, axes = _panels(len(strategies), len(alphas), height=len(strategies) * side, grid=False)
    size = float(np.clip(4000 / len(labels), 1.5, 30))
    for (i, strategy), (j, alpha) in itertools.product(enumerate(strategies), enumerate(alphas)):
        ax = axes[i, j]
        ax.set_xticks([])
        ax.set_yticks([])
        if (strategy, alpha) not in panels:
            ax.text(0.5, 0.5, "not done", ha="center", transform=ax.transAxes, color=_INK)
            continue
        points, note = panels[strategy, alpha]
        for index in range(len(classes)):
            own = points[labels == index]
            ax.scatter(
                *own.T,
                s=size,
                c=_COLOURS[index % 10],
                marker=_MARKS[index % 10],
                lw=0,
                alpha=0.8,
                rasterized=True,
            )
        ax.set_aspect("equal", "datalim")
        ax.set_title(f"{strategy}, {100 * alpha:g} %", fontsize=10)
        ax.set_xlabel(note, fontsize=8)
    handles = [
        Line2D([], [], ls="", marker=_MARKS[i % 10], color=_COLOURS[i % 10], ms=6)
        for i in range(len(classes))
    ]
    _class_legend(figure, handles, [_plain(name) for name in classes])
    return figure


def _panels(rows, columns, *, height: float, share=False, grid: bool = True, ratios=None):
    """A figure with `[rows, columns]` axes in this project's looks."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share, height_ratios=ratios)
    for ax in axes.flat:
        _dress(ax, grid)
    return figure, axes


def _dress(ax: Axes, grid: bool) -> None:
    ax.tick_params(labelsize=8, colors=_INK)
    ax.spines[["top", "right"]].set_visible(not grid)
    for spine in ax.spines.values():
        spine.set_color("#AAAAAA")
    if grid:
        ax.grid(color=_GRID, lw=0.6)
        ax.set_axisbelow(True)


def _class_legend(figure: Figure, handles, names, place: str = "lower") -> None:
    figure.legend(
        handles,
        names,
        loc=f"outside {place} center",
        ncols=min(len(names), max(2, int(110 / (max(map(len, names)) + 5)))),
        frameon=False,
        fontsize=9,
    )


def _by_strategy(frame: pd.DataFrame):
    """(strategy, its rows), in the order of appearance."""
    return list(frame.groupby("strategy", sort=False))


def _style(strategy: str) -> tuple[str, str, str]:
    known = _STYLES.get(strategy)
    return known or _OTHERS[sum(map(ord, strategy)) % len(_OTHERS)]


def _plain(name) -> str:
    """Without what matplotlib would take for a formula, and not too long."""
    text = str(name).replace("$", r"\$")
    return text if len(text) <= 24 else text[:23] + "…"


def line_of(purity: float, silhouette: float) -> str:
    """What stands below a panel of features."""
    return f"purity {purity:.2f}, silhouette " + (
        "–" if math.isnan(silhouette) else f"{silhouette:.2f}"
    )
