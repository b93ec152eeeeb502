"""The batch script hands a task its run; `python`, `srun` and others are stand-ins.

They say how they were called. With a real SLURM (22.05, one node, two tasks) it was tried by hand.
"""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "slurm.sbatch"


@pytest.fixture
def call(tmp_path):
    stand_in = tmp_path / "bin" / "python"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)

    def run(*arguments, **environment):
        path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        return subprocess.run(
            ["bash", SCRIPT, *arguments],
            env=clean | environment | {"PATH": path},
            capture_output=True,
            text=True,
        )

    return run


def test_a_task_of_the_array_does_its_run(call):
    done = call("data=a b.csv", "/shared/x y", "--config.run.seed=1", SLURM_ARRAY_TASK_ID="7")
    assert done.returncode == 0 and done.stdout.splitlines() == [
        "-m",
        "dermjax.main",
        "--config=configs/study.py:data=a b.csv",
        "--workdir=/shared/x y",
        "--config.only=7",
        "--config.run.seed=1",
    ]


def test_without_an_array_all_is_done_and_reported(call):
    assert "--config.only=-1" in call("data=photos.csv", "study").stdout.splitlines()


def test_a_missing_folder_is_told(call):
    done = call("data=photos.csv")
    assert done.returncode == 2 and "usage: sbatch" in done.stderr


@pytest.fixture
def step(tmp_path):
    """Starts the script with an `srun` that does what the test says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("scancel", "scontrol"):
        (folder / name).write_text(f'#!/bin/sh\nprintf "%s " {name} "$@" >>"{tmp_path}/called"\n')

    def run(body, *arguments, **environment):
        (folder / "srun").write_text(f'#!/bin/bash\nprintf "%s\\n" "$@"\n{body}\n')
        for program in folder.iterdir():
            program.chmod(0o755)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        clean |= {"SLURM_JOB_ID": "12", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.Popen(
            ["bash", SCRIPT, "run", *arguments],
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    run.called = lambda: (tmp_path / "called").read_text().split()
    run.was_called = lambda: (tmp_path / "called").exists()
    return run


def test_one_run_over_several_tasks(step):
    done = step("exit 3", "configs/ss.py:data=a b.csv", "/shared/x y", "--config.seed=1")
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 3 and not step.was_called()
    assert out.splitlines() == [
        "--kill-on-bad-exit=0",
        *("python", "-m", "dermjax.main"),
        "--config=configs/ss.py:data=a b.csv",
        "--workdir=/shared/x y",
        "--config.seed=1",
    ]


@pytest.mark.parametrize("status", [75, 134, 137])
def test_a_run_that_lost_a_process_goes_back_into_the_queue_but_not_for_ever(step, status):
    job = step(f"exit {status}", "configs/ss.py", "/shared/run")
    _, told = job.communicate(timeout=60)
    assert job.returncode == 0 and step.called() == ["scontrol", "requeue", "12"]
    assert f"a process was lost (status {status})" in told
    job = step(f"exit {status}", "configs/ss.py", "/shared/run", SLURM_RESTART_COUNT="10")
    job.communicate(timeout=60)
    assert job.returncode == status and step.called() == ["scontrol", "requeue", "12"]


def test_the_signal_goes_to_the_tasks_and_the_script_waits_until_they_have_saved(step):
    job = step("echo begun\nsleep 1\necho saved", "configs/ss.py", "/shared/run")
    while job.stdout.readline() != "begun\n":
        pass
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=60)
    assert (job.returncode, out) == (0, "saved\n")
    assert step.called() == ["scancel", "--signal=TERM", "12.0"]


@pytest.mark.parametrize("arguments", [["run"], ["run", "configs/ss.py"], []])
def test_a_run_without_its_folder_is_told(call, arguments):
    done = call(*arguments)
    assert done.returncode == 2 and "run CONFIG FOLDER" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", SCRIPT], check=True)
