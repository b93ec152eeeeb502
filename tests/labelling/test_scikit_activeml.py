"""The two published methods beside scikit-activeml's, where that is installed."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin

from dermjax.labelling import clusters, coverage, typicality
from tests.labelling.pools import made_up

pool_methods = pytest.importorskip("skactiveml.pool")


class Ours(BaseEstimator, ClusterMixin):
    """The clusters that dermjax makes: k-means itself is not what is compared."""

    def __init__(self, n_clusters, seed):
        self.n_clusters, self.seed = n_clusters, seed

    def fit_predict(self, features, y=None):
        return clusters.assign(np.asarray(features, np.float32), self.n_clusters, self.seed)


def missing(pool):
    return np.where(pool.labels < 0, np.nan, pool.labels)


@pytest.mark.parametrize("labelled", [0, 12])
def test_typicality(labelled):
    pool, _ = made_up(images=400, labelled=labelled, kinds=3)
    theirs = pool_methods.TypiClust(
        cluster_algo=Ours, cluster_algo_dict={"seed": 5}, k=20, random_state=0
    ).query(pool.features, missing(pool), batch_size=3)
    assert [one.row for one in typicality.choose(pool, 3, 5)] == theirs.tolist()


@pytest.mark.parametrize("labelled", [0, 12])
def test_coverage(labelled):
    """Of equal degrees each takes another: what is compared is how many each step covers."""
    pool, _ = made_up(images=200, labelled=labelled, spread=0.8)
    kinds = pool.known_classes or 10
    above = coverage.threshold(pool.features, clusters.assign(pool.features, kinds, 2), 2)
    delta = float(np.sqrt(2 - 2 * above)) * (1 - 1e-6)
    theirs, degrees = pool_methods.ProbCover(deltas=[delta], random_state=0).query(
        pool.features, missing(pool), batch_size=8, return_utilities=True
    )
    ours = [one.row for one in coverage.choose(pool, 8, 2)]
    balls = coverage.Balls(pool.features, above)
    balls.cover(np.flatnonzero(pool.labelled))
    for step, (row, other) in enumerate(zip(ours, theirs.tolist(), strict=True)):
        assert balls.degrees[row] == degrees[step][other]
        if row != other:
            break
        balls.cover(np.array([row]))
