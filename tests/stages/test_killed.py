"""kill -9 at any moment, the same command again: bit for bit what a run left alone gives."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.stages.clinic import write_clinic

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def command(folder, workdir):
    fields = {
        "model.name": "efficientnet_tiny",
        "data.max_side": 32,
        "data.workers": 2,
        "pretrain.steps": 12,
        "pretrain.batch_size": 16,
        "pretrain.image_size": 16,
        "pretrain.queue_size": 24,
        "pretrain.warmup_steps": 1,
        "pretrain.dim": 8,
        "pretrain.hidden_dim": 16,
        "pretrain.report_every": 2,
        "pretrain.save_every": 4,
        "finetune.steps": 12,
        "finetune.batch_size": 16,
        "finetune.image_size": 16,
        "finetune.warmup_steps": 1,
        "finetune.report_every": 2,
        "finetune.evaluate_every": 4,
    }
    config = f"configs/ss.py:alpha=0.5,scale=demo,data={folder / 'photos.csv'}"
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    return [
        *(sys.executable, "-m", "dermjax.main", f"--config={config}"),
        *(f"--workdir={workdir}", *overrides),
    ]


def start(folder, workdir):
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "1",
        "DERMJAX_CACHE": str(folder / "cache"),
    }
    return subprocess.Popen(
        command(folder, workdir),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Photographs and one run that nobody disturbed; later runs find its compiled steps."""
    folder = tmp_path_factory.mktemp("clinic")
    write_clinic(folder)
    process = start(folder, folder / "whole" / "run")
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    return folder


def final_state(workdir):
    """Everything a run computes: all leaves of both last checkpoints, predictions, metrics."""
    import orbax.checkpoint as ocp

    state = {}
    for stage in ("pretrain", "finetune"):
        folder = (workdir / "checkpoints" / stage).resolve()
        last = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.restore(folder / str(last) / "state")
        state[stage] = (last, [np.asarray(x) for x in _leaves(tree)])
    state["predictions"] = (workdir / "predictions.csv").read_text()
    clocked = ("images_per_second", "seconds_waiting_for_data", "seconds", "monitor_seconds")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    state["metrics"] = [
        {k: v for k, v in json.loads(line).items() if k not in clocked} for line in lines
    ]
    return state


def _leaves(tree):
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in _leaves(tree[name])]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in _leaves(item)]
    return [] if tree is None else [tree]


def assert_identical(a, b):
    for stage in ("pretrain", "finetune"):
        assert a[stage][0] == b[stage][0]
        assert len(a[stage][1]) == len(b[stage][1]) > 10
        for x, y in zip(a[stage][1], b[stage][1], strict=True):
            np.testing.assert_array_equal(x, y)
    assert a["predictions"] == b["predictions"]
    assert a["metrics"] == b["metrics"]


def steps_done(workdir):
    """Reported lines of the pretraining and the run, as progress that can be waited for."""
    files = [*workdir.parent.glob("pretrain-*/metrics.jsonl"), workdir / "metrics.jsonl"]
    return sum(len(f.read_text().splitlines()) for f in files if f.exists())


def test_killed_at_random_moments_the_end_is_identical(clinic):
    workdir = clinic / "killed" / "run"
    moments = random.Random(0)
    kills = 0
    for reported in (1, 4, 8, 15):  # inside pretraining twice, at its end, inside fine-tuning
        process = start(clinic, workdir)
        deadline = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < deadline:
            if steps_done(workdir) >= reported:
                break
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 2  # a machine so fast that nothing could be killed has not been tested
    process = start(clinic, workdir)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    assert_identical(final_state(workdir), final_state(clinic / "whole" / "run"))


def test_sigterm_saves_exits_with_0_and_resumes(clinic):
    workdir = clinic / "terminated" / "run"
    process = start(clinic, workdir)
    deadline = time.monotonic() + 200
    while process.poll() is None and steps_done(workdir) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0, out
    assert "the same command continues it" in out
    process = start(clinic, workdir)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0 and "continues at step" in out, out
    whole = final_state(clinic / "whole" / "run")
    torn = final_state(workdir)
    # A report cut short by the signal makes one more line; states and predictions are the same.
    assert_identical(torn | {"metrics": 0}, whole | {"metrics": 0})
