"""The study's report: tables, figures and one page made of the runs that are finished."""

import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from dermjax.analysis import bootstrap, calibration
from dermjax.report import charts, published
from dermjax.report import study as page
from dermjax.stages import feature_maps, measured, methods
from dermjax.stages.outcomes import Outcomes, collect
from dermjax.stages.planned import Planned
from dermjax.stages.workdir import write_text
from dermjax.training.writer import Writer

_LEVEL = 0.05  # of the adjusted p, below which strategies are said to differ
_MAPS = 4  # panels side by side
_OVERALL = ("accuracy", "macro_precision", "macro_sensitivity", "macro_f1")
_RANKING = ("macro_auroc", "macro_auprc", "top3")
_RANKED_BY_CLASS = ("auroc", "auprc", "specificity", "npv", "f1")
_CALIBRATION = ("temperature", "ece", "classwise_ece", "brier", "log_loss")


def write_report(
    config: ConfigDict,
    directory: epath.Path,
    runs: list[Planned],
    failed: dict[str, str],
    writer: Writer,
) -> None:
    """Writes `report.html`, `tables/` and `figures/` beside the runs; says where."""
    outcomes, missing = collect(runs)
    missing |= failed
    if outcomes is None:
        writer.say("no run is finished, so there is nothing to report")
        return
    frames = _measure(config, outcomes, writer)
    _write_tables(frames, directory / "tables")
    maps = feature_maps.make(config, directory, outcomes, writer) if config.report.tsne else {}
    figures = _draw(config, outcomes, frames, maps)
    folder = directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (figure, *_) in figures.items():
        charts.save(figure, folder, name)
    sections = _sections(outcomes, frames, figures)
    text = page.render(
        title=f"Study of {len(outcomes.images):,} test images: {', '.join(outcomes.strategies())}",
        facts=_facts(runs, outcomes),
        findings=_findings(frames),
        missing=missing,
        sections=sections,
        methods=methods.describe(config, outcomes),
        checklist=methods.checklist(outcomes),
    )
    write_text(directory / "report.html", text)
    writer.say(f"{directory / 'report.html'}, tables/, figures/")


def _measure(config: ConfigDict, outcomes: Outcomes, writer: Writer) -> dict[str, pd.DataFrame]:
    """All numbers of the report."""
    weights = bootstrap.patient_weights(
        outcomes.groups, config.report.resamples, config.report.seed
    )
    cells = measured.make_cells(outcomes, weights, writer.track)
    columns = [name for name in config.report.subgroups if name in outcomes.columns]
    return {
        "overall": measured.overall(outcomes, cells),
        "by_class": measured.by_class(outcomes, cells),
        "pairs": measured.pairs(outcomes, cells),
        "subgroups": measured.by_subgroup(outcomes, cells, weights, columns, config.report.minimum),
        "runs": measured.by_run(outcomes),
    }


