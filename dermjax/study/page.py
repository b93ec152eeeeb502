"""The study on one offline page: tables, figures, methods, definitions."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from dermjax.report import figures, pages
from dermjax.report.illustration import Illustration
from dermjax.report.numbers import number, p_value, percent, signed, signed_span
from dermjax.report.table import Table

# What is printed, by the name of its column.
TITLES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_sensitivity": "macro sensitivity",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "top2": "top-2 accuracy",
    "top3": "top-3 accuracy",
    "precision": "precision (PPV)",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "npv": "NPV",
    "f1": "F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "ece": "ECE",
    "classwise_ece": "classwise ECE",
    "brier": "Brier score",
    "log_loss": "log loss",
    "temperature": "temperature",
}
DEFINITIONS = {
    "strategy": (
        "What fine-tuning starts from. SS: pretraining without labels on this study's own training "
        "images; IN: weights of other images, as a rule ImageNet's; SS-IN: the pretraining of SS, "
        "begun from such weights; FS: nothing, from scratch. A word in small letters behind it, as "
        "in SS-balanced, is an option for rare classes. See the methods."
    ),
    "alpha": "Share of the training images that keep their labels; fine-tuning sees no others.",
    "n": "Number of test images.",
    "accuracy": "Share of the test images whose likeliest class is the true one.",
    "precision": (
        "Of the images that are answered with a class, the share that has it; 0 for a class that "
        "is never answered. Also called positive predictive value."
    ),
    "sensitivity": (
        "Of the images of a class, the share that is answered with it. Also called recall."
    ),
    "specificity": (
        "Of the images of other classes, the share that is not answered with the class."
    ),
    "npv": (
        "Of the images that are not answered with a class, the share that does not have it: "
        "negative predictive value."
    ),
    "f1": "Harmonic mean of precision and sensitivity.",
    "macro_precision": (
        "Unweighted mean of the classes' precision, as in the paper; classes without test images "
        "stay out."
    ),
    "macro_sensitivity": (
        "Unweighted mean of the classes' sensitivity, as in the paper; also called balanced "
        "accuracy."
    ),
    "macro_f1": "Unweighted mean of the classes' F1.",
    "auroc": (
        "Chance that an image of the class gets a higher probability of it than an image of "
        "another class (one against the rest); its unweighted mean is the macro AUROC."
    ),
    "auprc": (
        "Average precision over all thresholds of the class's probability (one against the rest). "
        "Chance level is the class's share of the test set. It has an interval where the test set "
        "has at least 20 patients of other classes: of fewer it is too high on average."
    ),
    "macro_auroc": "Unweighted mean of the classes' AUROC.",
    "macro_auprc": (
        "Unweighted mean of the classes' AUPRC. It has an interval where each of them has one, and "
        "no class is of a single patient."
    ),
    "top2": "Share of the test images whose true class is among the two likeliest.",
    "top3": "Share of the test images whose true class is among the three likeliest.",
    "ece": (
        "Expected calibration error: mean distance of accuracy and confidence over 15 bins of "
        "equal width of the likeliest class's probability (Guo et al. 2017). Chance alone makes it "
        "larger, on few images most. Its interval takes that off (the basic bootstrap interval): "
        "the value may lie above it. Of a network that is nearly calibrated it still ends too high."
    ),
    "classwise_ece": (
        "The same for each class's own probability, averaged over classes (Kull et al. 2019); what "
        "is said of ECE's interval is true of its own the more."
    ),
    "brier": (
        "Mean squared distance of the probabilities to the truth, summed over classes; 0 to 2."
    ),
    "log_loss": "Mean negative logarithm of the true class's probability, in nats.",
    "temperature": (
        "Divides the logits so that the validation images' log loss is least; above 1 the network "
        "was too sure of itself. Fitted on validation only."
    ),
    "sd": (
        "± is the standard deviation over trials: other labelled images, unless all keep their "
        "labels, and other random numbers of the training."
    ),
    "interval": (
        "In brackets a 95 % interval of the mean over trials. With two trials or more it is of the "
        "strategy: other test patients, with all their images, and other trainings could move the "
        "mean so far. Of a single trial it is of that network: other patients alone. Errors of "
        "calibration always have the latter. It never is of no width; where fewer than two "
        "patients stand behind a measure there is none."
    ),
    "difference": (
        "First minus second strategy, over the trials that both have. The interval and p of the "
        "strategies allow for other patients and other trainings, and need two trials; those of "
        "these networks allow for other patients alone, and say nothing of a strategy. p is "
        "two-sided; the adjusted p is Holm's over all pairs and shares in one measure; intervals "
        "are not widened for their number. McNemar's exact test of each trial compares which "
        "images are right, which is a matter of the accuracy, and takes images as independent, "
        "which those of one patient are not."
    ),
    "purity": (
        "Mean share of an image's ten nearest neighbours in the features that have its class."
    ),
    "silhouette": (
        "How much nearer an image's features are to its own class than to the nearest other one: "
        "-1 to 1."
    ),
}
_OVER = (
    "over test patients and trainings, or over test patients alone where there is a single trial"
)
_CELL = (("alpha", "alpha"), ("strategy", "strategy"))
_INTERVALS = f", in brackets the 95 % interval {_OVER}"
_BOLD = "in bold, ties included; none where the strategies have not the same trials"
_ERRORS = (
    " The intervals of ECE and classwise ECE are over test patients alone. Chance alone makes both "
    "errors larger; the intervals take that off, so that a value may lie above its interval."
)


@dataclasses.dataclass(frozen=True)
class Section:
    """Figures and tables under one heading."""

    heading: str
    text: str = ""
    drawn: Sequence[Illustration] = ()
    tables: Sequence[Table] = ()


@dataclasses.dataclass(frozen=True)
class Page:
    """What stands on the page."""

    title: str
    facts: Sequence[tuple[str, str]]  # at the top
    findings: Sequence[str]  # the study's answer in sentences
    missing: Mapping[str, str]  # runs that are left out, and why
    left_out: Mapping[str, str]  # other studies that were to be shown and are not, and why
    sections: Sequence[Section]
    methods: Mapping[str, Sequence[tuple[str, str]]]  # by heading, what was done
    # What a reader of such a study asks, and where the answer is; '' for what only the authors can
    # say.
    checklist: Sequence[tuple[str, str]]


def render(page: Page, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
      pictures: the PNG of every figure, by its name.
    """
    linked = {name for section in page.sections for one in section.tables for _, name in one.header}
    defined = {
        name: text
        for name, text in DEFINITIONS.items()
        if name in linked or name not in ("top2", "top3")
    }
    return pages.render(
        "study.html",
        **vars(page),
        definitions=[(name, TITLES.get(name, name), text) for name, text in defined.items()],
        png=lambda drawn: figures.data_uri(pictures[drawn.name], "png"),
    )


