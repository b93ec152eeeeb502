"""Files of weights as arrays by name: .safetensors, .npz, and PyTorch's pickles where torch is."""

import hashlib
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dermjax import atomic

PICKLES = (".pth", ".pt", ".bin", ".tar", ".torch", ".ckpt")
SUFFIXES = (".safetensors", ".npz", *PICKLES)


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a file, and its metadata (which only .safetensors has).

    Nested dicts, as training checkpoints have them, are flattened with dots; what is not an array
    is left out. Nothing in a file is ever executed.

    Raises:
        ValueError: The file is of an unknown type, damaged, holds more than arrays, or needs torch.
        OSError: It cannot be opened.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is none of {', '.join(SUFFIXES)}; convert it to .safetensors")
    with path.open("rb"):
        pass  # a missing file or one that may not be read is the operating system's to explain
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return (_read_npz(path) if path.suffix == ".npz" else _read_pickle(path)), {}


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]):
    """Writes a .safetensors file as a whole: a killed process leaves no half one.

    Raises:
        ValueError: The name ends in something else.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} must end in .safetensors")
    with atomic.replace(path) as beside:
        beside.write_bytes(safetensors.numpy.save(dict(arrays), metadata=dict(metadata)))


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path):
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (safetensors.SafetensorError, TypeError) as error:
        raise _damaged(path, error) from error


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _read_pickle(path):
    """A pickle may hold any program: torch reads it with a reader that knows tensors alone."""
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{path} is a pickle, which only torch reads safely: pip install torch, or convert the "
            "file to .safetensors"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or "weights_only" in str(error).lower():
            raise ValueError(
                f"{path} holds more than tensors, and reading that would run code from the file: "
                "it is not read; if you trust its source, save its state_dict as .safetensors in "
                "PyTorch"
            ) from error
        raise _damaged(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    return {name: leaf.detach().float().numpy() for name, leaf in _tensors(content, torch)}


def _tensors(tree: Any, torch, prefix: str = ""):
    """(dotted name, tensor) of all tensors in nested dicts."""
    for name, value in tree.items() if isinstance(tree, Mapping) else ():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, torch, f"{prefix}{name}.")


def _damaged(path, error) -> ValueError:
    """One line, whatever the library said."""
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return ValueError(f"{path} is damaged or not what its name says ({reason}); get it again")
