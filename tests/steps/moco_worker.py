"""One of several processes that train together; test_processes.py starts them.

python moco_worker.py PORT INDEX COUNT OUTPUT     the variables for JAX stand in the environment
"""

import sys

import _moco
import jax
import numpy as np
import pandas as pd

from dermjax.data import partners, pipeline

STEPS = 20


def batches(process_index: int, process_count: int, *, paired: bool):
    """This process's share of the global batches, by the product's pipeline."""
    photographs = _moco.images()
    feed = pipeline.training_batches(
        list(photographs),
        np.arange(len(photographs)),
        np.zeros(len(photographs), np.int32),
        side=_moco.SIDE,
        order=pipeline.Order(_moco.BATCH, seed=0),
        reading=pipeline.Reading(process_index, process_count, threads=1),
        partners=_partners() if paired else None,
    )
    return [next(feed) for _ in range(STEPS)]


def _partners() -> partners.Partners:
    """Of the photographs' lesions."""
    names = np.arange(len(_moco.LESIONS)).astype(str)
    table = pd.DataFrame({"name": names, "patient": names, "group": names}, dtype="str")
    table["lesion"] = np.array(_moco.LESIONS).astype(str)
    return partners.find(table, np.arange(len(names)), "lesion")


def trained(
    devices: int, process_index: int, process_count: int, *, paired: bool
) -> dict[str, np.ndarray]:
    """What training on so many devices ends with."""
    options = dict(subjects=_moco.LESIONS, batch_negatives=True) if paired else {}
    data = batches(process_index, process_count, paired=paired)
    return flat(*_moco.trajectory(devices, 8, data, **options))


def flat(states, metrics) -> dict[str, np.ndarray]:
    """The last state, and every step's loss and pointer, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(states[-1])
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves} | {
        "losses": np.array([scalars["loss"] for scalars in metrics]),
        "pointers": np.array([state.queue_pointer for state in states]),
    }


def main(port: str, index: str, count: str, output: str) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(index))
    for name in ("alone", "paired"):
        ended = trained(jax.device_count(), int(index), int(count), paired=name == "paired")
        np.savez(f"{output}-{name}.npz", **ended)


if __name__ == "__main__":
    main(*sys.argv[1:])
