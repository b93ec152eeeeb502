"""The benchmarks of preparation and of training's input run as a user runs them, on toy sizes."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "sched_setaffinity"),
        reason="the benchmarks pin themselves to cores, on Linux",
    ),
]
FOLDER = pathlib.Path(__file__).parent


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_preparation():
    printed = run("preparation.py", "--quick")
    assert re.search(r"reduced over full +[\d.]+ x; PSNR at least [\d.]+ dB", printed)
    whole = int(re.search(r"killed with whole shards +(\d+) of 8", printed)[1])
    made = int(re.search(r"crops made on resuming +(\d+) of 8", printed)[1])
    assert whole >= 4 and made <= 8 - whole  # one crop to a shard
    assert re.search(r"four times as many +[\d.]+ x", printed)


def test_training_input():
    printed = run("training_input.py", "--quick")
    for form in ("bare decoder", "jpeg", "pixels"):
        assert re.search(rf"^{form} +1 +[\d,]+ +[\d,]+ +\d+%$", printed, re.MULTILINE)


def test_help():
    for script in ("preparation.py", "training_input.py"):
        assert "--quick" in run(script, "--help")
