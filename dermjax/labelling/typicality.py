"""TypiClust: the most typical photograph of each kind that no label knows (Hacohen et al. 2022).

"Active learning on a budget: opposite strategies suit high and low budgets", ICML 2022, section 3.
The features are clustered into as many clusters as there will be labels; of the largest clusters
without a label the most typical photograph is taken, typicality being the inverse of the mean
distance to the K nearest (eq. 4).
"""

import numpy as np

from dermjax.labelling import clusters
from dermjax.labelling.pool import Choice, Pool, Quota

_MOST = 500  # clusters [authors' code: more would be unstable]
_LEAST = 5  # photographs of a cluster that counts [authors]
_NEIGHBOURS = 20  # K [paper]
_FLOATS = 2**25  # similarities that are held at a time: 128 MiB


def choose(pool: Pool, count: int, seed: int) -> list[Choice]:
    """The most typical photographs of the kinds with the fewest labels, the largest kinds first.

    Clusters of fewer than 5 photographs are not asked about, unless nothing else is left.

    Args:
      count: how many are wanted; fewer come where the pool has no more.
      seed: of k-means.
    """
    rows = np.flatnonzero(pool.labelled | pool.askable)
    wanted = min(int(pool.labelled.sum()) + count, _MOST)
    if not len(rows):
        return []
    found = clusters.assign(pool.features[rows], wanted, seed)
    members = {k: rows[found == k] for k in np.unique(found)}
    sizes = {k: len(own) for k, own in members.items()}
    labels = {k: int(pool.labelled[own].sum()) for k, own in members.items()}
    ranked = {k: iter(_by_typicality(pool.features, own)) for k, own in members.items()}
    quota, chosen = Quota(pool), list[Choice]()
    for left in (
        {k for k in members if sizes[k] >= _LEAST},
        {k for k in members if sizes[k] < _LEAST},
    ):
        while left and len(chosen) < count:
            cluster = min(left, key=lambda k: (labels[k], -sizes[k], k))
            taken = quota.take_first(ranked[cluster], 1)
            if not taken:  # all of it are labelled, or of patients who are asked about already
                left.discard(cluster)
                continue
            chosen.append(Choice(taken[0], _why(sizes[cluster], labels[cluster])))
            labels[cluster] += 1
    return chosen


def _by_typicality(features: np.ndarray, members: np.ndarray):
    """Rows of a cluster, the most typical first; nothing is computed before the first is taken."""
    values = typicality(features[members])
    yield from members[np.argsort(-values, kind="stable")]


def typicality(features: np.ndarray, neighbours: int = _NEIGHBOURS) -> np.ndarray:
    """The inverse mean distance to the nearest others of a cluster, `[M]` (eq. 4).

    Args:
      features: `[M, F]` unit vectors, of one cluster.
      neighbours: K; all others where there are fewer.

    Returns:
      Positive; infinity where all the nearest are the same.
    """
    size = len(features)
    k = min(neighbours, size - 1)
    if k < 1:
        return np.ones(size)
    means, step = np.empty(size), max(1, _FLOATS // size)
    for start in range(0, size, step):
        some = features[start : start + step] @ features.T
        some[np.arange(len(some)), np.arange(start, start + len(some))] = -np.inf  # itself
        near = np.partition(some, size - k, axis=1)[:, size - k :]
        means[start : start + step] = np.sqrt(np.maximum(2 - 2 * near, 0)).mean(1)
    with np.errstate(divide="ignore"):
        return 1 / means


def _why(size: int, labels: int) -> str:
    """The reason in words, `labels` being those that the kind has so far."""
    known = {0: "none of them labelled", 1: "one of them labelled"}.get(
        labels, f"{labels} of them labelled"
    )
    return f"typical of {size} photographs that resemble each other, {known} so far"
