"""Pools of photographs whose kinds are known."""

import numpy as np

from dermjax.labelling.pool import Pool


def unit(features):
    features = np.asarray(features, np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def made_up(seed=0, images=120, kinds=4, size=8, spread=0.4, labelled=0, **fields):
    """Features around as many centres as there are kinds, and the kinds `[N]`."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(kinds, size))
    truth = rng.integers(kinds, size=images)
    features = unit(centres[truth] + rng.normal(scale=spread, size=(images, size)))
    labels = np.full(images, -1)
    labels[:labelled] = truth[:labelled]
    given = {"patients": np.arange(images), "askable": labels < 0} | fields
    return Pool(features, labels, **given), truth