def overall_table(frame: pd.DataFrame, names: Sequence[str]) -> Table:
    """Mean, sd over trials and interval of measures, a row per share and strategy."""
    header = [*_CELL, ("trials", "sd")] + [(TITLES[name], name) for name in names]
    rows = [
        [percent(row.alpha), row.strategy, _trials(row)]
        + [_with_spread(row, name) for name in names]
        for row in frame.itertuples()
    ]
    best = [
        [False] * 3 + [is_best(frame, index, name, 3) for name in names] for index in frame.index
    ]
    return Table(
        "All measures",
        f"Mean over trials ± standard deviation over trials{_INTERVALS}; the best of each share "
        f"{_BOLD}.",
        header,
        rows,
        best,
    )


def table_one(frame: pd.DataFrame, name: str, letter: str, intervals: bool = False) -> Table:
    """The paper's Table 1: a measure by class, a column per share and strategy.

    With intervals each has its own line below the value.
    """
    cells = list(dict.fromkeys(zip(frame["alpha"], frame["strategy"], strict=True)))
    cells.sort(key=lambda cell: -cell[0])
    header = [("class", ""), ("n", "n")]
    header += [(f"{strategy} {percent(alpha)}", name) for alpha, strategy in cells]
    rows, best = [], []
    for label, part in frame.groupby("class", sort=True):
        known = part.set_index(["alpha", "strategy"])
        rows.append(
            [str(label), f"{int(part['n'].iloc[0]):,}"]
            + [_by_class(known, cell, name, intervals) for cell in cells]
        )
        own = part.reset_index(drop=True)
        tops = {
            cell: is_best(own, index, name, 2)
            for index, cell in enumerate(zip(own["alpha"], own["strategy"], strict=True))
        }
        best.append([False, False] + [tops.get(cell, False) for cell in cells])
    title = f"Table 1 ({letter}): {TITLES[name]}" if letter else _capital(TITLES[name])
    return Table(
        f"{title} by class",
        f"Means over trials{_INTERVALS if intervals else ''}; the best strategy of each share "
        f"{_BOLD}.",
        header,
        rows,
        best,
    )


def plain_table(heading: str, frame: pd.DataFrame, names: Sequence[str], suffix: str = "") -> Table:
    """Means over trials with their intervals, where they have any; a row per share and strategy.

    Measures that the frame lacks are left out.
    """
    names = [name for name in names if name + suffix in frame]
    header = [*_CELL] + [(TITLES[name], name) for name in names]
    rows = [
        [percent(row["alpha"]), row["strategy"], *(_with_interval(row, n + suffix) for n in names)]
        for _, row in frame.iterrows()
    ]
    note = _ERRORS if "ece" in names else ""
    return Table(heading, f"Means over trials{_INTERVALS}.{note}", header, rows)


