"""A run that is killed, stopped, robbed of room and of a checkpoint ends as one left alone.

The short form of tests/chaos.py: one run, with each kind of disturbance at one place.
"""

import pytest

from tests.chaos import Chaos
from tests.experiment.run_process import Disk, Run

pytestmark = pytest.mark.slow

DISTURBANCES = [
    ("kill -9 of a worker", "drawing"),
    ("kill -9", "pretraining: monitor"),
    ("SIGTERM", "pretraining"),
    ("full disk", "pretraining: monitor"),
    ("checkpoint removed", "picturing"),
    ("file cut", "fine-tuning: saving"),
]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("chaos")
    with Disk(room) as disk:
        yield room, disk


def test_the_end_is_bit_for_bit_that_of_a_quiet_run(room):
    folder, disk = room
    chaos = Chaos(folder, disk, seed=0, say=lambda line: print(line, flush=True))
    chaos.quiet()
    run = Run(folder, "disturbed")
    run.forget()
    for kind, phase in DISTURBANCES:
        if not chaos.disturbance(run, kind, phase):  # it was faster, and is done
            chaos.finish(run)
            run = Run(folder, f"disturbed-{chaos.ends}")
    chaos.finish(run)
    assert not chaos.faults, "\n".join(chaos.faults)
    # A machine so fast that nothing could be disturbed has not been tested.
    assert sum(chaos.hits.values()) >= 4, chaos.table()
