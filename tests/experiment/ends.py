"""All that a finished run has computed, to be compared bit for bit with another's."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from dermjax.training import parallel
from dermjax.training.checkpoint import restore_subtree

_TEXTS = ("predictions.csv", "validation_predictions.csv", "splits.csv", "data_fingerprint.txt")
_CLOCKED = {"images_per_second", "seconds_waiting_for_data", "seconds", "monitor_seconds"}


# A pretraining that was done with is damaged where nobody reads any more, in the queue or in the
# optimizer: the run goes on, and what follows has to be the same.
_DAMAGED = "pretrain: damaged later"


def end_of(workdir: pathlib.Path) -> dict[str, object]:
    """Name -> array, text or number: both last checkpoints, predictions, results and metrics."""
    end = {name: (workdir / name).read_text() for name in _TEXTS}
    for stage in ("pretrain", "finetune"):
        folder = (workdir / "checkpoints" / stage).resolve()
        last = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
        end[f"{stage}: last step"] = last
        try:
            leaves = read_state(folder / str(last) / "state")
        except Exception:
            if stage != "pretrain":
                raise
            end[_DAMAGED] = True
            continue
        end |= {f"{stage}{name}": leaf for name, leaf in leaves.items()}
    with np.load(workdir / "test_features.npz") as arrays:
        end |= {f"features: {name}": array for name, array in arrays.items()}
    with np.load(workdir / "reference.npz") as arrays:
        end |= {f"reference: {name}": array for name, array in arrays.items()}
    results = json.loads((workdir / "results.json").read_text())
    del results["seconds"], results["pretraining"]
    end |= {f"results: {name}": value for name, value in results.items()}
    return end | _metrics((workdir / "metrics.jsonl").read_text())


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All leaves of a saved state, whatever devices it was on."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        shapes = checkpointer.metadata(path).item_metadata.tree
        as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
        wanted = ocp.args.PyTreeRestore(restore_args=jax.tree.map(lambda _: as_numpy, shapes))
        leaves = jax.tree_util.tree_leaves_with_path(checkpointer.restore(path, args=wanted))
    return {jax.tree_util.keystr(name): np.asarray(leaf) for name, leaf in leaves}


def final_params(workdir: pathlib.Path, stage: str, step: int, **target):
    """Some of the params of a checkpoint, of the names and shapes of `target`."""
    wanted = {"params": parallel.all_devices().abstract(target)}
    return restore_subtree(workdir / "checkpoints" / stage, step, wanted)["params"]


def _metrics(text: str) -> dict[str, float]:
    """Stage, step and name -> value, without clocks."""
    return {
        f"metrics: {line['stage']} {line['step']} {name}": value
        for line in map(json.loads, text.splitlines())
        for name, value in line.items()
        if name not in _CLOCKED
    }


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The names of what is not the same, bit for bit."""
    found = []
    damaged = _DAMAGED in one or _DAMAGED in other
    for name in sorted(one.keys() | other.keys()):
        if damaged and (name == _DAMAGED or name.startswith("pretrain[")):
            continue
        if name not in one or name not in other:
            found.append(f"{name}: only in one")
        elif isinstance(one[name], np.ndarray):
            a, b = one[name], other[name]
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                found.append(name)
        elif one[name] != other[name]:
            found.append(name)
    return found
