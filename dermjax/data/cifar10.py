"""CIFAR-10 from the files of https://www.cs.toronto.edu/~kriz/cifar.html, python or binary version.

On it a method can be compared with what its authors published.
"""

import codecs
import dataclasses
import io
import os
import pickle
from pathlib import Path

import numpy as np

_REMEDY = "name a folder with the unpacked files of https://www.cs.toronto.edu/~kriz/cifar.html"
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
_TEST = "test_batch"
# Where the files may lie in the user's folder, and how their names end; the first is taken.
_PLACES = ((".", ""), ("cifar-10-batches-py", ""), (".", ".bin"), ("cifar-10-batches-bin", ".bin"))
_SIDE, _CLASSES, _MAX_IMAGES = 32, 10, 10_000
_PIXELS = 3 * _SIDE * _SIDE


@dataclasses.dataclass(frozen=True)
class Cifar10:
    """All N images: those to train on in the order of the files, then those to test on.

    Attributes:
        images: `[N, 32, 32, 3]` uint8.
        labels: `[N]` int32, numbers in `classes`.
        classes: Names of the ten classes.
        is_test: `[N]` bool, whether an image is of the test file.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    is_test: np.ndarray


def read_cifar10(folder) -> Cifar10:
    """Reads the six files of either version and their class names; nothing in them is executed.

    Args:
        folder: Holds `data_batch_1` ... `data_batch_5`, `test_batch` and `batches.meta`, or these
            with `.bin` and `batches.meta.txt`; itself or in `cifar-10-batches-py` or `-bin`.
            Files may hold fewer than the 10,000 images they have.

    Raises:
        ValueError: A file is missing, damaged, or holds something else.
    """
    folder, ending = _find(Path(os.path.expanduser(folder)))
    if ending:
        read, classes = _read_binary, _names_in_text(folder / "batches.meta.txt")
    else:
        read, classes = _read_python, _names_in_pickle(folder / "batches.meta")
    images, labels = zip(*(read(folder / f"{n}{ending}") for n in (*_BATCHES, _TEST)), strict=True)
    is_test = [np.full(len(part), part is labels[-1]) for part in labels]
    return Cifar10(np.concatenate(images), np.concatenate(labels), classes, np.concatenate(is_test))


def _find(folder: Path) -> tuple[Path, str]:
    """The folder that holds the files, and how their names end."""
    for inside, ending in _PLACES:
        place = folder / inside
        if any((place / f"{name}{ending}").is_file() for name in (*_BATCHES, _TEST)):
            return place, ending
    raise ValueError(f"{folder} holds no files of CIFAR-10; {_REMEDY}")


def _read_binary(path: Path):
    """Records of 3073 bytes: the label, then the pixels as in `_checked`."""
    content = np.frombuffer(_read(path), np.uint8)
    if content.size % (1 + _PIXELS):
        raise _refused(path, f"is truncated: its {content.size} bytes are no multiple of 3073")
    records = content.reshape(-1, 1 + _PIXELS)
    return _checked(path, records[:, 1:], records[:, 0])


def _read_python(path: Path):
    """A dict with `data`, an array of bytes, and `labels`, a list of int."""
    content = _unpickle(path)
    try:
        rows = content[b"data"].array()
    except Exception:  # nothing is known of what the file put there
        raise _refused(path, "holds no array b'data' of bytes") from None
    labels = content.get(b"labels")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise _refused(path, "holds no list b'labels' of whole numbers")
    # Clipped: what is too large for an int32 is told as what it is, outside 0 to 9.
    return _checked(path, rows, np.array([min(max(n, -1), _CLASSES) for n in labels], np.int32))


def _checked(path: Path, rows: np.ndarray, labels: np.ndarray):
    """`[n, 32, 32, 3]` and int32 `[n]` of `[n, 3072]`: all red, all green, all blue, by rows."""
    count = len(labels)
    if rows.shape != (count, _PIXELS):
        raise _refused(path, f"has pixels {list(rows.shape)} and {count} labels, not [n, 3072]")
    if not 0 < count <= _MAX_IMAGES:
        raise _refused(path, f"has {count} images, not 1 to {_MAX_IMAGES}")
    outside = (labels < 0) | (labels >= _CLASSES)
    if outside.any():
        raise _refused(path, f"has {outside.sum()} labels outside 0 to 9")
    images = rows.reshape(count, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int32)


def _names_in_text(path: Path) -> tuple[str, ...]:
    """A name a line."""
    return _checked_names(path, [line for line in _read(path).splitlines() if line.strip()])


def _names_in_pickle(path: Path) -> tuple[str, ...]:
    """A dict with the list `label_names`."""
    return _checked_names(path, _unpickle(path).get(b"label_names"))


def _checked_names(path: Path, names) -> tuple[str, ...]:
    """Ten different names."""
    try:
        names = tuple(name.decode("ascii").strip() for name in names)
    except (TypeError, AttributeError, UnicodeDecodeError):
        raise _refused(path, "holds no names of classes") from None
    if len(set(names) - {""}) != _CLASSES or len(names) != _CLASSES:
        raise _refused(path, f"holds {len(names)} names of classes, not ten different ones")
    return names


class _Described:
    """What a pickle calls numpy's functions and types with: kept, not done.

    numpy's own believe the file about types and memory. These also know that Python 2 calls dtype
    with integers for booleans, which NumPy 2.4 takes amiss.
    """

    def __init__(self, *arguments):
        self._arguments = arguments

    def __setstate__(self, state):
        self._state = state

    def array(self) -> np.ndarray:
        """The array of uint8 that was described; any error where it is something else."""
        _, shape, dtype, by_columns, content = self._state
        if dtype._arguments[0] not in (b"u1", "u1"):
            raise ValueError("another type")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Unpickler(pickle.Unpickler):
    """Knows what an array is described with and nothing else: a file cannot run code."""

    _KNOWN = {
        ("numpy.core.multiarray", "_reconstruct"): _Described,
        ("numpy._core.multiarray", "_reconstruct"): _Described,
        ("numpy", "ndarray"): _Described,
        ("numpy", "dtype"): _Described,
        ("_codecs", "encode"): codecs.encode,  # Python 3 writes bytes for Python 2 as a call of it
    }

    def find_class(self, module, name):
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return self._KNOWN[module, name]


def _unpickle(path: Path) -> dict:
    """The dict in a pickle of Python 2, its texts as bytes."""
    file = io.BytesIO(_read(path))
    try:
        content = _Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle fails in as many ways as it has instructions
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise _refused(path, f"is truncated, damaged or of another kind ({reason})") from error
    if not isinstance(content, dict):
        raise _refused(path, f"holds a {type(content).__name__}, not a dict")
    return content


def _read(path: Path) -> bytes:
    """A file as a whole, 31 MB at most."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _refused(path, "is missing") from None
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from error


def _refused(path: Path, why: str) -> ValueError:
    """One line: the file, what is wrong, what to do."""
    return ValueError(f"{path} {why}; {_REMEDY}")
