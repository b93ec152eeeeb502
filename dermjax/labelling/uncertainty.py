"""Photographs of which a classifier is least sure: the smallest margin, or the largest entropy.

Margin: the likeliest class's probability minus the next one's (Scheffer et al. 2001). Entropy: of
all classes' probabilities, in nats (Settles 2009, section 3.1).
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from dermjax.labelling.pool import Choice, Pool, Quota


def choose_by_margin(pool: Pool, count: int, seed: int) -> list[Choice]:
    """The photographs with the smallest margins.

    Args:
      count: how many are wanted; fewer come where the pool has no more.
      seed: of the order of those with equal margins.

    Raises:
      ValueError: no photograph has a label.
    """
    return _choose(
        pool, count, seed, margins, "the two likeliest classes are {:.3f} apart in probability"
    )


def choose_by_entropy(pool: Pool, count: int, seed: int) -> list[Choice]:
    """The photographs with the largest entropies; as `choose_by_margin`."""
    return _choose(
        pool, count, seed, lambda p: -entropies(p), "uncertain: entropy {:.2f} nats", sign=-1
    )


def margins(probabilities: np.ndarray) -> np.ndarray:
    """`[M, N]` -> `[M]` in [0, 1]; 0 of a single class."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    two = np.sort(probabilities, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """`[M, N]` -> `[M]` in [0, log N] nats."""
    return special.entr(probabilities).sum(1)


def _choose(
    pool: Pool,
    count: int,
    seed: int,
    certainty: Callable[[np.ndarray], np.ndarray],
    why: str,
    sign: int = 1,
) -> list[Choice]:
    """The least certain first; `why` takes what `sign` makes of the certainty."""
    learned = pool.learned
    rows = np.flatnonzero(pool.askable)
    if not len(rows):
        return []
    values = certainty(learned.of_pool(rows))
    luck = np.random.default_rng([seed, 2]).random(len(rows))
    order = np.lexsort((luck, values))
    told = dict(zip(rows.tolist(), (sign * values).tolist(), strict=True))
    taken = Quota(pool).take_first(rows[order], count)
    return [Choice(row, why.format(told[row])) for row in taken]
