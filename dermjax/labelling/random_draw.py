"""Chance, stratified by patient: what every other method is compared with."""

import numpy as np
import pandas as pd

from dermjax.labelling.pool import Choice, Pool, Quota

WHY = "drawn at random"


def choose(pool: Pool, count: int, seed: int) -> list[Choice]:
    """Draws patients, and one photograph of each, before any patient comes a second time.

    Every patient has the same chance, however many photographs there are of them.

    Args:
      count: how many are wanted; fewer come where the pool has no more.
      seed: of the draw, at least 0.
    """
    rows = Quota(pool).take_first(order(pool, seed), count)
    return [Choice(row, WHY) for row in rows]


def order(pool: Pool, seed: int) -> np.ndarray:
    """All rows that may be asked about, in the order in which `choose` takes them."""
    rng = np.random.default_rng([seed, 0])
    rows = rng.permutation(np.flatnonzero(pool.askable))
    patients = pool.patients[rows]
    luck = rng.random(int(pool.patients.max(initial=0)) + 1)
    times = pd.Series(patients).groupby(patients).cumcount().to_numpy()
    return rows[np.lexsort((luck[patients], times))]
