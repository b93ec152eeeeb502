"""The batch script hands a task its run; `python` is a stand-in that says how it was called."""

import os
import pathlib
import shutil
import subprocess

import pytest

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


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", SCRIPT], check=True)
