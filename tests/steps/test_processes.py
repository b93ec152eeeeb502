"""Training by several processes that share the global batch: a pod of accelerators in small."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.steps import moco_worker

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = 300  # seconds


def start(port, index, count, folder):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(8 // count),
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "PYTHONPATH": str(HERE.parent / "benchmarks"),
    }
    arguments = map(str, (port, index, count, folder / str(index)))
    with open(folder / f"{index}.log", "w") as log:
        return subprocess.Popen(
            [sys.executable, HERE / "moco_worker.py", *arguments],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def run(count, folder):
    """What each process ends with; if one fails or hangs, fails with the words of all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(port, index, count, folder) for index in range(count)]
    deadline = time.monotonic() + TIMEOUT
    try:
        # Of two, one that fails leaves the other waiting.
        while None in (codes := [process.poll() for process in processes]):
            if any(codes) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    logs = "\n\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
    assert codes == [0] * count, f"exit codes {codes} (None: killed)\n{logs}"
    return {
        name: [dict(np.load(folder / f"{index}-{name}.npz")) for index in range(count)]
        for name in ("alone", "paired")
    }


@pytest.mark.slow
def test_two_processes_of_four_devices_train_as_one_process(tmp_path):
    """20 steps fed by the pipeline: parameters, statistics, optimizer, queue, ids, losses.

    Images give their own positives, or partners do.
    """
    for kind, both in run(2, tmp_path).items():
        one = moco_worker.trained(1, 0, 1, paired=kind == "paired")
        assert len(one["losses"]) == 20 and len(set(one["losses"])) == 20
        for together in both:
            assert together.keys() == one.keys()
            for name, value in one.items():
                np.testing.assert_allclose(
                    together[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{kind}: {name}"
                )
