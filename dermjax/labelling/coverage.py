"""ProbCover: photographs around which most of the others lie (Yehuda et al. 2022).

"Active learning through a covering lens", NeurIPS 2022, algorithm 1: around every photograph lies a
ball of radius delta; greedily that one is taken whose ball holds most photographs that no labelled
one's ball holds. delta is the largest at which 95 % of the balls are pure, all of a ball being of
one cluster of k-means (section 3.3).

Which of N photographs lie in whose ball is kept as bits, N ** 2 / 8 bytes: 313 MB of 50,000.
"""

import numpy as np

from dermjax.labelling import clusters, random_draw
from dermjax.labelling.pool import Choice, Pool, Quota

MOST = 120_000  # photographs: 1.8 GB
_PURITY = 0.95  # [paper]
_CLUSTERS = 10  # where no class is known: the paper's, of CIFAR-10
_ANCHORS = 4096  # balls at most whose purity is looked at
_BLOCK = 4096  # rows whose similarities are computed at a time; a multiple of 64
_ROWS = 256  # of bits that are unpacked at a time


def choose(pool: Pool, count: int, seed: int) -> list[Choice]:
    """The photographs whose balls hold most that no label is near.

    When all are covered, the rest is drawn at random.

    Args:
      count: how many are wanted; fewer come where the pool has no more.
      seed: of k-means, of the balls whose purity is looked at, and of what is drawn at random.

    Raises:
      ValueError: more photographs than all pairs of which can be kept.
    """
    rows = np.flatnonzero(pool.labelled | pool.askable)
    check_size(len(rows))
    if not len(rows):
        return []
    features = np.ascontiguousarray(pool.features[rows])
    kinds = max(pool.known_classes, 2) if pool.labelled.any() else _CLUSTERS
    near = Balls(features, threshold(features, clusters.assign(features, kinds, seed), seed))
    near.cover(np.flatnonzero(pool.labelled[rows]))
    quota, chosen = Quota(pool), list[Choice]()
    while len(chosen) < count and (open_rows := quota.open[rows]).any():
        best = int(np.argmax(np.where(open_rows, near.degrees, -1)))
        if near.degrees[best] < 1:
            break
        chosen.append(Choice(int(rows[best]), _why(int(near.degrees[best]))))
        quota.take(int(rows[best]))
        near.cover(np.array([best]))
    more = quota.take_first(random_draw.order(pool, seed), count - len(chosen))
    return chosen + [Choice(row, f"{random_draw.WHY}: all are covered") for row in more]


def check_size(images: int) -> None:
    """Checks that all pairs can be kept.

    Raises:
      ValueError: there are too many photographs.
    """
    if images > MOST:
        raise ValueError(
            f"coverage compares all pairs, of {MOST:,} photographs at most, and there are "
            f"{images:,}: take method=typicality"
        )


def threshold(features: np.ndarray, cluster: np.ndarray, seed: int) -> float:
    """The cosine above which a photograph lies in a ball, 1 - delta ** 2 / 2.

    A ball is pure as long as it does not reach the nearest photograph of another cluster: delta is
    a quantile of the distances to these. Of many photographs 4,096 balls are looked at.

    Args:
      features: `[N, F]` unit vectors.
      cluster: `[N]` int.
      seed: of the balls that are looked at.

    Returns:
      -2, so that every ball holds all, where there is one cluster.
    """
    rng = np.random.default_rng([seed, 1])
    anchors = np.arange(len(features))
    if len(anchors) > _ANCHORS:
        anchors = np.sort(rng.choice(anchors, _ANCHORS, replace=False))
    nearest = np.full(len(anchors), -2.0)
    for start in range(0, len(features), _BLOCK):
        others = slice(start, start + _BLOCK)
        some = features[anchors] @ features[others].T
        some[cluster[anchors, None] == cluster[None, others]] = -2.0
        nearest = np.maximum(nearest, some.max(1))
    impure = int((1 - _PURITY) * len(anchors) + 1e-9)  # balls that may be
    return float(np.sort(nearest)[::-1][impure])


class Balls:
    """Who lies in whose ball, and how many of each ball are not covered yet.

    Attributes:
      degrees: `[N]` int, photographs of each ball that are not covered.
    """

    def __init__(self, features: np.ndarray, above: float):
        """Args:
        features: `[N, F]` float32 unit vectors.
        above: a photograph lies in the balls of those with whom its cosine is above it; and in its
          own.
        """
        size = len(features)
        self._bits = np.zeros((size, -(-size // 8)), np.uint8)
        for i in range(0, size, _BLOCK):
            for j in range(i, size, _BLOCK):  # the other half is the same
                inside = features[i : i + _BLOCK] @ features[j : j + _BLOCK].T > above
                if i == j:
                    inside |= inside.T  # products may differ in their last digit
                    np.fill_diagonal(inside, True)
                self._put(i, j, inside)
                self._put(j, i, inside.T)
        self._uncovered = np.ones(size, bool)
        self.degrees = np.concatenate(
            [np.bitwise_count(self._bits[i : i + _BLOCK]).sum(1) for i in range(0, size, _BLOCK)]
        ).astype(int)

    def _put(self, i: int, j: int, inside: np.ndarray) -> None:
        packed = np.packbits(inside, axis=1)
        self._bits[i : i + len(inside), j // 8 : j // 8 + packed.shape[1]] = packed

    def held(self, row: int) -> np.ndarray:
        """`[N]` bool, who lies in the ball of a row."""
        return np.unpackbits(self._bits[row], count=len(self._uncovered)).astype(bool)

    def cover(self, rows: np.ndarray) -> None:
        """Takes out of all balls what the balls of `rows` hold."""
        for row in rows:
            new = np.flatnonzero(self.held(row) & self._uncovered)
            self._uncovered[new] = False
            for start in range(0, len(new), _ROWS):
                some = self._bits[new[start : start + _ROWS]]
                lost = np.unpackbits(some, axis=1, count=len(self.degrees)).sum(0, dtype=np.int32)
                self.degrees -= lost


def _why(covered: int) -> str:
    """The reason in words; `covered` counts the photograph itself."""
    if covered == 1:
        return "unlike all others, and near none that is labelled or stands above it"
    return f"near {covered - 1} others that are near none that is labelled or stands above it"
