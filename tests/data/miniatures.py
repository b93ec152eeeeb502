"""Small stand-ins for data sets."""

import numpy as np
from PIL import Image


def write_photo(path, seed, size=(12, 10)):
    """A photograph of `size` (width, height) px that differs from those of other seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def rows_of(names):
    """`name,class,patient` of each photograph: classes a and b in turn, a patient each."""
    return [f"{name},{'ab'[index % 2]},p{index}" for index, name in enumerate(names)]


def write_photos(folder, names, size=(12, 10)):
    """Photographs of these names; returns their rows, as `rows_of` gives them."""
    for index, name in enumerate(names):
        write_photo(folder / name, index, size)
    return rows_of(names)
