"""The study's figures, drawn from its frames of numbers; every one for print and for the page.

Frames have a row per strategy and `alpha`, the share of the training images that keep their
labels, in (0, 1]; measures are in [0, 1], NaN where there is none. The paper is Kramer et al.,
JEADV 2022.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from dermjax.report.looks import (
    FAINT,
    GRID,
    INK,
    LARGE,
    PLAIN,
    SMALL,
    Chart,
    Style,
    dress,
    legend,
    panels,
    png,
    save,
    styles,
    worded,
)
from dermjax.report.numbers import percent
from dermjax.study.feature_map_figures import feature_maps, line_of
from dermjax.study.prediction_figures import confusion_matrices, reliability

__all__ = [
    "MOST_PANELS",
    "confusion_matrices",
    "differences",
    "feature_maps",
    "line_of",
    "png",
    "reliability",
    "save",
    "sensitivity_against_labels",
    "strategies_against_alpha",
    "subgroups",
]

_FIGURE_3 = ("accuracy", "macro_precision", "macro_sensitivity")
_APART = 0.09  # of an axis: labels of nearer ticks would touch
_LEAST = 5  # points of a running median
_MEDIANS = 4  # as many runs of points that share none; a median of fewer follows single classes
_ACROSS = 5  # small panels in a row, at most
_BESIDE = 0.07  # inches between the marks of strategies at one share
MOST_PANELS = 30  # of single classes; more would be a figure of a yard


def strategies_against_alpha(overall: pd.DataFrame, published: pd.DataFrame | None = None) -> Chart:
    """The paper's Figure 3: three measures against the share of the labels.

    Args:
        overall: strategy, alpha, and of accuracy, macro_precision and macro_sensitivity the mean,
            `_sd` over trials (NaN, that of one trial, has no bar) and, if a band is to be drawn,
            `_low` and `_high`. A share that a strategy has not is a gap in its line.
        published: strategy, alpha and the three measures of the paper, drawn hollow.

    Returns:
        Three panels side by side.
    """
    style, shares = styles(overall["strategy"]), sorted(set(overall["alpha"]))
    ticks = shares
    if published is not None:
        published = published[published["strategy"].isin(list(style))]
        ticks = sorted({*shares, *published["alpha"]})
    figure, axes = panels(1, 3, height=3.4)
    for ax, measure in zip(axes.flat, _FIGURE_3, strict=True):
        for place, (strategy, look) in enumerate(style.items()):
            rows = overall[overall["strategy"] == strategy].set_index("alpha")
            beside = _BESIDE * (place - (len(style) - 1) / 2)
            name = figure.key.named(strategy)
            _draw_course(ax, name, rows.reindex(shares), measure, look, beside)
            if published is not None:
                known = published[published["strategy"] == strategy].dropna(subset=[measure])
                hollow = _hollow(look.mark, look.colour)
                ax.plot(100 * known["alpha"], known[measure], **hollow)
        ax.set_title(worded(measure), fontsize=LARGE)
        ax.margins(x=0.08)
        _tick_shares(ax, ticks)
    axes.flat[0].set_ylabel("on the test images", fontsize=PLAIN)
    figure.supxlabel("labelled share of the training images, %", fontsize=PLAIN)
    handles: list[Artist] = [_line(look) for look in style.values()]
    names = figure.key.all_named(list(style))
    if "accuracy_low" in overall:
        handles.append(Patch(color=INK, alpha=0.15, lw=0))
        names.append("95 % interval")
    if published is not None and len(published):
        handles.append(Line2D([], [], **_hollow("o", INK)))
        names.append("the paper")
    legend(figure, handles, names, "outside upper right")
    return figure


def _draw_course(
    ax: Axes, name: str, rows: pd.DataFrame, measure: str, look: Style, beside: float
) -> None:
    """A strategy's means, bars and band; `rows` by share, NaN where there is no run.

    Means and bars stand as many inches `beside` their share, so that strategies do not cover each
    other.
    """
    place = ax.transData + ScaledTranslation(beside, 0, ax.figure.dpi_scale_trans)
    x, known = 100 * rows.index.to_numpy(float), rows[measure].notna().to_numpy()
    if f"{measure}_low" in rows:
        low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
        ax.fill_between(x, low, high, color=look.colour, alpha=0.13, lw=0)
        # A band of one point would have no width.
        beside = np.convolve(known, [1, 0, 1])[1:-1] > 0
        alone = known & ~beside
        ax.vlines(x[alone], low[alone], high[alone], color=look.colour, alpha=0.13, lw=9)
    if not known.all():  # so that the eye finds the next point; a gap is no measured course
        ax.plot(
            *(x[known], rows[measure][known]), color=look.colour, lw=0.6, alpha=0.6, transform=place
        )
    ax.errorbar(
        x,
        rows[measure],
        rows[f"{measure}_sd"],
        color=look.colour,
        marker=look.mark,
        linestyle=look.line,
        markersize=5,
        capsize=3,
        label=name,
        transform=place,
    )


def _tick_shares(ax: Axes, alphas: Sequence[float]) -> None:
    """A tick at each share, and its number where it does not run into the one before."""
    places = [100 * alpha for alpha in alphas]
    room = _APART * (places[-1] - places[0])
    words, last = [], np.inf
    for place in reversed(places):  # the largest share is always named
        fits = last - place >= room
        words.append(f"{place:.4g}" if fits else "")
        last = place if fits else last
    ax.set_xticks(places, words[::-1])


def _line(look: Style) -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.mark, linestyle=look.line, markersize=5)


def _hollow(mark: str | tuple, colour: str) -> dict:
    """The style of points without a line."""
    look = {"marker": mark, "ls": "", "color": colour, "markerfacecolor": "none"}
    return look | {"markersize": 9, "zorder": 4}


def sensitivity_against_labels(by_class: pd.DataFrame) -> Chart:
    """What labels are worth to a rare class: sensitivity against the labelled images behind it.

    Args:
        by_class: strategy, alpha, class, labelled (training images of the class, mean over
            trials) and sensitivity.

    Returns:
        All classes in one panel, each a thin line over its shares, thick the strategies' running
        medians (of both, labels and sensitivity, of a tenth of the points); below, a panel per
        class, the rarest first, and of many classes the rarest 30 alone.
    """
    shown = by_class[by_class["labelled"] > 0]  # a logarithm has no place for none
    style = styles(by_class["strategy"])
    classes = list(by_class.groupby("class")["labelled"].max().sort_values(kind="stable").index)
    classes = classes[:MOST_PANELS]
    rows = -(-len(classes) // _ACROSS)
    figure, (whole, each) = _one_above_many(rows, -(-len(classes) // rows))
    drawn = False
    for strategy, look in style.items():
        own = shown[shown["strategy"] == strategy]
        for name, ax in zip(classes, each, strict=False):
            one = own[own["class"] == name].sort_values("labelled")
            x, y = one["labelled"], one["sensitivity"]
            mark, colour = look.mark, look.colour
            whole.plot(x, y, marker=mark, color=colour, ls="-", lw=0.5, ms=3, alpha=0.45)
            ax.plot(x, y, marker=mark, color=colour, ls=look.line, lw=1.1, ms=3.5)
        x, y = _running_median(own["labelled"], own["sensitivity"])
        whole.plot(x, y, color=look.colour, ls=look.line, lw=2.6)
        drawn = drawn or len(x) > 0
    figure.key.number(dict.fromkeys(by_class["class"]))
    titles = itertools.chain(figure.key.all_named(classes, 22), itertools.repeat(""))
    for ax, title in zip(each, titles, strict=False):
        ax.set_title(title, fontsize=PLAIN)
        ax.set_visible(title != "")
    _number_labels(whole, each)
    whole.set_ylabel("sensitivity", fontsize=PLAIN)
    figure.supxlabel("labelled training images of the class", fontsize=PLAIN)
    handles, names = [_line(look) for look in style.values()], figure.key.all_named(list(style))
    if drawn:
        handles.append(Line2D([], [], color=INK, lw=2.6))
        names.append("running median")
    legend(figure, handles, names, "outside upper right")
    return figure


def _one_above_many(rows: int, columns: int) -> tuple[Chart, tuple[Axes, list[Axes]]]:
    """A wide panel, and under it small ones on the same scales: labels' log, sensitivity."""
    figure, grid = panels(
        rows + 1, columns, height=3.1 + 1.45 * rows, height_ratios=[2.2] + [1] * rows
    )
    places = grid[0, 0].get_gridspec()
    for ax in grid[0]:
        ax.remove()
    whole = figure.add_subplot(places[0, :])
    dress(whole)
    for place, ax in enumerate(grid[1:].flat):
        ax.sharex(whole)
        ax.set_yticks([0, 0.5, 1], None if place % columns == 0 else [""] * 3)
    for ax in [whole, *grid[1:].flat]:
        ax.set_xscale("log")
        ax.set_ylim(-0.05, 1.05)
    return figure, (whole, list(grid[1:].flat))


