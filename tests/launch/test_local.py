"""launch/local.sh: the processes find each other, end together, and are heard when one fails."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "local.sh"
HEAD = """
import os, pathlib, signal, sys, time
place = os.environ["DERMJAX_PROCESS"]
index = int(place.rpartition(",")[2])
folder = pathlib.Path(sys.argv[1])
(folder / f"process-{index}").write_text(place + " " + os.environ["JAX_NUM_CPU_DEVICES"])
def save(*_):
    with (folder / "signals").open("a") as file:
        file.write(f"{index}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("words of", index, flush=True)
"""


def start(folder, body, *options, count="3"):
    program = folder / "program.py"
    program.write_text(HEAD + body)
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", SCRIPT, count, *options, sys.executable, program, folder],
        env=os.environ | {"PATH": path, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def places(folder):
    return [path.read_text() for path in sorted(folder.glob("process-*"))]


def until_begun(folder, count):
    while len(places(folder)) < count or "" in places(folder):
        time.sleep(0.02)


def test_processes_know_each_other_and_one_speaks(tmp_path):
    done = start(tmp_path, "", "--devices=4")
    out, told = done.communicate(timeout=60)
    assert (done.returncode, out, told) == (0, "words of 0\n", "")
    found = [re.fullmatch(r"(127\.0\.0\.1:\d+),3,(\d) 4", place) for place in places(tmp_path)]
    assert [place[2] for place in found] == ["0", "1", "2"]
    assert len({place[1] for place in found}) == 1
    assert not list(tmp_path.glob("tmp.*"))  # words of processes that all went well


def test_the_highest_status_counts_and_words_are_kept(tmp_path):
    done = start(tmp_path, "sys.exit([0, 5, 3][index])")
    _, told = done.communicate(timeout=60)
    assert done.returncode == 5
    assert "process 1 of 3 ended with status 5" in told and "process 2 of 3" in told
    (words,) = tmp_path.glob("tmp.*")
    assert str(words) in told and (words / "process-1.log").read_text() == "words of 1\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_each_process_once(tmp_path, number):
    running = start(tmp_path, "time.sleep(60)")
    until_begun(tmp_path, 3)
    time.sleep(0.3)
    running.send_signal(number)
    running.communicate(timeout=30)
    assert running.returncode == 0
    assert sorted((tmp_path / "signals").read_text().split()) == ["0", "1", "2"]


def test_who_still_runs_long_after_another_has_ended_is_ended(tmp_path):
    started = time.monotonic()
    done = start(tmp_path, "time.sleep(0 if index == 1 else 60)", "--grace=1")
    _, told = done.communicate(timeout=40)
    assert done.returncode == 137 and time.monotonic() - started < 30
    assert "2 of 3 processes still run 1 s after one ended" in told


@pytest.mark.parametrize("arguments", [[], ["0", "true"], ["2"], ["2", "--devices=x", "true"]])
def test_wrong_use_is_one_line(arguments):
    done = subprocess.run(["bash", SCRIPT, *arguments], capture_output=True, text=True)
    assert (
        done.returncode == 2 and done.stderr.startswith("usage: ") and "\n" not in done.stderr[:-1]
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", SCRIPT], check=True)
