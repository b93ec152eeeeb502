"""Labels and what a network says of their images, checked as measures take them.

Letters: B images, N classes.
"""

import numpy as np


def scores(
    labels: np.ndarray, values: np.ndarray, remedy: str = "look at the network's outputs"
) -> tuple[np.ndarray, np.ndarray]:
    """Labels `[B]` int and values `[B, N]` float64, as many, each label with a column.

    Args:
      labels: `[B]` int in [0, N).
      values: `[B, N]`: probabilities, logits, or any scores that rank.
      remedy: for values that are not finite.

    Raises:
      ValueError: no images, other shapes, labels outside [0, N), or values that are not finite.
    """
    labels, values = np.asarray(labels), np.asarray(values, np.float64)
    if labels.size == 0 or values.ndim != 2 or labels.shape != values.shape[:1]:
        raise ValueError(
            f"it takes labels [B] and values [B, N] of at least one image; got {labels.shape} and "
            f"{values.shape}"
        )
    if labels.min() < 0 or labels.max() >= values.shape[1]:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} must lie in [0, {values.shape[1]}), the "
            "columns; leave unlabelled images out"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{(~np.isfinite(values)).sum()} of {values.size} values are not finite; all must be: "
            f"{remedy}"
        )
    return labels, values


def probabilities(labels: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of probabilities `[B, N]`: at least 0, rows sum to 1 within .01.

    Raises:
      ValueError: values that are no probabilities, or see `scores`.
    """
    labels, values = scores(labels, values)
    totals = values.sum(1)
    # Written with a few digits, or in bfloat16, rows do not sum to 1 exactly.
    if not ((values >= 0).all() and np.allclose(totals, 1, atol=1e-2)):
        raise ValueError(
            f"probabilities from {values.min():.3g} with rows that sum to {totals.min():.3g} ... "
            f"{totals.max():.3g} must be at least 0 and sum to 1; of logits take "
            "scipy.special.softmax first"
        )
    return labels, values