def _number_labels(whole: Axes, each: Sequence[Axes]) -> None:
    """Powers of ten; over less than two of them, 2 and 5 times those as well."""
    low, high = whole.get_xlim()
    steps = (1,) if high / low > 100 else (1, 2, 5)
    for ax in [whole, *each]:
        ax.xaxis.set_major_locator(LogLocator(subs=steps, numticks=9))
        ax.xaxis.set_major_formatter(FuncFormatter(_counted))
        ax.xaxis.set_minor_formatter(NullFormatter())


def _counted(value: float, _) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _running_median(x: pd.Series, y: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Both medians of each run of points in the order of x: no point is moved along a slope."""
    order = np.argsort(x.to_numpy(), kind="stable")
    both = np.stack([x.to_numpy(float), y.to_numpy(float)])[:, order]
    both = both[:, np.isfinite(both).all(0)]
    size = max(_LEAST, both.shape[1] // 10)
    if both.shape[1] < _MEDIANS * size:
        return np.zeros(0), np.zeros(0)
    x, y = np.median(np.lib.stride_tricks.sliding_window_view(both, size, axis=1), axis=-1)
    return x, y


def differences(pairs: pd.DataFrame) -> Chart:
    """Paired differences of strategies with their intervals: a panel per measure.

    Args:
        pairs: first, second, alpha, measure, difference (first minus second), low, high; drawn in
            the frame's order.

    Returns:
        A panel per measure; a mark is hollow where the interval holds 0.
    """
    measures = list(dict.fromkeys(pairs["measure"]))
    rows = list(dict.fromkeys(zip(pairs["first"], pairs["second"], pairs["alpha"], strict=True)))
    style = styles([*pairs["first"], *pairs["second"]])
    figure, axes = panels(1, len(measures), height=1.2 + 0.23 * len(rows), sharey=True)
    for ax, measure in zip(axes.flat, measures, strict=True):
        for row in pairs[pairs["measure"] == measure].itertuples():
            place = -rows.index((row.first, row.second, row.alpha))
            _draw_difference(ax, row, place, style[row.first])
        ax.axvline(0, color="#777777", lw=1)
        for above in range(1, len(rows)):
            if rows[above][2] != rows[above - 1][2]:  # another share
                ax.axhline(0.5 - above, color="#AAAAAA", lw=0.8)
        ax.grid(visible=False, axis="y")
        ax.set_title(worded(str(measure)), fontsize=LARGE)
    shown = dict(zip(style, figure.key.all_named(list(style), 16), strict=True))
    names = [f"{shown[a]} − {shown[b]}, {percent(alpha)}" for a, b, alpha in rows]
    axes.flat[0].set_yticks(-np.arange(len(rows)), names, fontsize=SMALL)
    axes.flat[0].set_ylim(0.4 - len(rows), 0.6)
    figure.supxlabel(
        "difference (right of 0 the first is better) and 95 % interval; hollow: it holds 0",
        fontsize=PLAIN,
    )
    return figure


def _draw_difference(ax: Axes, row, place: float, look: Style) -> None:
    """An interval and its point."""
    certain = row.low > 0 or row.high < 0
    ax.plot([row.low, row.high], [place, place], color=look.colour, lw=1.6)
    ax.plot(
        *([row.difference], [place]),
        marker=look.mark,
        color=look.colour,
        markerfacecolor=look.colour if certain else "white",
        markersize=6,
    )


def subgroups(rows: pd.DataFrame, minimum: int) -> Chart:
    """Accuracy and macro sensitivity of the parts of the test set that a column makes.

    Args:
        rows: strategy, value, n, and of both measures the value (NaN: not shown), low and high.
        minimum: images, of fewer neither measures nor their number are shown.
    """
    values, style = list(dict.fromkeys(rows["value"])), styles(rows["strategy"])
    n = rows.drop_duplicates("value").set_index("value")["n"]
    height = 1.2 + (0.12 + 0.11 * len(style)) * len(values)
    figure, axes = panels(1, 2, height=height, sharey=True)
    few = [place for place, value in enumerate(values) if n[value] < minimum]
    for ax, measure in zip(axes.flat, ("accuracy", "macro_sensitivity"), strict=True):
        for place, (strategy, look) in enumerate(style.items()):
            own = rows[rows["strategy"] == strategy].set_index("value").reindex(values)
            ends = own[[measure, f"{measure}_low", f"{measure}_high"]].to_numpy(float, copy=True)
            ends[few] = np.nan
            y = -np.arange(len(values)) - 0.7 / len(style) * (place - (len(style) - 1) / 2)
            ax.hlines(y, ends[:, 1], ends[:, 2], color=look.colour, lw=1.4)
            ax.plot(ends[:, 0], y, marker=look.mark, ls="", color=look.colour, ms=5)
        for i in few:
            ax.text(
                0.5, -i, f"n < {minimum}", color=FAINT, fontsize=SMALL, ha="center", va="center"
            )
        ax.set_xlim(-0.02, 1.02)
        ax.set_title(worded(measure), fontsize=LARGE)
        for above in range(1, len(values)):
            ax.axhline(0.5 - above, color=GRID, lw=0.8)
        ax.grid(visible=False, axis="y")
    _name_parts(figure.key.all_named(values, 30), axes, values, n, minimum)
    handles = [Line2D([], [], color=s.colour, marker=s.mark, ms=5, lw=1.4) for s in style.values()]
    legend(figure, handles, figure.key.all_named(list(style)), "outside upper right")
    return figure


def _name_parts(
    names: Sequence[str], axes: np.ndarray, values: Sequence, n: pd.Series, minimum: int
) -> None:
    """Names at the left, images at the right; those of small parts in grey."""
    first, last = axes.flat[0], axes.flat[-1]
    first.set_yticks(-np.arange(len(values)), names)
    first.set_ylim(0.4 - len(values), 0.6)
    for i, value in enumerate(values):
        few = n[value] < minimum
        first.get_yticklabels()[i].set_color(FAINT if few else INK)
        last.text(
            1.03,
            -i,
            f"n < {minimum}" if few else f"n = {n[value]:,}",
            transform=last.get_yaxis_transform(),
            va="center",
            fontsize=SMALL,
            color=FAINT if few else INK,
        )
