"""timm's weights as a network's variables, and back.

The names correspond by rule: `blocks_1_0/conv_dw/kernel` is `blocks.1.0.conv_dw.weight`. Neither
timm nor torch is needed.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax import traverse_util

from dermjax.models import conventions, imagenet_weights
from dermjax.models.initialize import shapes_of
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.weights import Weights

_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_SHOWN = 10


class Loaded(NamedTuple):
    """A network's variables out of a file."""

    variables: dict[str, Any]  # NumPy, float32; without the classifier where it does not fit
    preprocessing: Preprocessing
    notes: list[str]  # what a user should know, a line each


def load(weights: Weights, model: nn.Module) -> Loaded:
    """Turns weights into a network's variables: all of them, or none and an error.

    The classifier alone may differ: it is taken if its shapes fit.

    Args:
        weights: Under timm's names or those of a project in `conventions`, PyTorch's layouts.
        model: A network of `create`.

    Raises:
        ValueError: The weights are of another architecture; arrays are missing, left over or of
            another shape (the first ten of each are listed); or numbers in them are not finite.
    """
    flat = traverse_util.flatten_dict(shapes_of(model))
    expected = {_timm_name(key): key for key in flat}
    renamed = conventions.to_timm(weights.arrays, expected)
    found, others, tensorflow = renamed[:3]
    known = _check_architecture(weights, model.architecture, tensorflow)
    notes = []
    if renamed.prefix:
        left = f", not under {' or '.join(map(repr, renamed.rivals))}" if renamed.rivals else ""
        notes.append(f"the network is taken from under {renamed.prefix!r} in the file{left}")
    if others:
        notes.append(f"{len(others)} arrays are not the encoder's and are left: {_some(others)}")
    if not known and model.architecture.startswith(("efficientnet", "tf_efficientnet")):
        notes.append(
            "nothing tells whether they are of efficientnet_* or tf_efficientnet_*, which differ "
            f"in padding and epsilon: taken as {model.architecture}"
        )
    head = f"{model.CLASSIFIER}."
    ours = {name: _timm_shape(flat[key]) for name, key in expected.items() if name.startswith(head)}
    theirs = {name: array.shape for name, array in found.items() if name.startswith(head)}
    if ours != theirs:
        if ours:
            count = theirs.get(f"{head}bias", ("other",))[0]
            left = f"the classifier of {count} classes is left, " if theirs else ""
            notes.append(f"{left}one of {model.num_classes} classes starts fresh")
        found = {name: array for name, array in found.items() if name not in theirs}
        expected = {name: key for name, key in expected.items() if name not in ours}
    _check(weights.source, {name: _timm_shape(flat[key]) for name, key in expected.items()}, found)
    variables = {key: _from_timm(found[name]) for name, key in expected.items()}
    preprocessing = weights.preprocessing
    if preprocessing is None:
        preprocessing = imagenet_weights.usual_preprocessing(model.architecture)
        notes.append(
            f"nothing tells how their images were normalised: taken are mean {preprocessing.mean} "
            f"and std {preprocessing.std}"
        )
    return Loaded(traverse_util.unflatten_dict(variables), preprocessing, notes)


def to_timm(variables: Mapping[str, Any], dtype=np.float32) -> dict[str, np.ndarray]:
    """The inverse of `load`: arrays under timm's names, in PyTorch's layouts.

    `num_batches_tracked`, which only counts steps, is left out.
    """
    flat = traverse_util.flatten_dict(dict(variables))
    return {_timm_name(key): _to_timm(np.asarray(value, dtype)) for key, value in flat.items()}


def _timm_name(key: tuple[str, ...]) -> str:
    """`("params", "blocks_1_0", "conv_dw", "kernel")` -> `blocks.1.0.conv_dw.weight`."""
    collection, *modules, leaf = key
    modules = [re.sub(r"_(?=\d)", ".", module) for module in modules]
    return ".".join([*modules, _LEAVES[collection, leaf]])


def _from_timm(array):
    """OIHW -> HWIO, (out, in) -> (in, out); a copy, also of vectors: the given ones may change."""
    array = np.asarray(array)
    array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return np.array(array, np.float32, order="C")


def _to_timm(array):
    """HWIO -> OIHW, (in, out) -> (out, in); vectors as they are."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _timm_shape(array) -> tuple[int, ...]:
    """The shape that an array of ours has in PyTorch's layout."""
    shape = tuple(array.shape)
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _check_architecture(weights: Weights, architecture: str, tensorflow: bool) -> bool:
    """Whether it is known which architecture the weights are of; raises if it is another."""
    found = weights.architecture
    if tensorflow:  # projects that know only this family have no need to say so
        found = f"tf_{(found or architecture).removeprefix('tf_')}"
    if not found or found == architecture:
        return bool(found)
    message = f"{weights.source} holds weights of {found}, but the network is {architecture}"
    if found.removeprefix("tf_") == architecture.removeprefix("tf_"):
        message += ": equal in names and shapes, they differ in padding and epsilon"
    raise ValueError(f"{message}; take the model {found}, or other weights")


def _check(source, shapes, found) -> None:
    """Raises one error that lists every kind of difference between the network and the file."""
    missing = [f"{name} {shapes[name]}" for name in shapes if name not in found]
    left_over = [f"{name} {found[name].shape}" for name in found if name not in shapes]
    wrong = [
        f"{name} expected {shape}, found {found[name].shape}"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    kinds = {"missing": missing, "left over": left_over, "wrong shape": wrong}
    lines = [f"  {len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names]
    if missing and left_over:
        lines += _nearest(
            [n for n in shapes if n not in found], [n for n in found if n not in shapes]
        )
    if lines:
        header = f"{source} does not fit the network; create the one it was saved from"
        raise ValueError("\n".join([header, *lines]))
    broken = [name for name in shapes if not np.isfinite(found[name]).all()]
    if broken:
        raise ValueError(
            f"{source} holds numbers that are not finite (NaN or infinite) in {len(broken)} "
            f"arrays: {_some(broken)}; the training it comes from had diverged, or it is damaged"
        )


def _nearest(missing: list[str], others: list[str]) -> list[str]:
    """A line on what the first missing names may be called in the file."""
    pairs = {name: difflib.get_close_matches(name, others, 1, 0.4) for name in missing[:_SHOWN]}
    named = [f"{name} is perhaps {near[0]}" for name, near in pairs.items() if near]
    return [f"  nearest names in the file: {'; '.join(named[:3])}"] if named else []


def _some(names: list[str]) -> str:
    """The first ten, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more
