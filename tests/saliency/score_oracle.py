"""Insertion, deletion and sensitivity-n in NumPy: every changed image is made, one after the other.

`predict` is images `[n, H, W, 3]` -> the target's probability or logit `[n]`.
"""

import numpy as np
from scipy import ndimage


def deletion(predict, image, heat, counts, shares):
    return _curve(predict, image, np.zeros_like(image), heat, counts, shares)


def insertion(predict, image, heat, counts, shares, *, sigma=15.0, radius=None):
    """The blur of an image of 512 px; `radius` in px of this image."""
    width = sigma * image.shape[0] / 512
    blurred = ndimage.gaussian_filter(image, (width, width, 0), mode="reflect", radius=radius)
    return _curve(predict, blurred, image, heat, counts, shares)


def _curve(predict, start, end, heat, counts, shares):
    hottest = np.argsort(-heat.ravel(), kind="stable")
    states = []
    for count in counts:
        state = start.copy()
        rows, columns = np.unravel_index(hottest[:count], heat.shape)
        state[rows, columns] = end[rows, columns]
        states.append(state)
    found, widths = np.asarray(predict(np.stack(states)), np.float64), np.diff(shares)
    return float((widths * (found[1:] + found[:-1]) / 2).sum())


def sensitivity_n(logits, image, heat, masks):
    """By n, given the random sets: `[N, M, H, W]` bool."""
    found = []
    for sets in masks:
        removed = image[None] * ~sets[..., None]
        lost = float(logits(image[None])[0]) - np.asarray(logits(removed), np.float64)
        inside = [heat[where].sum(dtype=np.float64) for where in sets]
        found.append(np.corrcoef(inside, lost)[0, 1])
    return np.array(found)
