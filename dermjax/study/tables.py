"""What a study measures: frames of numbers, one row per cell, class, pair or subgroup.

A cell is a strategy at a share of the labels. Its value is the mean over trials; `sd` is their
standard deviation. `low` and `high` are the ends of the 95 % interval of the STRATEGY, over test
patients and trainings, where there are two trials or more; of a single trial they are those of the
network as it is, over test patients alone. `networks_low` and `networks_high` always are the
latter: of these trained networks. Errors of calibration have only that.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dermjax.data import subgroup_values
from dermjax.statistics import (
    bootstrap,
    calibration,
    classification,
    comparison,
    discrimination,
    subgroups,
)
from dermjax.statistics.intervals import Estimate
from dermjax.statistics.measurement import Measurement
from dermjax.study.results import Outcome, Outcomes
from dermjax.study.settings import StudySettings

OVERALL = classification.OVERALL
BY_CLASS = classification.BY_CLASS
COMPARED = ("accuracy", "macro_precision", "macro_sensitivity")
_AREAS = ("auroc", "auprc")
_TOP = 3


@dataclasses.dataclass(frozen=True)
class Cell:
    """A strategy at one share of the labels."""

    strategy: str
    alpha: float
    runs: tuple[Outcome, ...]  # its trials
    outcomes: Outcomes
    weights: bootstrap.PatientWeights | None  # for errors of calibration

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """`[T, B]` int."""
        return np.stack([run.predicted for run in self.runs])

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """`[T, B, N]`."""
        return np.stack([run.probabilities for run in self.runs])

    @property
    def trials(self) -> tuple[int, ...]:
        """Which trials are finished."""
        return tuple(run.planned.trial for run in self.runs)

    def of(self, trials: tuple[int, ...]) -> np.ndarray:
        """Answers `[T, B]` of some of the trials."""
        return self.predicted[[self.trials.index(trial) for trial in trials]]


def make_weights(settings: StudySettings, outcomes: Outcomes) -> bootstrap.PatientWeights | None:
    """Draws of the test patients, for errors of calibration; None of a single one."""
    if len(set(outcomes.groups)) < 2:
        return None
    return bootstrap.patient_weights(
        outcomes.groups, settings.report.resamples, settings.report.seed
    )


def make_cells(outcomes: Outcomes, weights: bootstrap.PatientWeights | None) -> list[Cell]:
    """All cells that have a finished run."""
    wanted = itertools.product(outcomes.alphas(), outcomes.strategies())
    cells = [(s, alpha, tuple(outcomes.of(s, alpha))) for alpha, s in wanted]
    return [Cell(*cell, outcomes, weights) for cell in cells if cell[2]]


def overall(cells: list[Cell], track) -> pd.DataFrame:
    """One row per cell: measures with sd and interval, ranking and calibration."""
    return pd.DataFrame([_overall(cell) for cell in track(cells, len(cells), "measuring")])


def _overall(cell: Cell) -> dict:
    out = cell.outcomes
    labels, patients, classes = out.labels, out.patients, len(out.classes)
    row = {"strategy": cell.strategy, "alpha": cell.alpha, "trials": len(cell.runs)}
    row["trial_numbers"] = _numbers(cell.trials)
    for name in OVERALL:
        found = classification.overall(name, labels, cell.predicted, patients, classes)
        row |= _measured(name, found)
    for name in _AREAS:
        found = discrimination.by_class(name, labels, cell.probabilities, patients).macro()
        row |= _measured(f"macro_{name}", found)
    k = min(_TOP, classes - 1)  # all of them together are always right
    if k > 1:  # and of two classes there is none beside the accuracy
        row |= _measured(f"top{k}", discrimination.top_k(labels, cell.probabilities, patients, k))
    row["temperature"] = float(np.mean([run.temperature for run in cell.runs]))
    scaled = np.stack([run.scaled for run in cell.runs])
    for when, probabilities in (("", cell.probabilities), ("_scaled", scaled)):
        for name, found in calibration.errors(labels, probabilities, cell.weights).items():
            row |= _ends(f"{name}{when}", found)
        for name, found in calibration.scores(labels, probabilities, patients).items():
            row |= _measured(f"{name}{when}", found)
    return row


def by_class(cells: list[Cell]) -> pd.DataFrame:
    """One row per cell and class: Table 1, and what stands behind it."""
    return pd.DataFrame(itertools.chain.from_iterable(map(_by_class, cells)))


def _by_class(cell: Cell) -> Iterator[dict]:
    out, classes = cell.outcomes, len(cell.outcomes.classes)
    given = (out.labels, cell.predicted, out.patients, classes)
    found = {name: classification.by_class(name, *given) for name in BY_CLASS}
    for name in _AREAS:
        found[name] = discrimination.by_class(name, out.labels, cell.probabilities, out.patients)
    for index, name in enumerate(out.classes):
        of_class = out.labels == index
        yield {
            "strategy": cell.strategy,
            "alpha": cell.alpha,
            "trials": len(cell.runs),
            "trial_numbers": _numbers(cell.trials),
            "class": name,
            "n": int(of_class.sum()),
            "patients": len(np.unique(out.patients[of_class])),
            "labelled": float(np.mean([run.labelled[index] for run in cell.runs])),
        } | _together(_measured(measure, every.of(index)) for measure, every in found.items())


def pairs(cells: list[Cell]) -> pd.DataFrame:
    """One row per pair of strategies, share of the labels and measure, over the trials of both.

    p is of the strategies, over patients and trainings, and missing of a single trial;
    `networks_p` is of these networks. Each is adjusted by Holm in its own family: all pairs and
    shares in one measure.
    """
    rows = []
    for first, second in _paired(cells):
        trials = tuple(sorted(set(first.trials) & set(second.trials)))
        if not trials:
            continue
        out, (one, other) = first.outcomes, (cell.of(trials) for cell in (first, second))
        tests = [comparison.mcnemar(out.labels, a, b) for a, b in zip(one, other, strict=True)]
        for measure in COMPARED:
            found = comparison.difference(
                measure, out.labels, one, other, out.patients, len(out.classes)
            )
            rows.append(
                {
                    "first": first.strategy,
                    "second": second.strategy,
                    "alpha": first.alpha,
                    "measure": measure,
                    "trials": len(trials),
                    "trial_numbers": _numbers(trials),
                    **_measured("difference", found),
                    "p": found.p_strategy(),
                    "networks_p": found.p_networks(),
                    "mcnemar_p": " ".join(f"{test.p:.3g}" for test in tests),
                }
            )
    frame = pd.DataFrame(rows, columns=None if rows else _PAIR_COLUMNS)
    frame = frame.rename(columns=lambda name: name.removeprefix("difference_"))
    for name in ("p", "networks_p"):
        adjusted = frame.groupby("measure")[name].transform(_holm) if rows else frame[name]
        frame[f"{name}_holm"] = adjusted
    return frame


_PAIR_COLUMNS = (
    *("first", "second", "alpha", "measure", "trials", "trial_numbers", "difference", "sd"),
    *("low", "high", "networks_low", "networks_high", "p", "networks_p", "mcnemar_p"),
)


def _holm(p: pd.Series) -> pd.Series:
    """Holm's adjustment of the comparisons that were made."""
    made = p[p.notna()]
    return pd.Series(comparison.holm(made), made.index).reindex(p.index)


