"""Small stand-ins for data sets."""

import numpy as np
from PIL import Image


def write_photo(path, seed, size=(12, 10)):
    """A photograph of `size` (width, height) px that differs from those of other seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
