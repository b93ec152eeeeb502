"""True outlines of lesions, cut out and resized exactly as the photographs are.

Letters: S px side of the network's input.
"""

import os
import pathlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from PIL import Image

from dermjax.data import file_names, images


def locate(frame: pd.DataFrame, source: str) -> list[str]:
    """The mask's file of every row of a manifest; '' where there is none.

    The column `mask` (path, relative to the table) names it; without that column it is looked for
    as `beside` does.

    Args:
      source: the table or the folder that the manifest was read from.
    """
    if "mask" not in frame:
        files = [beside(path) for path in frame["path"]]
        bare = [path for path, file in zip(frame["path"], files, strict=True) if not file]
        near = file_names.find(place for path in bare for place in places(path))
        return [
            file or next((near[place] for place in places(path) if place in near), "")
            for path, file in zip(frame["path"], files, strict=True)
        ]
    base = source if os.path.isdir(source) else os.path.dirname(source)
    files = [os.path.abspath(os.path.join(base, name)) if name else "" for name in frame["mask"]]
    near = file_names.find(filter(None, files))
    return [near.get(file, file) for file in files]


def beside(photograph: str | os.PathLike) -> str:
    """`masks/NAME.png` in the photograph's folder or beside that folder; '' if there is none."""
    found = (place for place in places(photograph) if os.path.isfile(place))
    return next(found, "")


def places(photograph: str | os.PathLike) -> list[str]:
    """Where `beside` looks, in that order."""
    path = pathlib.Path(photograph)
    folders = (path.parent, path.parent.parent)
    return [str(folder / "masks" / f"{path.stem}.png") for folder in folders]


def read(path: str | os.PathLike, size: tuple[int, int], orientation: int = 1) -> np.ndarray:
    """A photograph's mask, `[height, width]` bool: whatever is not 0 is lesion.

    Args:
      size: width and height of the upright photograph, px.
      orientation: EXIF's of the photograph; a mask of the unturned one's size is turned with it.

    Raises:
      ValueError: no image, or not of the photograph's size.
    """
    try:
        with Image.open(path) as image:
            levels = np.asarray(image.convert("RGB") if image.mode == "RGBA" else image)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"mask {path} cannot be read ({error}): save it as PNG") from None
    mask = levels != 0 if levels.ndim == 2 else (levels != 0).any(-1)
    if mask.shape != (size[1], size[0]) and mask.shape == size and orientation >= 5:
        mask = images.turned(mask, orientation)
    if mask.shape != (size[1], size[0]):
        raise ValueError(
            f"mask {path} has {mask.shape[1]} x {mask.shape[0]} px, its photograph {size[0]} x "
            f"{size[1]}: draw it on the upright photograph"
        )
    return mask


def of_boxes(boxes: Iterable[images.Box], size: tuple[int, int]) -> np.ndarray:
    """What lies in any of the boxes (x, y, w, h in px), `[height, width]` bool."""
    mask = np.zeros((size[1], size[0]), bool)
    for x, y, w, h in boxes:
        left, top = max(round(x), 0), max(round(y), 0)
        mask[top : max(round(y + h), 0), left : max(round(x + w), 0)] = True
    return mask


def cut(mask: np.ndarray, box: images.Box | None, side: int) -> np.ndarray:
    """The part of a photograph's mask that the network sees, `[S, S]` bool, nearest pixels.

    Args:
      mask: `[height, width]` bool, of the whole upright photograph.
      box: of the crop, as `images.crop` takes it; None for all.
    """
    seen = images.crop(Image.fromarray(mask.astype(np.uint8)), box)
    return np.asarray(seen.resize((side, side), Image.Resampling.NEAREST)) > 0
