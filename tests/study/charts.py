"""Made-up numbers to draw, and what can be seen in a figure."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from dermjax.study import figures, paper_results
from dermjax.study.settings import known_strategies

MEASURES = ("accuracy", "macro_precision", "macro_sensitivity")
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 11))
LONG = "an exceedingly long name of a disease of the skin, type "
DISEASES = sorted(set(paper_results.table_one()["disease"]))


def overall(alphas=(0.1, 0.5, 1.0), strategies=("SS", "IN", "FS"), trials=3):
    rows = []
    for (i, strategy), alpha in itertools.product(enumerate(strategies), alphas):
        row = {"strategy": strategy, "alpha": alpha, "trials": trials}
        for name in MEASURES:
            value = 0.9 - 0.1 * i - 0.2 * (1 - alpha)
            row |= {name: value, f"{name}_sd": 0.02 if trials > 1 else np.nan}
            row |= {f"{name}_low": value - 0.03, f"{name}_high": value + 0.03}
        rows.append(row)
    return pd.DataFrame(rows)


def by_class(names, strategies=("SS", "FS"), alphas=(0.1, 1.0)):
    """The class at place 2 has no test images."""
    rows = []
    for strategy, alpha, (i, name) in itertools.product(strategies, alphas, enumerate(names)):
        row = {"strategy": strategy, "alpha": alpha, "class": name}
        row |= {"labelled": 1000 * alpha / (i + 1) ** 2, "n": 5}
        rows.append(row | {"sensitivity": np.nan if i == 2 else alpha / (i + 1)})
    return pd.DataFrame(rows)


def paired(alphas=(0.1, 1.0), strategies=("SS", "IN", "FS")):
    rows = [
        {"first": first, "second": second, "alpha": alpha, "measure": measure}
        | {"difference": 0.05 * i, "low": 0.05 * i - 0.06, "high": 0.05 * i + 0.04}
        for alpha in alphas
        for i, (first, second) in enumerate(itertools.combinations(strategies, 2))
        for measure in MEASURES
    ]
    return pd.DataFrame(rows)


def parts(values, strategies=("SS", "FS")):
    rows = pd.DataFrame(
        [
            {"strategy": s, "value": v, "n": n, "worst": False, "alpha": 1.0}
            for s in strategies
            for v, n in values
        ]
    )
    for name in ("accuracy", "macro_sensitivity"):
        rows[name] = np.where(rows["n"] < 20, np.nan, 0.8)
        rows[f"{name}_low"], rows[f"{name}_high"] = rows[name] - 0.1, rows[name] + 0.1
    return pd.DataFrame(rows.to_dict("records"))  # columns share memory, as the report's do


def bins(count=(0, 5, 20), accuracy=(np.nan, 0.4, 1.0), error=0.1):
    return np.array(count), np.array([np.nan, 0.5, 0.9]), np.array(accuracy), error


def maps(strategies, alphas, labels, spread=1.0):
    rng = np.random.default_rng(0)
    return {
        cell: (rng.normal(0, spread, (len(labels), 2)).astype(np.float32), "purity 1, silhouette 0")
        for cell in itertools.product(strategies, alphas)
    }


def course(ax, strategy):
    """(points `[n, 2]`, segments of its bars `[n, 2, 2]`) of a strategy's errorbar."""
    (box,) = [box for box in ax.containers if box.get_label() == strategy]
    return box.lines[0].get_xydata(), np.array(box.lines[2][0].get_segments())


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible texts that cover each other or leave the page; upright ones alone."""
    figure.draw_without_rendering()
    hidden = unseen(figure)
    found = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_text().strip()
        and text.get_rotation() in (0, 90)
        and text.get_visible()
        and id(text) not in hidden
    ]
    names = [name for name, _ in found]
    left, below, right, above = np.array([box.extents for _, box in found]).T
    wide = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    high = np.minimum.outer(above, above) - np.maximum.outer(below, below)
    pairs = np.argwhere(np.triu((wide > 1) & (high > 1), 1))
    page = figure.bbox
    off = (left < page.x0 - 2) | (right > page.x1 + 2) | (below < -2) | (above > page.y1 + 2)
    return [(names[i], names[j]) for i, j in pairs] + [
        (names[i], "the edge") for i in np.flatnonzero(off)
    ]


def unseen(figure: Figure) -> set[int]:
    """Texts that are not on the picture: tick labels of the other side and of hidden axes."""
    found = set()
    for ax in figure.axes:
        if not ax.get_visible():
            found |= {id(text) for text in ax.findobj(Text)}
            continue
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                found.add(id(tick.label2))
                if not low <= tick.get_loc() <= high:
                    found.add(id(tick.label1))
    return found


# Every figure of a study, with names and numbers that are hard to place.
FULL = by_class(DISEASES, ("SS", "IN", "FS"), SHARES).fillna(0.5)
NAMES = [f"{LONG}{i}" for i in range(12)]
COUNTS = np.random.default_rng(0).integers(0, 400, (12, 12))
LABELS = np.random.default_rng(0).integers(0, 10, 300)
BOTH = {"before": bins(), "after": bins(error=np.nan)}
STRANGE = ("SS", "_$x$_", "$", "a strategy with a name of many words", "母斑")
FOUR = ("SS", "SS-IN", "IN", "FS")
TWENTY = known_strategies()  # and all options for rare classes
EVERY = {
    "study": lambda: figures.strategies_against_alpha(overall(SHARES), paper_results.overall()),
    "one share": lambda: figures.strategies_against_alpha(overall((0.1,), trials=1)),
    "strategies": lambda: figures.strategies_against_alpha(overall(strategies=STRANGE)),
    "four strategies": lambda: figures.strategies_against_alpha(
        overall(SHARES, FOUR), paper_results.overall()
    ),
    "twenty strategies": lambda: figures.strategies_against_alpha(overall(strategies=TWENTY)),
    "no band": lambda: figures.strategies_against_alpha(
        overall().filter(regex="^(?!.*_(low|high)$)")
    ),
    "near shares": lambda: figures.strategies_against_alpha(overall((0.01, 0.02, 0.05, 0.1, 1.0))),
    "classes": lambda: figures.sensitivity_against_labels(FULL),
    "two classes": lambda: figures.sensitivity_against_labels(by_class(["a", "$b_$"])),
    "classes by twenty": lambda: figures.sensitivity_against_labels(by_class(DISEASES, TWENTY)),
    "long classes": lambda: figures.sensitivity_against_labels(by_class(NAMES, STRANGE)),
    "matrices": lambda: figures.confusion_matrices(
        [(name, COUNTS[:10, :10]) for name in ("SS", "IN", "FS")], DISEASES
    ),
    "four matrices": lambda: figures.confusion_matrices(
        [(f"{name}, 10 %", COUNTS[:10, :10]) for name in FOUR], DISEASES
    ),
    "long matrices": lambda: figures.confusion_matrices([(n, COUNTS) for n in STRANGE], NAMES),
    "two by two": lambda: figures.confusion_matrices([("SS", np.diag([5, 0]))], ["a_b", "$"]),
    "reliability": lambda: figures.reliability([(name, BOTH) for name in ("SS", "IN", "FS")]),
    "four reliabilities": lambda: figures.reliability([(name, BOTH) for name in FOUR]),
    "more reliability": lambda: figures.reliability([(name, BOTH) for name in STRANGE]),
    "thirty maps": lambda: figures.feature_maps(
        maps(("SS", "IN", "FS"), SHARES, LABELS), LABELS, DISEASES
    ),
    "sixteen maps": lambda: figures.feature_maps(maps(FOUR, SHARES[:4], LABELS), LABELS, DISEASES),
    "one map": lambda: figures.feature_maps(maps(("$SS_",), (0.5,), LABELS), LABELS, NAMES),
    "one point": lambda: figures.feature_maps(maps(("SS",), (1,), [0]), np.array([0]), ["a", "b"]),
    "differences": lambda: figures.differences(paired(SHARES)),
    "six differences": lambda: figures.differences(paired((0.1, 1.0), FOUR)),
    "differences of twenty": lambda: figures.differences(paired((0.1,), TWENTY)),
    "one difference": lambda: figures.differences(paired((1.0,), STRANGE[2:4])),
    "parts": lambda: figures.subgroups(parts([("f", 5000), ("m", 300), ("", 3)], STRANGE), 20),
    "parts by twenty": lambda: figures.subgroups(parts([("f", 50), ("m", 3)], TWENTY), 20),
    "long parts": lambda: figures.subgroups(parts([(n, 30) for n in NAMES]), 20),
    "only small parts": lambda: figures.subgroups(parts([("$m_", 3)]), 20),
}
