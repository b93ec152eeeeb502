"""A process in which nothing moves ends by itself; one that moves, compiles or waits does not."""

import subprocess
import sys
import textwrap

from dermjax.training.watch import GONE

PATIENCE = 1.0


def ended(body):
    """Status and words of a process that is watched and does this."""
    program = f"""
import time
from dermjax.training import watch

watch.start({PATIENCE}, lambda: "process 1 of 2: ")
{textwrap.dedent(body)}
print("came to its end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_a_step_that_never_ends_ends_the_process():
    status, said, told = ended(
        """
        with watch.watched():
            watch.moved()
            print("a step", flush=True)
            time.sleep(30)
        """
    )
    assert (status, said) == (GONE, "a step\n")
    assert told.startswith("dermjax: process 1 of 2: nothing has moved for 1 s: another one hangs")
    assert told.count("\n") == 1


def test_an_evaluation_that_never_ends_ends_the_process():
    status, _, _ = ended(
        """
        with watch.watched():
            watch.moved()
            with watch.watched():
                time.sleep(3)  # compiles
                watch.moved()
                time.sleep(30)
        """
    )
    assert status == GONE


def test_steps_the_first_one_and_what_is_not_watched_take_their_time():
    status, said, told = ended(
        """
        with watch.watched():
            time.sleep(2)
            for step in range(5):
                watch.moved()
                time.sleep(0.5)
            with watch.watched():
                time.sleep(2)
        time.sleep(2)
        """
    )
    assert (status, said, told) == (0, "came to its end\n", "")
