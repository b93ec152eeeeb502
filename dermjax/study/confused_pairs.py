"""Pairs of classes that are mistaken for each other most, where a matrix is too large to read."""

from collections.abc import Sequence

import numpy as np

from dermjax.report.numbers import number
from dermjax.report.table import Table

_ROWS = 15  # of a strategy


def confused_pairs(
    matrices: Sequence[tuple[str, np.ndarray]], classes: Sequence[str], share: str
) -> Table:
    """The commonest mistakes of each strategy, by the share of the true class's images.

    Args:
        matrices: strategy and counts `[N, N]`, rows are true classes; means over trials.
        classes: N names.
        share: of the labels, for the heading.
    """
    rows = []
    for strategy, counts in matrices:
        counts = np.asarray(counts, float)
        wrong = counts * (1 - np.eye(len(counts)))
        n = counts.sum(1, keepdims=True)
        shares = wrong / np.maximum(n, 1)
        # Half an image over all trials is no pair; of equal shares the one of more images first.
        order = np.lexsort((-wrong.ravel(), -shares.ravel()))[:_ROWS]
        for truth, answer in zip(*np.unravel_index(order, wrong.shape), strict=True):
            if wrong[truth, answer] >= 0.5:
                images = f"{wrong[truth, answer]:.1f}".removesuffix(".0")
                of = f"{images} of {n[truth, 0]:,.0f}"
                one = [strategy, classes[truth], classes[answer], of]
                rows.append([*one, number(shares[truth, answer])])
    header = ("strategy", "true class", "answered with", "images", "share")
    return Table(
        f"Most frequent confusions at {share} of the labels",
        f"Of each strategy at most {_ROWS} pairs, by the share of the true class's test images "
        "that is answered with the other class, means over trials; shares of few images are large "
        "by chance.",
        [(words, "") for words in header],
        rows,
    )