def pairs_table(frame: pd.DataFrame) -> Table:
    """Every comparison with its intervals and p."""
    header = [("alpha", "alpha"), ("strategies", "strategy"), ("measure", "")]
    header += [("trials", "difference")]
    header += [
        ("difference", "difference"),
        ("of the strategies", "difference"),
        ("p", "difference"),
        ("p, adjusted", "difference"),
        ("of these networks", "difference"),
        ("p, adjusted", "difference"),
        ("McNemar's p, by trial", "difference"),
    ]
    rows = [
        [
            percent(row.alpha),
            f"{row.first} − {row.second}",
            TITLES[row.measure],
            _trials(row),
            signed(row.difference),
            signed_span(row.low, row.high) if row.trials > 1 else "–",
            p_value(row.p),
            p_value(row.p_holm),
            signed_span(row.networks_low, row.networks_high),
            p_value(row.networks_p_holm),
            # Of right and wrong images: it says nothing of macro means.
            ", ".join(p_value(float(p)) for p in row.mcnemar_p.split())
            if row.measure == "accuracy"
            else "",
        ]
        for row in frame.itertuples()
    ]
    return Table(
        "Paired differences",
        f"{len(frame)} comparisons over the trials that both strategies have. Of the strategies: "
        "95 % interval and p over test patients and trainings, which need two trials; of these "
        "networks: over test patients alone. p adjusted: for all comparisons in one measure "
        "(Holm); intervals and McNemar's p, which is about accuracy, are not.",
        header,
        rows,
    )


def _trials(row) -> str:
    """`3`, or `2 (0, 2)` where it is not the first ones that are there."""
    numbers = row.trial_numbers.split()
    usual = numbers == [str(i) for i in range(len(numbers))]
    return str(row.trials) if usual else f"{row.trials} ({', '.join(numbers)})"


def gaps_table(frame: pd.DataFrame) -> Table:
    """The worst part of each column, and how far it is from the best."""
    header = [("column", ""), *_CELL, ("worst part", "")]
    header += [(TITLES["macro_sensitivity"], "macro_sensitivity"), ("gap", "")]
    rows = [
        [
            spaced(row.column),
            percent(row.alpha),
            row.strategy,
            f"{row.value} (n {row.n})",
            number(row.macro_sensitivity)
            + _span(row.macro_sensitivity_low, row.macro_sensitivity_high, 2),
            number(row.gap),
        ]
        for row in frame[frame["worst"]].itertuples()
    ]
    return Table(
        "Worst parts and gaps",
        "Macro sensitivity over the classes that the part has, means over trials with their "
        f"intervals; gap: the best part's minus it.{_without_gap(frame)}",
        header,
        rows,
    )


def _without_gap(frame: pd.DataFrame) -> str:
    """Which columns have no two parts that could be compared."""
    has = frame.groupby("column", sort=False)["worst"].any()
    without = [spaced(column) for column in has.index[~has]]
    if not without:
        return ""
    return f" None for {', '.join(without)}: fewer than two parts have images enough."


def spaced(column: str) -> str:
    """`skin type`, the name of a column for readers."""
    return column.replace("_", " ")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def is_best(frame: pd.DataFrame, index: int, name: str, digits: int) -> bool:
    """Whether a row's value is, as printed, the best of its share, over the same trials."""
    same = frame[frame["alpha"] == frame["alpha"][index]]
    if same["trial_numbers"].nunique() > 1:  # one strategy may have the luckier trials
        return False
    printed = [float(f"{value:.{digits}f}") for value in same[name].dropna()]
    return len(same) > 1 and float(f"{frame[name][index]:.{digits}f}") == max(printed, default=None)


def _by_class(known: pd.DataFrame, cell: tuple[float, str], name: str, intervals: bool) -> str:
    """`.95`, or that and a line with `[.94, .96]`; a dash for none."""
    value = number(known[name].get(cell, math.nan))
    if not intervals or value == "–":
        return value
    return value + _span(known[f"{name}_low"][cell], known[f"{name}_high"][cell], 2, "\n")


def _with_interval(row: pd.Series, name: str) -> str:
    """`.953 [.941, .962]`; the value alone where it has no interval."""
    value = number(row[name], 3)
    if f"{name}_low" not in row or value == "–":
        return value
    return value + _span(row[f"{name}_low"], row[f"{name}_high"], 3)


def _with_spread(row, name: str) -> str:
    """`.953 ± .002 [.941, .962]`."""
    value, sd = getattr(row, name), getattr(row, f"{name}_sd")
    spread = f" ± {number(sd, 3)}" if not math.isnan(sd) else ""
    low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    return f"{number(value, 3)}{spread}{_span(low, high, 3)}"


def _span(low: float, high: float, digits: int, before: str = " ") -> str:
    """` [.94, .96]`; nothing where there is no interval."""
    if math.isnan(low):
        return ""
    return f"{before}[{number(low, digits)}, {number(high, digits)}]"
