"""One of several processes that train together; test_processes.py starts them.

python moco_worker.py PORT INDEX COUNT OUTPUT     the variables for JAX stand in the environment
"""

import sys

import _moco
import jax
import numpy as np

from dermjax.data import pipeline

STEPS = 20


def batches(process_index: int, process_count: int):
    """This process's share of the global batches, by the product's pipeline."""
    photographs = _moco.images()
    feed = pipeline.training_batches(
        list(photographs),
        np.arange(len(photographs)),
        np.zeros(len(photographs), np.int32),
        side=_moco.SIDE,
        batch_size=_moco.BATCH,
        seed=0,
        start=0,
        reading=pipeline.Reading(process_index, process_count, threads=1),
    )
    return [next(feed) for _ in range(STEPS)]


def flat(states, metrics) -> dict[str, np.ndarray]:
    """The last state, and every step's loss and pointer, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(states[-1])
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves} | {
        "losses": np.array([scalars["loss"] for scalars in metrics]),
        "pointers": np.array([state.queue_pointer for state in states]),
    }


def main(port: str, index: str, count: str, output: str) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(index))
    trained = _moco.trajectory(jax.device_count(), 8, batches(int(index), int(count)))
    np.savez(output, **flat(*trained))


if __name__ == "__main__":
    main(*sys.argv[1:])
