"""The study's report: tables, figures and one page made of the runs that are finished."""

import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from dermjax.stages.outcomes import Outcomes, collect
from dermjax.stages.planned import Planned
from dermjax.stages.workdir import write_text
from dermjax.training.writer import Writer


def write_report(
    config: ConfigDict,
    directory: epath.Path,
    runs: list[Planned],
    failed: dict[str, str],
    writer: Writer,
) -> None:
    """Writes everything that the study's folder has beside its runs."""
    outcomes, missing = collect(runs)
    missing |= failed
    if outcomes is None:
        writer.say("no run is finished, so there is nothing to report")
        return
    tables = directory / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    write_text(tables / "runs.csv", _runs(outcomes).to_csv(index=False))


def _runs(outcomes: Outcomes) -> pd.DataFrame:
    """One row per run."""
    return pd.DataFrame(
        [
            {
                "strategy": run.planned.strategy,
                "alpha": run.planned.alpha,
                "trial": run.planned.trial,
                **{
                    name: run.results[name]
                    for name in ("accuracy", "macro_precision", "macro_sensitivity", "best_step")
                },
                **{f"seconds_{name}": value for name, value in run.results["seconds"].items()},
            }
            for run in outcomes.runs
        ]
    )
