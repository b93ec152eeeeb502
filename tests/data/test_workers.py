"""Work by several processes: the same results in order, few made ahead, and no process left."""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from dermjax.data.workers import WORTH, in_order

COUNT = 4 * WORTH


def whoami(item):
    return item, os.getpid()


def meet(item, *, folder):
    """Whoami of a worker that goes on when there is another."""
    (folder / str(os.getpid())).touch()
    until = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    return whoami(item)


def refuse(item, *, bad):
    if item == bad:
        raise ValueError(f"photograph {item} is damaged")
    return item


def leave_a_trace(item, *, folder):
    (folder / str(item)).touch()
    return item


def die(item):
    if item == WORTH:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def say_and_wait(item, *, folder):
    (folder / str(os.getpid())).touch()
    time.sleep(0.2)


def test_processes_give_all_results_in_order(tmp_path):
    together = functools.partial(meet, folder=tmp_path)
    found = list(in_order(together, range(COUNT), workers=2))
    assert [item for item, _ in found] == list(range(COUNT))
    workers = {pid for _, pid in found}
    assert len(workers) == 2 and os.getpid() not in workers


@pytest.mark.parametrize("count, workers", [(WORTH - 1, 2), (COUNT, 1), (COUNT, 0), (0, 2)])
def test_few_items_or_one_worker_are_done_here(count, workers):
    found = list(in_order(whoami, range(count), workers=workers))
    assert found == [(item, os.getpid()) for item in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_its_item_s_place(workers):
    results = in_order(functools.partial(refuse, bad=40), range(COUNT), workers=workers)
    assert [next(results) for _ in range(40)] == list(range(40))
    with pytest.raises(ValueError, match="photograph 40 is damaged"):
        next(results)


def test_what_is_made_ahead_is_bounded(tmp_path):
    results = in_order(
        functools.partial(leave_a_trace, folder=tmp_path), range(10 * COUNT), workers=2
    )
    next(results)
    before, made = -1, 0
    while made > before:  # until nothing more is made
        time.sleep(0.5)
        before, made = made, len(list(tmp_path.iterdir()))
    assert made <= 64
    results.close()


def test_a_worker_that_was_killed_is_told_in_one_line():
    with pytest.raises(OSError, match=r"one of 2 worker processes was killed.*data\.workers=1"):
        list(in_order(die, range(COUNT), workers=2))


@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="asks Linux which processes live")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = f"""
import functools, pathlib, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import test_workers
from dermjax.data.workers import in_order
wait = functools.partial(test_workers.say_and_wait, folder=pathlib.Path({str(tmp_path)!r}))
list(in_order(wait, range({COUNT}), workers=2))
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    while len(list(tmp_path.iterdir())) < 2 and process.poll() is None:
        time.sleep(0.05)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(map(_lives, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(_lives, pids))


def _lives(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
