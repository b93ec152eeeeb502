"""The sections of a study's report: which figures and tables it has, and what stands below them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dermjax.data import subgroup_values
from dermjax.report import numbers
from dermjax.report.illustration import Illustration
from dermjax.statistics import calibration
from dermjax.study import figures, page, paper_results
from dermjax.study.confused_pairs import confused_pairs
from dermjax.study.feature_maps import Panels
from dermjax.study.other_studies import Beside
from dermjax.study.page import Section
from dermjax.study.results import Outcomes
from dermjax.study.settings import StudySettings
from dermjax.study.tables import OVERALL

_RANKING = ("macro_auroc", "macro_auprc", "top2", "top3")
_RANKED_BY_CLASS = ("auroc", "auprc", "specificity", "npv", "f1")
_CALIBRATION = ("temperature", "ece", "classwise_ece", "brier", "log_loss")
_MANY_CLASSES = 20  # of more a table names the commonest mistakes
_MAPS = 4  # shares of the labels in a figure of features
# The paper's figures of features, by network.
_FIGURES = {"efficientnet_b4": "the paper's Figure 4", "resnet50": "the paper's Figure 5"}


def sections(
    settings: StudySettings,
    outcomes: Outcomes,
    frames: dict[str, pd.DataFrame],
    maps: Panels,
    others: Sequence[Beside],
) -> list[Section]:
    """The sections of the page, from the answer to the details."""
    ends = sorted({outcomes.alphas()[0], outcomes.alphas()[-1]})
    every = [
        _strategies(outcomes, frames["overall"]),
        _classes(frames["by_class"]),
        _differences(frames["pairs"]),
        _confusion(outcomes, ends),
        _ranking(frames),
        _calibration(outcomes, frames["overall"], ends),
    ]
    if len(frames["subgroups"]):
        every.append(_subgroups(settings, outcomes, frames["subgroups"]))
    if maps:
        network = settings.run.model.name
        every.append(Section("Features", drawn=_feature_maps(network, outcomes, maps)))
    return every + [_beside(other) for other in others]


def _strategies(outcomes: Outcomes, overall: pd.DataFrame) -> Section:
    known = paper_results.overall() if paper_results.are_its_classes(outcomes.classes) else None
    paper, network = "", outcomes.runs[0].planned.settings.model.name
    if known is not None and overall["strategy"].isin(known["strategy"]).any():
        also = "" if network == "efficientnet_b4" else f" and of EfficientNet-B4, not {network}"
        paper = f" The paper's points are of its photographs, which are others{also}."
        own = [
            run.planned.settings for run in outcomes.runs if run.planned.settings.strategy == "SS"
        ]
        if own and own[0].starts_from_weights:
            paper += " Its SS starts from random weights, this study's from others (see Methods)."
    figure3 = Illustration(
        "figure3",
        figures.strategies_against_alpha(overall, known),
        "Figure 3",
        "Mean over trials, bars: ± one standard deviation over trials; shaded: 95 % interval over "
        "test patients and trainings (of a single trial: over test patients alone). Strategies "
        f"stand a little beside their share of the labels, so that none covers another.{paper}",
    )
    return Section("Strategies", drawn=[figure3], tables=[page.overall_table(overall, OVERALL)])


def _classes(by_class: pd.DataFrame) -> Section:
    count, most = by_class["class"].nunique(), figures.MOST_PANELS
    alone = "each class alone"
    if count > most:
        alone = f"the {most} of the {count} classes with the fewest labelled images, each alone"
    rare = Illustration(
        "rare_classes",
        figures.sensitivity_against_labels(by_class),
        "Sensitivity against the labelled images of a class",
        "A point per class and share of the labels, means over trials; thick: each strategy's "
        f"running median, where there are points enough. Below, {alone}, the rarest first.",
    )
    tables = [
        page.table_one(by_class, name, letter, intervals=True)
        for name, letter in (("precision", "a"), ("sensitivity", "b"))
    ]
    return Section("Classes", drawn=[rare], tables=tables)


def _differences(pairs: pd.DataFrame) -> Section:
    if not len(pairs):
        return Section("Differences", "There are no two strategies at one share of the labels.")
    drawn = Illustration(
        "differences",
        figures.differences(pairs),
        "Differences between strategies",
        "First minus second strategy over the trials that both have, 95 % interval over test "
        "patients and trainings (of a single trial: of these two networks, over patients alone), "
        "not widened for the number of comparisons: the table's adjusted p is.",
    )
    return Section("Differences", drawn=[drawn], tables=[page.pairs_table(pairs)])


def _confusion(outcomes: Outcomes, alphas: Sequence[float]) -> Section:
    """A matrix per strategy; of many classes the commonest mistakes as a table as well."""
    drawn, tables = [], []
    for alpha in alphas:
        share = numbers.percent(alpha)
        matrices = [
            (strategy, np.mean([run.results["confusion_matrix"] for run in runs], axis=0))
            for strategy, runs in _cells(outcomes, alpha)
        ]
        titled = [(f"{strategy}, {share}", counts) for strategy, counts in matrices]
        drawn.append(
            Illustration(
                f"confusion_alpha{alpha:g}",
                figures.confusion_matrices(titled, outcomes.classes),
                f"Confusion matrices at {share} of the labels",
                "Images by true class (rows) and answer, means over trials. Numbers are rounded, "
                "so that rows need not add up, and below a half not printed. Shade: share of the "
                "row.",
            )
        )
        if len(outcomes.classes) > _MANY_CLASSES:
            tables.append(confused_pairs(matrices, outcomes.classes, share))
    return Section("Confusion", drawn=drawn, tables=tables)


def _ranking(frames: dict[str, pd.DataFrame]) -> Section:
    known = [name for name in _RANKING if name in frames["overall"]]
    tables = [page.plain_table("Ranking", frames["overall"], known)]
    tables += [
        page.table_one(frames["by_class"], name, "", intervals=True) for name in _RANKED_BY_CLASS
    ]
    text = (
        "AUROC and AUPRC are of all thresholds together; specificity, NPV and F1 are of the "
        "answers, the likeliest class of each image."
    )
    return Section("Ranking", text, tables=tables)


def _calibration(outcomes: Outcomes, overall: pd.DataFrame, alphas: Sequence[float]) -> Section:
    drawn = [
        Illustration(
            f"reliability_alpha{alpha:g}",
            figures.reliability(
                [(s, _reliability(outcomes, runs)) for s, runs in _cells(outcomes, alpha)]
            ),
            f"Reliability at {numbers.percent(alpha)} of the labels",
            "Accuracy against confidence, the images of all trials together; on the diagonal a "
            "probability means what it says. After: the logits are divided by the temperature that "
            "the validation images gave. ECE: mean over trials, as in the tables. Hollow: fewer "
            "than ten images.",
        )
        for alpha in alphas
    ]
    tables = [
        page.plain_table("Before temperature scaling", overall, _CALIBRATION),
        page.plain_table("After temperature scaling", overall, _CALIBRATION[1:], suffix="_scaled"),
    ]
    return Section("Calibration", drawn=drawn, tables=tables)


def _reliability(outcomes: Outcomes, runs: list) -> dict[str, tuple]:
    """Bins before and after scaling, of all trials together, and the trials' mean error."""
    labels = np.concatenate([outcomes.labels] * len(runs))
    found = {}
    for name, parts in (
        ("before", [run.probabilities for run in runs]),
        ("after", [run.scaled for run in runs]),
    ):
        bins = calibration.reliability(labels, np.concatenate(parts))
        # Not that of all trials together, where their errors cancel out: the tables' value.
        error = np.mean([calibration.calibration_error(outcomes.labels, part) for part in parts])
        found[name] = (bins.count, bins.confidence, bins.accuracy, float(error))
    return found


