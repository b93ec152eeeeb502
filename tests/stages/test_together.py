"""Two real processes that train as one, by launch/local.sh: the same run as one process has.

One run goes through topologies and ends: 2 processes of 4 devices until one is told to stop, one
process of 4 devices until kill -9, then one device. Its end is that of a run that one device did.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from dermjax.training.cluster import LOCAL
from dermjax.training.watch import GONE
from tests.stages.clinic import write_clinic

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STEPS, EVERY = 40, 4
FIELDS = {
    "model.name": "efficientnet_tiny",
    "data.max_side": 32,
    "data.workers": 1,
    "pretrain.steps": STEPS,
    "pretrain.batch_size": 16,
    "pretrain.image_size": 16,
    "pretrain.queue_size": 24,
    "pretrain.dim": 8,
    "pretrain.hidden_dim": 16,
    "pretrain.report_every": EVERY,
    "pretrain.save_every": EVERY,
    # Adam makes whole steps of a gradient that is nothing but rounding.
    "pretrain.optimizer": "sgd",
    "pretrain.learning_rate": 0.01,
    "finetune.steps": STEPS,
    "finetune.batch_size": 16,
    "finetune.image_size": 16,
    "finetune.warmup_steps": 1,
    "finetune.report_every": EVERY,
    "finetune.evaluate_every": 2 * EVERY,
}
CLOCKED = {"images_per_second", "seconds", "seconds_waiting_for_data", "monitor_seconds", "stage"}


def start(folder, name, *, processes=1, devices=1, **fields):
    """The run in `folder / name`; `log` beside it has what all of its starts said."""
    workdir = folder / name / "run"
    workdir.parent.mkdir(exist_ok=True)
    fields = FIELDS | {"patience": 120} | {k.replace("__", "."): v for k, v in fields.items()}
    command = [
        *(sys.executable, "-m", "dermjax.main", f"--workdir={workdir}"),
        f"--config=configs/ss.py:alpha=0.5,scale=demo,data={folder / 'photos.csv'}",
        *(f"--config.{field}={value}" for field, value in fields.items()),
    ]
    if processes > 1:
        script = REPOSITORY / "launch" / "local.sh"
        command = ["bash", script, str(processes), f"--devices={devices}", "--grace=1", *command]
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"DERMJAX_CACHE": str(folder / "cache"), "PATH": path}
    environment |= {"JAX_NUM_CPU_DEVICES": str(devices)}
    with (workdir.parent / "log").open("a") as log:
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def steps_done(folder, name, stage):
    files = [*folder.glob(f"{name}/pretrain-*/metrics.jsonl"), folder / name / "run/metrics.jsonl"]
    lines = [json.loads(line) for f in files if f.exists() for line in f.read_text().splitlines()]
    return max((line["step"] for line in lines if line["stage"] == stage), default=0)


def wait_for(folder, name, process, stage, step=EVERY):
    """Until the run has done so many steps of a stage, and is still at work."""
    deadline = time.monotonic() + 400
    while steps_done(folder, name, stage) < step:
        assert process.poll() is None and time.monotonic() < deadline, log(folder, name)
        time.sleep(0.05)


def log(folder, name):
    return (folder / name / "log").read_text()


def process_numbers(folder, name):
    """The PIDs of `dermjax.main` in this run, by their place among the processes."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        own = f"--workdir={folder / name / 'run'}".encode() in words
        place = [e for e in environment if e.startswith(f"{LOCAL}=".encode())]
        if own and place and b"bash" not in words[0]:
            found[int(place[0].rpartition(b",")[2])] = int(entry.name)
    return found


def state(folder, name, stage):
    """All leaves of a stage's last checkpoint, and its step."""
    checkpoints = (folder / name / "run" / "checkpoints" / stage).resolve()
    step = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    with ocp.PyTreeCheckpointer() as checkpointer:
        path = checkpoints / str(step) / "state"
        shapes = checkpointer.metadata(path).item_metadata.tree
        as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
        found = checkpointer.restore(
            path,
            args=ocp.args.PyTreeRestore(
                restore_args=ocp.tree.utils.tree_map(lambda _: as_numpy, shapes)
                if hasattr(ocp.tree, "utils") and hasattr(ocp.tree.utils, "tree_map")
                else __import__("jax").tree.map(lambda _: as_numpy, shapes)
            ),
        )
    return step, found


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    write_clinic(folder)
    return folder
