"""The study's report: tables, figures and one page made of the runs that are finished."""

import itertools
import math

import pandas as pd
from etils import epath

from dermjax.report import numbers
from dermjax.report.table import as_frame, latex
from dermjax.runs.files import write_text
from dermjax.study import feature_maps, figures, methods_text, other_studies, page, tables
from dermjax.study import sections as study_page
from dermjax.study.plan import Planned
from dermjax.study.results import Outcomes, collect
from dermjax.study.settings import StudySettings
from dermjax.study.tables import make_weights
from dermjax.training.writer import Writer

_LEVEL = 0.05  # of the adjusted p, below which strategies are said to differ


def write_report(
    settings: StudySettings,
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
    frames = _measure(settings, outcomes, writer)
    maps = feature_maps.make(settings, directory / "feature_maps", outcomes, writer)
    others, left_out = other_studies.look(settings, directory, outcomes, writer)
    _write_tables(frames, others, directory / "tables")
    sections = study_page.sections(settings, outcomes, frames, maps, others)
    folder = directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    every = itertools.chain.from_iterable(section.drawn for section in sections)
    pictures = {drawn.name: figures.save(drawn.figure, folder, drawn.name) for drawn in every}
    shown = page.Page(
        title=f"Study of {len(outcomes.images):,} test images: {', '.join(outcomes.strategies())}",
        facts=_facts(runs, outcomes),
        findings=_findings(frames, outcomes),
        missing=missing,
        left_out=left_out,
        sections=sections,
        methods=methods_text.describe(settings, outcomes),
        checklist=methods_text.checklist(settings, outcomes),
    )
    write_text(directory / "report.html", page.render(shown, pictures))
    writer.say(f"{directory / 'report.html'}, tables/, figures/")


def _measure(
    settings: StudySettings, outcomes: Outcomes, writer: Writer
) -> dict[str, pd.DataFrame]:
    """All numbers of the report."""
    cells = tables.make_cells(outcomes, make_weights(settings, outcomes))
    columns = [name for name in settings.report.subgroups if name in outcomes.columns]
    return {
        "overall": tables.overall(cells, writer.track),
        "by_class": tables.by_class(cells),
        "pairs": tables.pairs(cells),
        "subgroups": tables.by_subgroup(cells, columns, settings.report.minimum),
        "runs": tables.by_run(outcomes),
    }


def _write_tables(
    frames: dict[str, pd.DataFrame], others: list[other_studies.Beside], folder: epath.Path
) -> None:
    """Every frame as CSV; what a paper prints also as LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    every = frames | {f"{other.name}_overall": other.overall for other in others}
    for name, frame in every.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))
    printed = {
        "overall": page.overall_table(frames["overall"], tables.OVERALL),
        "table1a": page.table_one(frames["by_class"], "precision", "a"),
        "table1b": page.table_one(frames["by_class"], "sensitivity", "b"),
    }
    for name, table in printed.items():
        write_text(folder / f"{name}.tex", latex(table))
        if name.startswith("table1"):
            write_text(folder / f"{name}.csv", as_frame(table).to_csv(index=False))


def _facts(runs: list[Planned], outcomes: Outcomes) -> list[tuple[str, str]]:
    return [
        ("runs", f"{len(outcomes.runs)} of {len(runs)}"),
        (
            "test images",
            f"{len(outcomes.images):,} of {methods_text.groups_in_words(outcomes.groups)}",
        ),
        ("classes", ", ".join(outcomes.classes)),
        ("fingerprint of the data", outcomes.runs[0].results["data_fingerprint"]),
    ]


def _findings(frames: dict[str, pd.DataFrame], outcomes: Outcomes) -> list[str]:
    """The comparisons of macro sensitivity in words, at the smallest and the largest share."""
    pairs = frames["pairs"]
    pairs = pairs[pairs["measure"] == "macro_sensitivity"]
    ends = pairs[pairs["alpha"].isin([pairs["alpha"].min(), pairs["alpha"].max()])]
    found = [_in_words(row) for row in ends.itertuples()]
    if len(ends):
        found.append(_adjusted(pairs))
        found.append(methods_text.pretrainings_in_words(outcomes))
    return [sentence for sentence in found if sentence]


def _adjusted(pairs: pd.DataFrame) -> str:
    """What stands behind the adjusted p; '' of a single comparison."""
    if pairs["networks_p"].notna().sum() < 2:
        return ""
    return (
        "p is adjusted for all comparisons in macro sensitivity (Holm), intervals are not: one may "
        "leave out 0 where strategies cannot be told apart."
    )


def _in_words(row) -> str:
    """One comparison, as far as it carries once it is adjusted for all of them."""
    if row.trials > 1:
        subject, p = "", row.p_holm
        trained = f"over test patients and the trainings of trials {_listed(row.trial_numbers)}"
    else:
        subject, p = "the one network of ", row.networks_p_holm
        trained = (
            f"over test patients; of trial {row.trial_numbers} alone, so that nothing is said of "
            "other trainings"
        )
    share = f"At {numbers.percent(row.alpha)} of the labels"
    if math.isnan(p):
        return f"{share} {row.first} and {row.second} cannot be compared: one test patient."
    ends = f"{numbers.signed(row.difference)} {numbers.signed_span(row.low, row.high)}"
    span = f"{ends} {trained}; adjusted p {numbers.p_value(p)}"
    if p >= _LEVEL:
        return (
            f"{share} {subject}{row.first} and {subject}{row.second} cannot be told apart in macro "
            f"sensitivity ({row.first} − {row.second}: {span})."
        )
    better, worse = (row.first, row.second) if row.difference > 0 else (row.second, row.first)
    return (
        f"{share} {subject}{better} has a higher macro sensitivity than {subject}{worse} "
        f"({row.first} − {row.second}: {span})."
    )


def _listed(numbers: str) -> str:
    """`0 1 2` -> `0, 1 and 2`."""
    *most, last = numbers.split()
    return f"{', '.join(most)} and {last}" if most else last
