"""k-means of unit features, for pools of a hundred and of a hundred thousand photographs."""

import warnings

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

# As TypiClust's authors do: all rows at a time for few clusters, else some thousand.
_FEW = 50
_BATCH = 5000
_EPOCHS = 5  # at most, over all rows
_FIRST = 3  # rows for each cluster among which the first centres are looked for


def assign(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Each row's cluster, `[N]` int in [0, clusters); some clusters may be empty.

    Args:
      features: `[N, F]` float32.
      clusters: at least 1; N where it is more.
      seed: of the first centres.
    """
    clusters = min(clusters, len(features))
    if clusters <= _FEW:
        kmeans = KMeans(clusters, n_init=1, random_state=seed)
    else:
        kmeans = MiniBatchKMeans(
            clusters,
            batch_size=_BATCH,
            init_size=min(_FIRST * clusters, len(features)),
            n_init=1,
            max_iter=_EPOCHS,
            random_state=seed,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        return kmeans.fit_predict(features).astype(int)
