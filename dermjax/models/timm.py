"""timm's weights: reading them into a network's variables and writing them back.

The names correspond by rule: `blocks_1_0/conv_dw/kernel` is `blocks.1.0.conv_dw.weight`. Neither
timm nor torch is needed.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_SHOWN = 10


def load(path: str | Path, variables: Mapping[str, Any], *, classifier: str) -> dict[str, Any]:
    """Replaces a network's variables by those of a file of timm's weights.

    The classifier is taken if its shapes fit; otherwise the one in `variables` is kept and the log
    says so.

    Args:
        path: A `.safetensors` or `.npz` file of arrays under timm's names, in PyTorch's layouts.
        variables: `params` and `batch_stats` of the network, which give the names and shapes.
        classifier: The network's `CLASSIFIER`.

    Returns:
        New variables, float32, with the structure of the old ones.

    Raises:
        ValueError: If the file's type is unknown, or arrays are missing, left over or of another
            shape.
    """
    found = {
        name: array
        for name, array in _read(Path(path)).items()
        if not name.endswith("num_batches_tracked")
    }
    flat = traverse_util.flatten_dict(dict(variables))
    expected = {_timm_name(key): key for key in flat}
    head = {name for name in expected if name.startswith(f"{classifier}.")}
    head_found = {name for name in found if name.startswith(f"{classifier}.")}
    taken = head == head_found and all(
        found[name].shape == _timm_shape(flat[expected[name]]) for name in head
    )
    if not taken:
        logging.getLogger(__name__).info("%s: the classifier is not taken over", path)
        found = {name: array for name, array in found.items() if name not in head_found}
        expected = {name: key for name, key in expected.items() if name not in head}
    _check(path, {name: _timm_shape(flat[key]) for name, key in expected.items()}, found)
    new = {key: jnp.asarray(_from_timm(found[name])) for name, key in expected.items()}
    return traverse_util.unflatten_dict({**flat, **new})


def to_timm(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `load`: float32 arrays under timm's names, in PyTorch's layouts.

    `num_batches_tracked`, which only counts steps, is left out.
    """
    flat = traverse_util.flatten_dict(dict(variables))
    return {_timm_name(key): _to_timm(np.asarray(value)) for key, value in flat.items()}


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is neither a .safetensors nor an .npz file: convert it to one")
    try:
        from safetensors import numpy as safetensors
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs the package safetensors: pip install safetensors"
        ) from error
    return safetensors.load_file(path)


def _timm_name(key: tuple[str, ...]) -> str:
    """`("params", "blocks_1_0", "conv_dw", "kernel")` -> `blocks.1.0.conv_dw.weight`."""
    collection, *modules, leaf = key
    modules = [re.sub(r"_(?=\d)", ".", module) for module in modules]
    return ".".join([*modules, _LEAVES[collection, leaf]])


def _from_timm(array):
    """OIHW -> HWIO, (out, in) -> (in, out); vectors as they are."""
    array = np.asarray(array, np.float32)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _to_timm(array):
    """HWIO -> OIHW, (in, out) -> (out, in); vectors as they are."""
    array = np.asarray(array, np.float32)
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _timm_shape(array) -> tuple[int, ...]:
    """The shape that an array of ours has in PyTorch's layout."""
    shape = tuple(array.shape)
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _check(path, shapes, found) -> None:
    """Raises one error that lists every kind of difference between the network and the file."""
    missing = [f"{name} {shapes[name]}" for name in shapes if name not in found]
    left_over = [f"{name} {found[name].shape}" for name in found if name not in shapes]
    wrong = [
        f"{name} expected {shape}, found {found[name].shape}"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    lines = []
    for title, names in (("missing", missing), ("left over", left_over), ("wrong shape", wrong)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"  {len(names)} {title}: {'; '.join(names[:_SHOWN])}{more}")
    if lines:
        header = f"{path} does not fit the network; create the one it was saved from"
        raise ValueError("\n".join([header, *lines]))
