"""The command line: help at once, and every mistake answered by one line."""

import errno
import os
import pathlib
import re
import subprocess
import sys
import types

import jax
import pytest
from ml_collections import ConfigDict

from dermjax import main
from dermjax.cli import task
from dermjax.training import processes, watch

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def dermjax(*arguments, cwd=REPOSITORY):
    return subprocess.run(
        [sys.executable, "-m", "dermjax.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_waits_for_nothing():
    """jax and its companions take seconds to import; help must not."""
    script = (
        "import sys; sys.argv = ['dermjax', '--help']\n"
        "from dermjax import main; main.cli()\n"
        "print('imported', sorted({'jax', 'flax', 'grain', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "--config=configs/ss.py:alpha=0.1" in done.stdout
    assert "imported []" in done.stdout


def test_nothing_of_libraries_comes_after_the_end():
    """Ctrl-C in their clean-up, and what they left unfinished when a disk was full."""
    script = (
        "import atexit, os, signal, sys, time; sys.argv = ['dermjax']\n"
        "def clean_up(): os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "atexit.register(clean_up)\n"
        "async def unfinished(): pass\n"
        "left = unfinished()\n"
        "from dermjax import main; main.cli()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stderr.splitlines() == [
        "dermjax: --config is missing, as in --config=configs/ss.py:alpha=0.1"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/ss.py:alpah=0.1"], "'alpah' is not known.*did you mean 'alpha'"),
        (["--config=configs/ss.py:alpha=ten"], "alpha='ten' is not a number"),
        (["--config=configs/ss.py:alpha"], "config argument 'alpha' needs a value"),
        (["--config=configs/ss.py:trial=0.5"], "trial='0.5' is not an integer"),
        (["--config=configs/ss.py:scale=huge"], "scale=huge is not known; take one of paper"),
        (["--config=configs/simclr.py"], "does not exist; there are configs/fs.py"),
        (["--config=configs/ss.py", "--config.finetune.step=5"], "did you mean 'steps'"),
        (["--config=configs/ss.py", "--config.finetune.steps=few"], "steps=few.*wrong type"),
        (["--config=configs/fs.py", "--config.pretrain.steps=5"], "no field 'pretrain'"),
        (["--config=configs/ss.py", "--wrokdir=x"], "Unknown command line flag 'wrokdir'"),
        (["--config=configs/ss.py", "stray"], "'stray' is not understood"),
        ([], "--config is missing"),
    ],
)
def test_a_mistake_is_answered_by_one_line(arguments, message):
    done = dermjax(*arguments)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("dermjax: "), done.stderr
    assert re.search(message, lines[0]), lines[0]


def test_configs_are_found_from_any_folder(tmp_path):
    done = dermjax("--config=configs/ss.py:alpha=2,scale=demo", cwd=tmp_path)
    assert done.returncode == 2
    assert "config.data.alpha = 2.0, but it must be above 0 and at most 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_problems_of_a_manifest_come_together_with_their_rows(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not a photograph")
    manifest = tmp_path / "photos.csv"
    manifest.write_text(
        "image,label,patient,x,y,w,h\n"
        "gone.jpg,acne,p1,,,,\n"
        "broken.jpg,acne,p2,0,0,ten,5\n"
        "broken.jpg,acne,p2,0,0,ten,5\n"
    )
    done = dermjax(
        f"--config=configs/fs.py:alpha=0.5,scale=demo,data={manifest}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for problem in ("row 2: file not found", "rows 3, 4: box is not", "has only the class 'acne'"):
        assert re.search(problem, done.stderr), (problem, done.stderr)
    # Nothing was made, and the folder is free for the manifest once it is mended.
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_too_small_is_told_with_the_remedy(monkeypatch, capsys):
    def start(config, workdir):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(task, "start", start)
    monkeypatch.setattr(main, "_CONFIG", types.SimpleNamespace(value=ConfigDict({"task": "run"})))
    monkeypatch.setattr(main, "_WORKDIR", types.SimpleNamespace(value=""))
    assert main.main(None) == 2
    told = capsys.readouterr().err
    assert told.startswith("dermjax: the device's memory is too small") and told.count("\n") == 1
    assert "accumulate_steps=2" in told


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError(f"RESOURCE_EXHAUSTED: {'x' * 500}\nNo space left on device"),
    ],
)
def test_a_full_disk_is_told_with_the_remedy(monkeypatch, capsys, error):
    def start(config, workdir):
        raise error

    monkeypatch.setattr(task, "start", start)
    monkeypatch.setattr(main, "_CONFIG", types.SimpleNamespace(value=ConfigDict({"task": "run"})))
    monkeypatch.setattr(main, "_WORKDIR", types.SimpleNamespace(value=""))
    assert main.main(None) == 2
    told = capsys.readouterr().err
    assert told.startswith("dermjax: the disk is full: make room") and told.count("\n") == 1


@pytest.mark.parametrize("error", [
    ValueError("Timed out while waiting for async_write_complete barrier."),  # Orbax, saving
    ValueError("UNKNOWN: Gloo AllGather failed: pair.cc:538\nConnection reset by peer"),
    jax.errors.JaxRuntimeError("UNKNOWN: Gloo AllReduce failed: Connection reset by peer"),
])  # fmt: skip
def test_who_loses_another_process_ends_with_the_status_of_that(monkeypatch, capsys, error):
    def start(config, workdir):
        raise error

    class Left(Exception):
        pass

    def leave(status):
        raise Left(status)

    monkeypatch.setattr(task, "start", start)
    monkeypatch.setattr(main, "_CONFIG", types.SimpleNamespace(value=ConfigDict({"task": "run"})))
    monkeypatch.setattr(main, "_WORKDIR", types.SimpleNamespace(value=""))
    monkeypatch.setattr(processes, "alone", lambda: False)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Left, match=f"^{watch.GONE}$"):
        main.main(None)
    told = capsys.readouterr().err
    assert "another process is gone" in told and told.count("\n") == 1
