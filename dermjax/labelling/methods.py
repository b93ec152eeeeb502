"""The ways to choose, by name, and the hand-over from typical to uncertain photographs."""

from collections.abc import Callable, Mapping

from dermjax.labelling import coverage, random_draw, typicality, uncertainty
from dermjax.labelling.pool import Choice, Pool

Method = Callable[[Pool, int, int], list[Choice]]  # of a pool, how many, and a seed

RANDOM, DEFAULT = "random", "handover"
# Labels for each known class from which on `handover` asks about uncertain photographs [ours].
FEW = 10


def handover(pool: Pool, count: int, seed: int) -> list[Choice]:
    """TypiClust while labels are few, then margin.

    The order is TCM's (Doucet et al. 2024, "Bridging diversity and uncertainty in active learning
    with self-supervised pre-training", arXiv 2403.03728), which found it better than either alone;
    where the one ends and the other begins, 10 labels for each class that is known, is ours.

    Args:
      count: how many are wanted; fewer come where the pool has no more.
      seed: of the method that is taken.
    """
    method = typicality.choose if has_few(pool) else uncertainty.choose_by_margin
    return method(pool, count, seed)


def has_few(pool: Pool) -> bool:
    """Whether the labels are too few to ask a classifier what it is unsure of."""
    return pool.known_classes < 2 or int(pool.labelled.sum()) < FEW * pool.known_classes


METHODS: Mapping[str, Method] = {
    RANDOM: random_draw.choose,
    "typicality": typicality.choose,
    "coverage": coverage.choose,
    "margin": uncertainty.choose_by_margin,
    "entropy": uncertainty.choose_by_entropy,
    DEFAULT: handover,
}
NEED_LABELS = ("margin", "entropy")
ASK_CLASSIFIER = (*NEED_LABELS, DEFAULT)
