"""The control: the same labels without pretraining, beside the run."""

import os
import signal

import pytest

from dermjax.cli import task
from dermjax.experiment import control, evaluate
from tests.experiment.run_files import config_of, read_results


def test_the_control_is_a_run_from_scratch_on_the_same_labels(base, monkeypatch, capsys):
    """The very numbers of FS, also where it was stopped in between."""
    ss = base / "runs" / "with_control"
    config = config_of(base, "SS", control=True)
    with monkeypatch.context() as patch:
        patch.setattr(control, "evaluate", stopped_by_a_signal)
        assert task.start(config, str(ss)) == 0
    assert not (ss / "results.json").exists()
    assert task.start(config, str(ss)) == 0
    assert "without pretraining" in capsys.readouterr().out
    fs = base / "runs" / "fs"
    assert task.start(config_of(base, "FS"), str(fs)) == 0
    beside, alone = ss / control.FOLDER, fs
    for name in ("predictions.csv", "validation_predictions.csv"):
        assert (beside / name).read_bytes() == (alone / name).read_bytes()
    measured, expected = read_results(ss)[control.FOLDER], read_results(fs)
    assert measured == {name: expected[name] for name in measured}
    for name in ("accuracy", "macro_sensitivity", "per_class", "best_step"):
        assert name in measured
    assert (
        read_results(ss)["macro_sensitivity"]
        == read_results(base / "runs" / "ss")["macro_sensitivity"]
    )


def stopped_by_a_signal(*args):
    """The control's evaluation when SIGTERM has just come."""
    os.kill(os.getpid(), signal.SIGTERM)
    return evaluate.evaluate(*args)


def test_a_control_needs_a_pretraining(base):
    with pytest.raises(ValueError, match="config.control = True"):
        task.start(config_of(base, "FS", control=True), str(base / "runs" / "none"))
