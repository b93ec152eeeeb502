"""The evidence: a plan's study, probes and tables; its stop, and what can travel."""

import dataclasses
import re
import signal
import subprocess
import sys
import zipfile

import _pack
import evidence
import pandas as pd
import pytest
from PIL import Image

from tests.experiment.clinic import write_clinic, write_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """(folder, manifest, weights); one cache for all."""
    folder = tmp_path_factory.mktemp("evidence")
    manifest, weights = write_clinic(folder), write_weights(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMJAX_CACHE", str(folder / "cache"))
        toy = dataclasses.replace(
            evidence.PLANS["toy"],
            strategies="SS+IN",
            trials=1,
            splits=1,
            alphas="0.5",
            pretraining="tiny",
        )
        patch.setitem(evidence.PLANS, "toy", toy)
        yield folder, manifest, weights


def start(monkeypatch, room, *flags):
    folder, manifest, weights = room
    words = [f"--data={manifest}", f"--folder={folder / 'evidence'}", "--plans=toy"]
    words += [f"--weights=efficientnet_tiny={weights}", *flags]
    monkeypatch.setattr("sys.argv", ["evidence.py", *words])
    assert evidence.main() == 0


def test_a_plan_is_done_stopped_and_gone_on_with(monkeypatch, room, capfd):
    start(monkeypatch, room, "--minutes=0.0001")
    said = capfd.readouterr().out
    assert "stopped after" in said and "| SS | - | - |" in said
    start(monkeypatch, room, "--workers=2", f"--results={room[0] / 'results.zip'}")
    said = capfd.readouterr().out
    for strategy in ("SS", "IN"):
        rows = [line for line in said.splitlines() if line.startswith(f"| {strategy} |")]
        assert len(rows) == 2  # fine-tuned, and a probe of the frozen features
        cells = " ".join(row.split("|")[-2] for row in rows)
        numbers = [float(n) for n in re.findall(r"\d?\.\d+", cells)]
        assert len(numbers) == 4 and all(0 <= n <= 1 for n in numbers), rows
        assert f"{strategy} alpha 0.5: 4: " in said  # validation on the way
    assert (room[0] / "evidence" / "pretrain-tiny-split0" / "metrics.jsonl").exists()
    report = evidence.folder(room[0] / "evidence", "toy", 0) / "report.html"
    assert str(report) in said and report.exists()
    names = zipfile.ZipFile(room[0] / "results.zip").namelist()
    assert any(name.endswith("ss-alpha0.5-trial0/predictions.csv") for name in names)
    assert not any("checkpoints" in name or name.endswith(".npz") for name in names)
    start(monkeypatch, room)
    assert "all 2 runs are done" not in capfd.readouterr().err  # nothing is trained again
    before = report.parent / "runs" / "ss-alpha0.5-trial0" / "metrics.jsonl"
    assert before.read_text().count('"finetune"') == 2


def test_what_does_not_save_in_time_is_ended_without_a_traceback(monkeypatch):
    monkeypatch.setattr(evidence, "_GRACE", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    )
    command = [sys.executable, "-c", f"{deaf}; time.sleep(60)"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == b"1\n"
    evidence._stop(running)
    assert [process.returncode for process in running] == [-signal.SIGKILL] * 2


def test_without_weights_there_is_nothing_that_starts_from_them():
    plan = evidence.PLANS["gpu_b0"]
    assert evidence.strategies(plan, {}) == ["SS", "FS"]
    assert evidence.strategies(plan, {"efficientnet_b4": "b4"}) == ["SS", "FS"]
    assert evidence.strategies(plan, {"efficientnet_b0": "b0"}) == ["SS", "SS-IN", "IN", "FS"]


def test_an_unknown_plan_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evidence.py", "--data=x", "--folder=y", "--plans=tpu"])
    with pytest.raises(SystemExit):
        evidence.main()
    assert "no plan 'tpu'" in capsys.readouterr().err


def test_a_packed_data_set_has_every_row_small_and_who_is_who(monkeypatch, room, tmp_path):
    _, manifest, _ = room
    monkeypatch.setattr(_pack, "requirements", lambda: {"numpy": "1.0"})
    (tmp_path / "have.txt").write_text("NumPy==2.0\n")
    words = [f"--data={manifest}", f"--pack={tmp_path / 'pack'}", "--side=20"]
    monkeypatch.setattr("sys.argv", ["evidence.py", *words, f"--have={tmp_path / 'have.txt'}"])
    assert evidence.main() == 0
    was, table = pd.read_csv(manifest), pd.read_csv(tmp_path / "pack" / "photos.csv")
    assert sorted(zip(was["label"], was["patient"], strict=True)) == sorted(
        zip(table["label"], table["patient"], strict=True)
    )
    for name in table["image"]:
        assert max(Image.open(tmp_path / "pack" / name).size) == 20
    assert not list((tmp_path / "pack" / "wheels").iterdir())  # numpy is there


def test_all_that_dermjax_requires_is_named_with_what_that_requires():
    found = _pack.requirements()
    assert {"jax", "jaxlib", "grain", "array-record", "promise"} <= set(found)
    assert "pytest" not in found and "torch" not in found
