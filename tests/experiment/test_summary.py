"""What a finished run says in the terminal."""

import re

from dermjax.experiment.summary import summary


def results(sensitivity: float, **more):
    rows = {
        "acne": {"precision": 0.5, "sensitivity": sensitivity, "n": 4},
        "a long name of a rare disease": {"precision": None, "sensitivity": None, "n": 0},
    }
    return {
        "task": "run",
        "strategy": "SS",
        "model": "efficientnet_mini",
        "alpha": 0.1,
        "trial": 0,
        "n": {"train_labelled": 5, "train": 50, "validation": 6, "test": 4},
        "best_step": 40,
        "classes": list(rows),
        "per_class": rows,
        "macro_precision": 0.5,
        "macro_sensitivity": sensitivity,
        "accuracy": sensitivity + 0.125,
        "pretraining": "pretrain",
        **more,
    }


def table(text: str) -> dict[str, list[str]]:
    """The cells of each line of the table, by its first one."""
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if len(cells) > 1}


def test_without_a_control_there_is_one_sensitivity():
    found = table(summary(results(0.75), "runs/mine"))
    assert found["test set"] == ["precision", "sensitivity", "n"]
    assert found["acne"] == ["0.500", "0.750", "4"]
    assert found["a long name of a rare disease"] == ["-", "-", "0"]
    assert found["accuracy"] == ["0.875"]


def test_the_control_stands_beside_class_by_class():
    text = summary(results(0.75, without_pretraining=results(0.25)), "runs/mine")
    found = table(text)
    assert found["test set"] == ["precision", "sensitivity", "without pretraining", "n"]
    assert found["acne"] == ["0.500", "0.750", "0.250", "4"]
    assert found["macro mean"] == ["0.500", "0.750", "0.250", "4"]
    assert found["accuracy"] == ["0.875", "0.375"]
    assert "the same fine-tuning on the same labels" in text
