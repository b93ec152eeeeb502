"""DermaMNIST (Yang et al. 2023): HAM10000 at 28, 64, 128 or 224 px in one .npz file."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermjax.data.importers import folders
from dermjax.data.manifest import SETS
from dermjax.data.problems import ManifestError

_CLASSES = np.array(["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"])
_PARTS = ("train", "val", "test")


def read(path: Path, cache_dir: Path) -> tuple[Path, folders.Raw]:
    """Unpacks the images as PNG files below `cache_dir`, once.

    Returns:
        (their folder, the table).

    Raises:
        ManifestError: The file is not of this kind.
    """
    sets = {name: _arrays(path, name) for name in _PARTS}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    root = Path(cache_dir) / f"{path.stem}-{digest}"
    parts = []
    for name, (_, labels) in sets.items():
        images = [f"{name}/{number:05}.png" for number in range(len(labels))]
        label = _CLASSES[labels]
        parts.append(pd.DataFrame({"image": images, "label": label, "official_split": SETS[name]}))
    raw = pd.concat(parts, ignore_index=True)
    if not root.is_dir():
        _unpack({name: images for name, (images, _) in sets.items()}, root)
    return root, (
        raw.assign(row=range(1, len(raw) + 1)),
        [
            "DermaMNIST has no lesion ids: every image is its own group, and images of one lesion "
            "are in two of its sets; DermaMNIST-C and -E mend that, HAM10000 itself knows lesions"
        ],
    )


def _arrays(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, S, S, 3]` uint8 and labels `[N]` of one set."""
    try:
        with np.load(path, allow_pickle=False) as content:
            images, labels = content[f"{name}_images"], content[f"{name}_labels"].reshape(-1)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ManifestError(path, [f"is not DermaMNIST's .npz ({error})"]) from None
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        found = f"{images.dtype} {list(images.shape)}"
        raise ManifestError(path, [f"{name}_images are {found}, not uint8 [N, S, S, 3]"])
    if len(labels) != len(images) or labels.dtype.kind not in "iu":
        raise ManifestError(path, [f"{name}_labels are not one whole number per image"])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(_CLASSES):
        raise ManifestError(path, [f"{name}_labels are not 0 to 6: this is another MedMNIST"])
    return images, labels


def _unpack(images: dict[str, np.ndarray], root: Path) -> None:
    """All files under `root`, or none: a killed process leaves no half folder of that name."""
    temporary = root.with_name(root.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for name, pixels in images.items():
        (temporary / name).mkdir(parents=True)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(temporary / name / f"{number:05}.png", compress_level=1)
    temporary.replace(root)
