"""Weights that a user names: found, read, and known for what they are."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from dermjax.models import hub, imagenet_weights, weight_files
from dermjax.models.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Weights:
    """Arrays, and what is known of the network they belong to.

    Attributes:
        source: The name, path or kind to call them by.
        arrays: By the names in the file.
        architecture: Name of their network; empty where nothing tells.
        preprocessing: What they expect of images; None where nothing tells.
        sha256: Of the file; empty for arrays without one.
    """

    source: str
    arrays: Mapping[str, np.ndarray]
    architecture: str = ""
    preprocessing: Preprocessing | None = None
    sha256: str = ""


def find(named, architectures: list[str]) -> Weights:
    """Finds and reads weights.

    Args:
        named: A hub's name (`timm/efficientnet_b4.ra2_in1k`), a file (.safetensors, .npz, or a
            PyTorch pickle, which needs torch), or a dict of arrays by name.
        architectures: Names of the networks that can be told apart.

    Raises:
        ValueError: As `hub.download` and `weight_files.read`, or there is no such file.
    """
    if isinstance(named, Mapping):
        return Weights("the given arrays", {n: np.asarray(array) for n, array in named.items()})
    path = pathlib.Path(os.path.expanduser(named))
    if not path.is_file() and hub.is_name(str(named)):
        return _from_hub(str(named), architectures)
    return _from_file(path, architectures)


def check_name(named: str, architecture: str, architectures: list[str]) -> None:
    """What can be said against a name without reading or downloading anything.

    Raises:
        ValueError: It is no file and cannot be on the hub, or tells of another architecture.
    """
    path = pathlib.Path(os.path.expanduser(named))
    if path.is_file():
        return
    if not hub.is_name(named):
        raise ValueError(f"{named!r} is not a file")
    found, _ = imagenet_weights.identify(named.partition("/")[2], architectures)
    if found and found != architecture:
        raise ValueError(f"{named} holds weights of {found}, but the network is {architecture}")


def save(
    path: str | pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    *,
    architecture: str,
    preprocessing: Preprocessing,
    classes: tuple[str, ...] = (),
) -> None:
    """Writes a .safetensors file that `find` knows again; PyTorch and timm read it as it is.

    Args:
        path: Ends in `.safetensors`.
        arrays: Under timm's names, in PyTorch's layouts.
        classes: Names of the logits, in order.

    Raises:
        ValueError: Another ending.
        OSError: The file cannot be written.
    """
    metadata = {
        "format": "pt",
        "architecture": architecture,
        "preprocessing": json.dumps(dataclasses.asdict(preprocessing)),
        "classes": json.dumps(classes),
    }
    weight_files.write(pathlib.Path(path), arrays, metadata)


def _from_hub(name: str, architectures) -> Weights:
    path = hub.download(name)
    architecture, preprocessing = imagenet_weights.identify(name.partition("/")[2], architectures)
    if preprocessing is None:
        described, preprocessing = _described(hub.config(name))
        architecture = architecture or described
    arrays, metadata = weight_files.read(path)
    return _with_metadata(
        Weights(name, arrays, architecture, preprocessing, weight_files.sha256(path)), metadata
    )


def _from_file(path: pathlib.Path, architectures) -> Weights:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    arrays, metadata = weight_files.read(path)
    architecture, preprocessing = imagenet_weights.identify(path.name, architectures)
    beside = path.with_name("config.json")  # as in a copy of a hub's folder
    if not architecture and beside.is_file():
        try:
            architecture, preprocessing = _described(json.loads(beside.read_text()))
        except (OSError, ValueError):  # another program's
            pass
    return _with_metadata(
        Weights(str(path), arrays, architecture, preprocessing, weight_files.sha256(path)), metadata
    )


def _with_metadata(weights: Weights, metadata: Mapping[str, str]) -> Weights:
    """What `save` wrote into a file goes before all names."""
    architecture = metadata.get("architecture", weights.architecture)
    preprocessing = weights.preprocessing
    if "preprocessing" in metadata:
        try:
            preprocessing = Preprocessing(**json.loads(metadata["preprocessing"]))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{weights.source}: its preprocessing is unreadable ({error})"
            ) from None
    return dataclasses.replace(weights, architecture=architecture, preprocessing=preprocessing)


def _described(config) -> tuple[str, Preprocessing | None]:
    """Architecture and preprocessing by a `config.json` as timm's are; nothing by another."""
    try:
        how, architecture = config["pretrained_cfg"], config.get("architecture", "")
        train, crop = how["input_size"][-1], how["crop_pct"]
        return architecture, Preprocessing(
            mean=tuple(how["mean"]),
            std=tuple(how["std"]),
            interpolation=how["interpolation"],
            train_size=train,
            train_crop=crop,
            test_size=(how.get("test_input_size") or [train])[-1],
            test_crop=how.get("test_crop_pct") or crop,
            crop_mode="squash" if how.get("crop_mode") == "squash" else "center",
        )
    except (KeyError, TypeError, AttributeError):
        return "", None