def _paired(cells: list[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """SS against IN, SS against FS, IN against FS and so on, at the shares that both have."""
    for first, second in itertools.combinations(cells, 2):
        if first.alpha == second.alpha:
            yield first, second


def by_subgroup(cells: list[Cell], columns: list[str], minimum: int) -> pd.DataFrame:
    """One row per column, value and cell; NaN of fewer than `minimum` images.

    `worst` marks the lowest macro sensitivity of its column and cell, `gap` the highest minus it.
    """
    rows = []
    for column, cell in itertools.product(columns, cells):
        out = cell.outcomes
        grouped = subgroup_values.group(out.columns[column].to_numpy(str))
        found = subgroups.break_down(
            grouped.names,
            grouped.order,
            out.labels,
            cell.predicted,
            out.patients,
            len(out.classes),
            minimum=minimum,
        )
        worst, gap = found.worst(), found.gap()
        for part in found.subgroups:
            row = {"column": column, "strategy": cell.strategy, "alpha": cell.alpha}
            row |= {"value": part.value, "n": part.n, "patients": part.patients}
            for name in ("accuracy", "macro_sensitivity"):
                row |= _measured(name, getattr(part, name))
            rows.append(row | {"worst": part is worst, "gap": gap, "suppressed": part.suppressed})
    return pd.DataFrame(rows)


def _measured(name: str, found: Measurement | None) -> dict[str, float]:
    """Value, standard deviation over trials and both intervals as columns."""
    if found is None:
        nothing = Estimate(*[float("nan")] * 3)
        return _ends(name, nothing) | _ends(f"{name}_networks", nothing, value=False)
    networks = found.networks()
    shown = found.strategy() if len(found.values) > 1 else networks
    return (
        _ends(name, shown)
        | {f"{name}_sd": found.sd}
        | _ends(f"{name}_networks", networks, value=False)
    )


def _ends(name: str, estimate: Estimate, value: bool = True) -> dict[str, float]:
    """Value and interval as columns."""
    ends = {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return ({name: estimate.value} if value else {}) | ends


def _together(parts) -> dict:
    return {name: value for part in parts for name, value in part.items()}


def _numbers(trials: tuple[int, ...]) -> str:
    """`0 2`, as a cell of a table."""
    return " ".join(map(str, trials))


def by_run(outcomes: Outcomes) -> pd.DataFrame:
    """One row per run: its own measures and seconds."""
    names = ("accuracy", "macro_precision", "macro_sensitivity", "best_step")
    return pd.DataFrame(
        [
            {
                "strategy": run.planned.strategy,
                "alpha": run.planned.alpha,
                "trial": run.planned.trial,
                **{name: run.results[name] for name in names},
                **{f"seconds_{name}": value for name, value in run.results["seconds"].items()},
            }
            for run in outcomes.runs
        ]
    )
