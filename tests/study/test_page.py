"""Numbers on the study's page: as printed, and the best of those that are printed."""

import math

import pandas as pd
import pytest

from dermjax.report import numbers
from dermjax.study import page


def frame(*values):
    return pd.DataFrame(
        {
            "strategy": [f"S{i}" for i in range(len(values))],
            "alpha": 1.0,
            "trials": 2,
            "trial_numbers": "0 1",
            "class": "a",
            "n": 5,
            "accuracy": values,
            "accuracy_sd": 0.01,
            "accuracy_low": 0.1,
            "accuracy_high": 0.9,
        }
    )


@pytest.mark.parametrize(
    "values, overall, by_class",
    [
        ((0.561, 0.558), [True, False], [True, True]),  # three digits there, two here
        ((0.5614, 0.5611), [True, True], [True, True]),
        ((0.615, 0.62), [False, True], [False, True]),  # printed .61: numpy would make it .62
        ((math.nan, 0.2), [False, True], [False, True]),
    ],
)
def test_the_best_is_the_best_as_it_is_printed(values, overall, by_class):
    table = page.overall_table(frame(*values), ["accuracy"])
    assert [row[-1] for row in table.best] == overall
    (row,) = page.table_one(frame(*values), "accuracy", "").best
    assert row[2:] == by_class


def test_differences_are_printed_with_their_sign():
    assert numbers.signed(-0.0123) == "−.012" and numbers.signed(0.5) == "+.500"
    assert numbers.signed(-1.0) == "−1.000" and numbers.signed(-1e-9) == ".000"
    assert numbers.signed(0.161, 2) == "+.16"
    assert numbers.signed_span(-0.0123, 0.034) == "[−.012, +.034]"
    assert numbers.signed_span(math.nan, math.nan) == "–"


def test_words_that_the_tables_use_are_defined():
    text = page.DEFINITIONS["strategy"]
    assert all(f"{name}:" in text for name in ("SS", "IN", "SS-IN", "FS"))
    header = [name for _, name in page.overall_table(frame(0.5), ["accuracy"]).header]
    assert header == ["alpha", "strategy", "sd", "accuracy"]
    assert set(header) <= set(page.DEFINITIONS)
