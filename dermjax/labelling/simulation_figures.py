"""The figures of a simulation: macro sensitivity by labels, and what each method gains."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dermjax.labelling.methods import RANDOM
from dermjax.report.looks import INK, LARGE, PLAIN, Chart, Style, legend, panels

# Okabe & Ito (2008); a mark and a line of its own for each, as no method may be told by colour.
STYLES = {
    RANDOM: Style("#000000", "o", "-"),
    "typicality": Style("#0072B2", "s", "--"),
    "coverage": Style("#009E73", "^", "-."),
    "margin": Style("#D55E00", "D", (0, (9, 2, 2, 2))),
    "entropy": Style("#CC79A7", "v", ":"),
    "handover": Style("#56B4E9", "P", (0, (5, 1, 1, 1, 1, 1))),
}
_APART = 0.012  # of the axis, between methods that stand at one number of labels


def curves(results: Mapping[str, Any]) -> Chart:
    """Macro sensitivity against labels, random choice with the band of its 95 % interval."""
    figure, axes = panels(1, 1, height=4.0)
    ax, labels = axes.flat[0], np.array(results["labels"], float)
    for name, one in results["methods"].items():
        value, low, high = _columns(one["macro_sensitivity"])
        style = STYLES[name]
        ax.plot(labels, value, color=style.colour, ls=style.line, marker=style.mark, ms=5, lw=1.5)
        if name == RANDOM:
            ax.fill_between(labels, low, high, color=INK, alpha=0.12, lw=0)
    _finish(ax, results, "macro sensitivity, validation")
    _add_legend(figure, list(results["methods"]))
    return figure


def differences(results: Mapping[str, Any]) -> Chart:
    """Each method minus random choice, by labels, with 95 % intervals."""
    others = [name for name in results["methods"] if name != RANDOM]
    figure, axes = panels(1, 1, height=4.0)
    ax, labels = axes.flat[0], np.array(results["labels"], float)
    width = labels[-1] - labels[0]
    for place, name in enumerate(others):
        value, low, high = _columns(results["methods"][name]["difference_by_round"])
        style = STYLES[name]
        beside = labels + _APART * width * (place - (len(others) - 1) / 2)
        # At the first labels there is no difference.
        ax.vlines(beside[1:], low[1:], high[1:], color=style.colour, lw=1.4)
        ax.plot(beside[1:], value[1:], color=style.colour, ls="", marker=style.mark, ms=6)
    ax.axhline(0, color=INK, lw=1)
    _finish(ax, results, "minus random choice")
    _add_legend(figure, others, lines=False)
    return figure


def _columns(rows: Sequence[Mapping[str, float | None]]) -> np.ndarray:
    """`[3, R + 1]`: values, lows and highs; NaN for none."""
    return np.array([[row[part] for row in rows] for part in ("value", "low", "high")], float)


def _finish(ax, results: Mapping[str, Any], what: str) -> None:
    ax.set_xlabel("labelled training photographs", fontsize=PLAIN)
    ax.set_ylabel(what, fontsize=LARGE)
    ax.set_xticks(results["labels"] if len(results["labels"]) <= 12 else [])
    if len(results["labels"]) > 12:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _add_legend(figure: Chart, names: Sequence[str], lines: bool = True) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=STYLES[name].colour,
            ls=STYLES[name].line if lines else "",
            marker=STYLES[name].mark,
        )
        for name in names
    ]
    legend(figure, handles, list(names), "outside upper right")
