"""Simulated patients whose images resemble each other, for tests of what holds for new patients."""

import numpy as np
from scipy import special

MANY, WITH_MANY = 20, 0.3  # images of some patients, and the fraction of those patients


def clinic(seed, patients, classes=3, easier=0.0):
    """Labels `[B]`, probabilities `[B, N]` and patients `[B]`.

    A patient has one disease, and 1 or `MANY` images that are alike; those of patients who have
    many are `easier`.
    """
    rng = np.random.default_rng(seed)
    many = rng.random(patients) < WITH_MANY
    of = np.repeat(np.arange(patients), np.where(many, MANY, 1))
    labels = rng.integers(0, classes, patients)[of]
    logits = rng.normal(size=(patients, classes))[of] + 0.4 * rng.normal(size=(len(of), classes))
    logits[np.arange(len(of)), labels] += 1.5 + easier * many[of]
    return labels, special.softmax(logits, 1), of


def one_image_each(labels, probabilities, patients):
    """The same of each patient's first image."""
    first = np.unique(patients, return_index=True)[1]
    return labels[first], probabilities[first], patients[first]