def _write_tables(frames: dict[str, pd.DataFrame], folder: epath.Path) -> None:
    """Every frame as CSV; what a paper prints also as LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))
    printed = {
        "overall": page.overall_table(frames["overall"], _OVERALL),
        "table1a": page.table_one(frames["by_class"], "precision", "a"),
        "table1b": page.table_one(frames["by_class"], "sensitivity", "b"),
    }
    for name, table in printed.items():
        write_text(folder / f"{name}.tex", page.latex(table))
        if name.startswith("table1"):
            write_text(folder / f"{name}.csv", page.as_frame(table).to_csv(index=False))


def _draw(config, outcomes: Outcomes, frames, maps) -> dict[str, tuple]:
    """(figure, heading, caption) by the name of its file."""
    figures = {
        "figure3": (
            charts.strategies_against_alpha(
                frames["overall"],
                published.overall() if published.are_its_classes(outcomes.classes) else None,
            ),
            "Figure 3",
            "Mean over trials, bars: ± one standard deviation over trials; shaded: 95 % interval "
            "over test patients. The paper's points, where the classes are its own, are of its "
            "photographs, which are others.",
        ),
        "rare_classes": (
            charts.sensitivity_against_labels(frames["by_class"]),
            "Sensitivity against the labelled images of a class",
            "A point per class and share of the labels, means over trials; thick: each strategy's "
            "running median. Below, each class alone, the rarest first.",
        ),
    }
    if len(frames["pairs"]):
        figures["differences"] = (
            charts.differences(frames["pairs"]),
            "Differences between strategies",
            "First minus second strategy on the same draws of patients, 95 % interval.",
        )
    for alpha in sorted({outcomes.alphas()[0], outcomes.alphas()[-1]}):
        shown = [s for s in outcomes.strategies() if outcomes.of(s, alpha)]
        figures[f"confusion_alpha{alpha:g}"] = (
            charts.confusion_matrices(
                [(f"{s}, {page.percent(alpha)}", _confusion(outcomes, s, alpha)) for s in shown],
                outcomes.classes,
            ),
            f"Confusion matrices at {page.percent(alpha)} of the labels",
            "Images by true class (rows) and answer, means over trials; shade: share of the row.",
        )
        figures[f"reliability_alpha{alpha:g}"] = (
            charts.reliability([(s, _reliability(outcomes, s, alpha)) for s in shown]),
            f"Reliability at {page.percent(alpha)} of the labels",
            "Accuracy against confidence, all trials together; on the diagonal a probability means "
            "what it says. After: divided by the temperature that validation images gave. Hollow: "
            "fewer than ten images.",
        )
    for column, rows in (
        frames["subgroups"].groupby("column", sort=False) if len(frames["subgroups"]) else ()
    ):
        alpha = outcomes.alphas()[0]
        figures[f"subgroups_{column}"] = (
            charts.subgroups(rows[rows["alpha"] == alpha], config.report.minimum),
            f"By {column}, at {page.percent(alpha)} of the labels",
            "Means over trials with 95 % intervals over patients; of parts with fewer than "
            f"{config.report.minimum} images nothing is shown.",
        )
    alphas = sorted({alpha for _, alpha in maps})
    for first in range(0, len(alphas), _MAPS):
        shown = alphas[first : first + _MAPS]
        part = {cell: panel for cell, panel in maps.items() if cell[1] in shown}
        figures[f"feature_maps_{first // _MAPS + 1}"] = (
            charts.feature_maps(part, outcomes.labels, outcomes.classes),
            "Features of the test images (the paper's Figures 4 and 5)",
            "t-SNE of the penultimate features of a trial; below each panel, of the features "
            "themselves: the share of ten nearest neighbours of the same class (purity), and how "
            "much nearer the own class is than the next (silhouette).",
        )
    return figures


def _confusion(outcomes: Outcomes, strategy: str, alpha: float) -> np.ndarray:
    """Mean over trials, `[N, N]`."""
    runs = outcomes.of(strategy, alpha)
    return np.mean([run.results["confusion_matrix"] for run in runs], axis=0)


def _reliability(outcomes: Outcomes, strategy: str, alpha: float) -> dict[str, tuple]:
    """Bins before and after scaling, of all trials together."""
    runs = outcomes.of(strategy, alpha)
    labels = np.concatenate([outcomes.labels] * len(runs))
    found = {}
    for name, parts in (
        ("before", [run.probabilities for run in runs]),
        ("after", [run.scaled for run in runs]),
    ):
        bins = calibration.reliability(labels, np.concatenate(parts))
        found[name] = (bins.count, bins.confidence, bins.accuracy, bins.calibration_error)
    return found


def _sections(outcomes: Outcomes, frames, figures) -> list[page.Section]:
    """The page from the answer to the details."""

    def plots(*names):
        return [
            page.Plot(heading, caption, charts.png(figure), f"{heading}: {caption}")
            for name, (figure, heading, caption) in figures.items()
            if name.split("_alpha")[0] in names or name.startswith(tuple(f"{n}_" for n in names))
        ]

    overall, by_class = frames["overall"], frames["by_class"]
    sections = [
        page.Section(
            "Strategies",
            "",
            plots("figure3"),
            [page.overall_table(overall, _OVERALL)],
        ),
        page.Section(
            "Classes",
            "",
            plots("rare_classes"),
            [
                page.table_one(by_class, "precision", "a"),
                page.table_one(by_class, "sensitivity", "b"),
            ],
        ),
        page.Section(
            "Differences",
            "",
            plots("differences"),
            [page.pairs_table(frames["pairs"])] if len(frames["pairs"]) else [],
        ),
        page.Section("Confusion", "", plots("confusion")),
        page.Section(
            "Ranking",
            "Whatever the threshold.",
            (),
            [
                page.plain_table("Ranking", overall, _RANKING),
                *(page.table_one(by_class, name, "", intervals=True) for name in _RANKED_BY_CLASS),
            ],
        ),
        page.Section(
            "Calibration",
            "",
            plots("reliability"),
            [
                page.plain_table("As the networks answer", overall, _CALIBRATION),
                page.plain_table(
                    "After temperature scaling", overall, _CALIBRATION[1:], suffix="_scaled"
                ),
            ],
        ),
    ]
    if len(frames["subgroups"]):
        sections.append(
            page.Section(
                "Subgroups",
                "The gap of many small parts is large by chance alone: read it with the intervals.",
                plots("subgroups"),
                [page.gaps_table(frames["subgroups"])],
            )
        )
    if "feature_maps_1" in figures:
        sections.append(page.Section("Features", "", plots("feature_maps")))
    return sections


def _facts(runs: list[Planned], outcomes: Outcomes) -> list[tuple[str, str]]:
    return [
        ("runs", f"{len(outcomes.runs)} of {len(runs)}"),
        ("test images", f"{len(outcomes.images):,} of {len(set(outcomes.groups)):,} patients"),
        ("classes", ", ".join(outcomes.classes)),
        ("data", outcomes.runs[0].results["data_fingerprint"]),
    ]


def _findings(frames: dict[str, pd.DataFrame]) -> list[str]:
    """The comparisons of macro sensitivity in words, at the smallest and the largest share."""
    pairs = frames["pairs"]
    pairs = pairs[pairs["measure"] == "macro_sensitivity"]
    ends = pairs[pairs["alpha"].isin([pairs["alpha"].min(), pairs["alpha"].max()])]
    return [_in_words(row) for row in ends.itertuples()]


def _in_words(row) -> str:
    """One comparison, as far as it carries once it is adjusted for all of them."""
    span = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}], adjusted p {row.p_holm:.3g}"
    share = page.percent(row.alpha)
    if row.p_holm >= _LEVEL:
        return (
            f"At {share} of the labels {row.first} and {row.second} cannot be told apart in macro "
            f"sensitivity ({span})."
        )
    better, worse = (row.first, row.second) if row.difference > 0 else (row.second, row.first)
    return (
        f"At {share} of the labels {better} has a higher macro sensitivity than {worse} "
        f"({row.first} − {row.second} {span})."
    )