def _subgroups(settings: StudySettings, outcomes: Outcomes, subgroups: pd.DataFrame) -> Section:
    alpha, minimum = outcomes.alphas()[0], settings.report.minimum
    drawn, empty = [], []
    for column, rows in subgroups[subgroups["alpha"] == alpha].groupby("column", sort=False):
        if rows["accuracy"].isna().all():  # a figure without a point
            empty.append(page.spaced(column))
            continue
        drawn.append(
            Illustration(
                f"subgroups_{column}",
                figures.subgroups(rows, minimum),
                f"By {page.spaced(column)}, at {numbers.percent(alpha)} of the labels",
                "Means over trials with 95 % intervals over patients and trainings (of a single "
                "trial: over patients alone); of parts with fewer than "
                f"{minimum} images, or of one patient, nothing is shown."
                f"{_counted_together(outcomes.columns[column])}",
            )
        )
    text = "The gap of many small parts is large by chance alone: read it with the intervals."
    if empty:
        text += (
            f" Nothing can be shown by {' and by '.join(empty)}: every part has fewer than "
            f"{minimum} test images, or those of one patient."
        )
    tables = [page.gaps_table(subgroups)] if subgroups["worst"].any() else []
    return Section("Subgroups", text, drawn, tables)


def _counted_together(values: pd.Series) -> str:
    """Which spellings of a column were taken for one subgroup."""
    notes = subgroup_values.group(values).notes
    return f" Counted together: {'; '.join(notes)}." if notes else ""


def _feature_maps(
    network: str, outcomes: Outcomes, maps: Panels, prefix: str = ""
) -> list[Illustration]:
    alphas = sorted({alpha for _, alpha in maps})
    drawn = []
    for number, first in enumerate(range(0, len(alphas), _MAPS)):
        shown = alphas[first : first + _MAPS]
        part = {cell: panel for cell, panel in maps.items() if cell[1] in shown}
        drawn.append(
            Illustration(
                f"{prefix}feature_maps_{number + 1}",
                figures.feature_maps(part, outcomes.labels, outcomes.classes),
                f"Features of the test images by {network} "
                f"({_FIGURES.get(network, 'as in the paper’s Figures 4 and 5')})",
                "t-SNE of the penultimate features of the first finished trial; below each panel, "
                "of the features themselves: the share of ten nearest neighbours of the same class "
                f"(purity; {numbers.number(_same_class(outcomes.labels))} by chance), and how much "
                "nearer the own class is than the next (silhouette).",
            )
        )
    return drawn


def _same_class(labels: np.ndarray) -> float:
    """The chance that another image, whichever, has the same class."""
    n = np.bincount(labels)
    return float((n * (n - 1)).sum() / max(len(labels) * (len(labels) - 1), 1))


def _beside(other: Beside) -> Section:
    return Section(
        f"Beside it: {other.network}",
        f"Another study ({other.name}) of the same test images; its methods stand in its own "
        "report.",
        _feature_maps(other.network, other.outcomes, other.maps, f"{other.name}_"),
        [page.overall_table(other.overall, OVERALL)],
    )


def _cells(outcomes: Outcomes, alpha: float) -> list[tuple[str, list]]:
    """(strategy, its trials) at a share of the labels."""
    cells = [(strategy, outcomes.of(strategy, alpha)) for strategy in outcomes.strategies()]
    return [(strategy, runs) for strategy, runs in cells if runs]
