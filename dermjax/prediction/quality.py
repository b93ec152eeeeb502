"""How calibrated answers did on the run's test images: as tables of the page, and as CSV files."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dermjax.experiment.reference import Reference
from dermjax.prediction.calibration import Answers, Calibration, mean_probabilities
from dermjax.report.numbers import number, percent
from dermjax.report.table import Table, unlinked
from dermjax.statistics import calibration as calibrations
from dermjax.statistics import conformal, measures, operating_point, patientwise
from dermjax.statistics.intervals import Estimate


@dataclasses.dataclass(frozen=True)
class Quality:
    """What was measured; frames have a row for each class, or for each way of answering."""

    whole: pd.DataFrame
    sets: pd.DataFrame
    points: pd.DataFrame
    unfamiliar: Estimate  # share flagged, mean over patients

    @classmethod
    def of(
        cls, fitted: Calibration, references: Sequence[Reference], classes: Sequence[str]
    ) -> "Quality":
        """Measures the answers on the test images of the runs, which nothing was fitted to."""
        test = references[0].test
        answers = fitted.answers_on_test(references)
        raw = mean_probabilities([one.test.logits for one in references])
        rows = {"uncalibrated": raw, "calibrated": answers.probabilities}
        return cls(
            whole=pd.DataFrame(
                [{"answers": k, **_quality(test.labels, p)} for k, p in rows.items()]
            ),
            sets=_sets(fitted, test.labels, test.patients, answers, classes),
            points=_points(fitted, test.labels, test.patients, answers, classes),
            unfamiliar=patientwise.mean(answers.unfamiliar, test.patients),
        )

    def frames(self) -> dict[str, pd.DataFrame]:
        """By the names of their files."""
        return {"quality": self.whole, "sets": self.sets, "operating_points": self.points}

    def tables(self, fitted: Calibration) -> list[Table]:
        """For the page."""
        return [self._quality_table(), self._set_table(), self._point_table(fitted)]

    def _quality_table(self) -> Table:
        names = [name for name in self.whole if name != "answers"]
        header = unlinked(["answers", *(name.replace("_", " ") for name in names)])
        rows = [
            [row["answers"], *(number(row[name], 3) for name in names)]
            for _, row in self.whole.iterrows()
        ]
        flagged = with_interval(self.unfamiliar)
        return Table(
            "Measured on the test photographs",
            "Of the run's own test photographs, on which nothing was chosen. Flagged as unlike the "
            f"training photographs (mean over patients): {flagged}.",
            header,
            rows,
        )

    def _set_table(self) -> Table:
        rows = [
            [
                row["class"],
                f"{row['validation_patients']:,}" if row["class"] != _ALL else "",
                {True: "yes", False: "no"}.get(row["guaranteed"], ""),
                f"{row['patients']:,}",
                with_interval(Estimate(row["coverage"], row["low"], row["high"])),
                number(row["size"], 2),
            ]
            for _, row in self.sets.iterrows()
        ]
        return Table(
            "Prediction sets on the test photographs",
            "Share of photographs whose set has the true class, and classes in a set: means over "
            "patients, with the 95 % interval over them.",
            unlinked(
                [
                    "true class",
                    "patients of validation",
                    "promised",
                    "patients of test",
                    "coverage",
                    "classes in a set",
                ]
            ),
            rows,
        )

    def _point_table(self, fitted: Calibration) -> Table:
        wished = percent(fitted.points.sensitivity)
        rows = [
            [
                row["class"],
                number(row["threshold"], 3),
                f"{row['patients']:,}",
                with_interval(Estimate(*(row[f"sensitivity{end}"] for end in _ENDS))),
                with_interval(Estimate(*(row[f"specificity{end}"] for end in _ENDS))),
            ]
            for _, row in self.points.iterrows()
        ]
        return Table(
            f"Thresholds for a sensitivity of {wished}",
            "A photograph is positive for a class whose calibrated probability is at least the "
            "threshold, which was chosen on validation; sensitivity and specificity on the test "
            "photographs, means over patients with the 95 % interval over them. A dash: too few "
            "patients of validation to choose one.",
            unlinked(["class", "threshold", "patients of test", "sensitivity", "specificity"]),
            rows,
        )


_ALL = "all"
_ENDS = ("", "_low", "_high")


def _quality(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    found = measures.measure(labels, probabilities.argmax(1), probabilities.shape[1])
    return {
        "accuracy": found.accuracy,
        "macro_sensitivity": found.macro_sensitivity,
        "log_loss": calibrations.log_loss(labels, probabilities),
        "ECE": calibrations.calibration_error(labels, probabilities),
    }


def _sets(fitted, labels, patients, answers: Answers, classes) -> pd.DataFrame:
    report = conformal.measure(labels, answers.sets, patients)
    rule = fitted.rule
    rows = [
        {
            "class": name,
            "validation_patients": int(people),
            "guaranteed": bool(sure),
            **_set_row(one),
        }
        for name, people, sure, one in zip(
            classes, rule.patients, rule.guaranteed, report.by_class, strict=True
        )
    ]
    whole = {
        "class": _ALL,
        "validation_patients": 0,
        "guaranteed": None,
        **_set_row(report.overall),
    }
    return pd.DataFrame([*rows, whole])


def _set_row(one: conformal.SetMeasures) -> dict[str, float]:
    return {
        "patients": one.patients,
        "images": one.images,
        "coverage": one.coverage.value,
        "low": one.coverage.low,
        "high": one.coverage.high,
        "size": one.size,
    }


def _points(fitted, labels, patients, answers: Answers, classes) -> pd.DataFrame:
    found = operating_point.measure(fitted.points, labels, answers.probabilities, patients)
    rows = []
    for name, one in zip(classes, found, strict=True):
        row = {
            "class": name,
            "threshold": one.threshold,
            "patients": one.patients,
            "images": one.images,
        }
        for measure in ("sensitivity", "specificity"):
            value = getattr(one, measure)
            row |= {
                measure: value.value,
                f"{measure}_low": value.low,
                f"{measure}_high": value.high,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def with_interval(found: Estimate) -> str:
    """`.91 [.85, .95]`, or a dash."""
    value = number(found.value, 2)
    if np.isnan(found.low):
        return value
    return f"{value} [{number(found.low, 2)}, {number(found.high, 2)}]"
