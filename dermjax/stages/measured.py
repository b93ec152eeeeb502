"""What a study measures: frames of numbers, one row per cell, class, pair or subgroup.

A cell is a strategy at a share of the labels. Its value is the mean over trials; `sd` is their
standard deviation (over labelled subsets), `low` and `high` the 95 % interval over resampled test
patients. They say different things and are never added up.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dermjax.analysis import bootstrap, calibration, comparison, discrimination, subgroups
from dermjax.stages.outcomes import Outcome, Outcomes

OVERALL = ("accuracy", "macro_precision", "macro_sensitivity", "macro_f1")
BY_CLASS = ("precision", "sensitivity", "specificity", "npv", "f1")
COMPARED = ("accuracy", "macro_precision", "macro_sensitivity")
_RANKING = {"macro_auroc": "macro_auroc", "macro_auprc": "macro_auprc"}
_CALIBRATION = ("ece", "classwise_ece", "brier", "log_loss")
_TOP = 3


@dataclasses.dataclass(frozen=True)
class Cell:
    """A strategy at one share of the labels."""

    strategy: str
    alpha: float
    runs: tuple[Outcome, ...]  # its trials
    resampled: bootstrap.Resampled  # what follows from the answers
    ranking: bootstrap.Resampled
    calibration: bootstrap.Resampled
    scaled: bootstrap.Resampled  # calibration after temperature scaling


def make_cells(outcomes: Outcomes, weights: bootstrap.PatientWeights, track) -> list[Cell]:
    """All cells that have a finished run, measured on the same draws of patients."""
    wanted = [
        (strategy, alpha, tuple(outcomes.of(strategy, alpha)))
        for alpha in outcomes.alphas()
        for strategy in outcomes.strategies()
    ]
    wanted = [cell for cell in wanted if cell[2]]
    return [
        _cell(outcomes, weights, *cell)
        for cell in track(wanted, len(wanted), "resampling patients")
    ]


def _cell(outcomes: Outcomes, weights: bootstrap.PatientWeights, strategy, alpha, runs) -> Cell:
    labels, classes = outcomes.labels, len(outcomes.classes)
    predicted = np.stack([run.predicted for run in runs])
    probabilities = np.stack([run.probabilities for run in runs])
    scaled = np.stack([run.scaled for run in runs])
    return Cell(
        strategy,
        alpha,
        runs,
        bootstrap.resample(labels, predicted, weights, classes),
        discrimination.resample(labels, probabilities, weights, _top(classes)),
        calibration.resample(labels, probabilities, weights),
        calibration.resample(labels, scaled, weights),
    )


def _top(classes: int) -> int:
    """k of the top-k accuracy: always fewer than the classes."""
    return min(_TOP, classes - 1)


def overall(outcomes: Outcomes, cells: list[Cell]) -> pd.DataFrame:
    """One row per cell: measures with sd and interval, ranking and calibration."""
    rows = []
    for cell in cells:
        row = {"strategy": cell.strategy, "alpha": cell.alpha, "trials": len(cell.runs)}
        for name in OVERALL:
            trials = [getattr(_alone(outcomes, run), name) for run in cell.runs]
            row |= _estimated(name, cell.resampled.estimate(name)) | {f"{name}_sd": _sd(trials)}
        k = _top(len(outcomes.classes))
        # Of two classes there is none beside the accuracy: both together are always right.
        for name, measure in (_RANKING | ({f"top{k}": "top_k"} if k > 1 else {})).items():
            row |= _estimated(name, cell.ranking.estimate(measure))
        row["temperature"] = float(np.mean([run.temperature for run in cell.runs]))
        for when, resampled in (("", cell.calibration), ("_scaled", cell.scaled)):
            for name in _CALIBRATION:
                row |= _estimated(f"{name}{when}", resampled.estimate(name))
        rows.append(row)
    return pd.DataFrame(rows)


def by_class(outcomes: Outcomes, cells: list[Cell]) -> pd.DataFrame:
    """One row per cell and class: Table 1, and what stands behind it."""
    rows, n = [], np.bincount(outcomes.labels, minlength=len(outcomes.classes))
    for cell in cells:
        found = {name: cell.resampled.estimate(name) for name in BY_CLASS}
        alone = [_alone(outcomes, run) for run in cell.runs]
        areas = {name: cell.ranking.estimate(name) for name in ("auroc", "auprc")}
        for index, name in enumerate(outcomes.classes):
            row = {"strategy": cell.strategy, "alpha": cell.alpha, "class": name, "n": n[index]}
            row["labelled"] = float(np.mean([run.labelled[index] for run in cell.runs]))
            for measure, estimate in found.items():
                row |= _estimated(measure, estimate.of(index))
                row[f"{measure}_sd"] = _sd([getattr(one, measure)[index] for one in alone])
            for measure, estimate in areas.items():
                row |= _estimated(measure, estimate.of(index))
            rows.append(row)
    return pd.DataFrame(rows)


def pairs(outcomes: Outcomes, cells: list[Cell]) -> pd.DataFrame:
    """One row per pair of strategies, share of the labels and measure; p adjusted by Holm.

    A family is all pairs and shares in one measure.
    """
    rows = []
    for first, second in _paired(cells):
        trials = [
            comparison.mcnemar(outcomes.labels, one.predicted, other.predicted)
            for one, other in zip(first.runs, second.runs, strict=False)
            if one.planned.trial == other.planned.trial
        ]
        for measure in COMPARED:
            found = comparison.difference(first.resampled, second.resampled, measure)
            rows.append(
                {
                    "first": first.strategy,
                    "second": second.strategy,
                    "alpha": first.alpha,
                    "measure": measure,
                    "difference": found.estimate.value,
                    "low": found.estimate.low,
                    "high": found.estimate.high,
                    "p": found.p,
                    "mcnemar_p": " ".join(f"{trial.p:.3g}" for trial in trials),
                }
            )
    frame = pd.DataFrame(rows, columns=_PAIR_COLUMNS[:-1])
    adjusted = frame.groupby("measure")["p"].transform(comparison.holm) if rows else frame["p"]
    return frame.assign(p_holm=adjusted)


_PAIR_COLUMNS = (
    *("first", "second", "alpha", "measure", "difference", "low", "high", "p", "mcnemar_p"),
    "p_holm",
)


def _paired(cells: list[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """SS against IN, SS against FS, IN against FS, at the shares that both have."""
    for first, second in itertools.combinations(cells, 2):
        if first.alpha == second.alpha:
            yield first, second


def by_subgroup(
    outcomes: Outcomes,
    cells: list[Cell],
    weights: bootstrap.PatientWeights,
    columns: list[str],
    minimum: int,
) -> pd.DataFrame:
    """One row per column, value and cell; NaN of fewer than `minimum` images.

    `worst` marks the lowest macro sensitivity of its column and cell, `gap` the highest minus it.
    """
    rows = []
    for column, cell in itertools.product(columns, cells):
        found = subgroups.break_down(
            outcomes.columns[column].to_numpy(str),
            outcomes.labels,
            np.stack([run.predicted for run in cell.runs]),
            weights,
            len(outcomes.classes),
            minimum=minimum,
        )
        worst, gap = found.worst(), found.gap()
        for part in found.subgroups:
            row = {"column": column, "strategy": cell.strategy, "alpha": cell.alpha}
            row |= {"value": part.value, "n": part.n, "patients": part.patients}
            for name in ("accuracy", "macro_sensitivity"):
                row |= _estimated(name, getattr(part, name))
            rows.append(row | {"worst": part is worst, "gap": gap, "suppressed": part.suppressed})
    return pd.DataFrame(rows)


def _estimated(name: str, estimate: bootstrap.Estimate | None) -> dict[str, float]:
    """Value and interval as columns."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _alone(outcomes: Outcomes, run: Outcome) -> bootstrap.Measures:
    """A run's measures on the test set as it is."""
    classes = len(outcomes.classes)
    cells = np.bincount(outcomes.labels * classes + run.predicted, minlength=classes**2)
    return bootstrap.measures_of(cells.reshape(classes, classes))


def _sd(values: list[float]) -> float:
    """Standard deviation of a sample; NaN of one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


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
