"""Scores that say whether a map shows what a network uses, and whether that is the lesion.

Deletion, insertion and sensitivity-n are made of the network's answers to changed images
(`perturbation`); the heat ratio and the regions compare a map with what is known of the image.
Definitions as in InputIBA's public code where it has them, but for its fault that most points of a
curve repeat its last.

Letters: one image of H x W px, P = H W; S states of a curve; N sizes and M sets of each.
"""

from collections.abc import Mapping

import numpy as np

_LEAST_HEAT = 0.1  # of the effective heat ratio: less counts as none
# Not by linspace, whose .30000000000000004 makes a threshold miss the pixel that it is taken from.
_QUANTILES = np.arange(11) / 10
_CONSTANT = 1e-12  # spreads below this are rounding
_EMPTY = 0.02  # of the colour scale: a map that is nowhere above it shows nothing
LARGE = 1 / 3  # of the image: a lesion larger than this is hit by nearly every map


def order(heat: np.ndarray, seed: int = 0) -> np.ndarray:
    """Pixels `[P]`, the hottest first; equal ones in an order drawn by the seed.

    A flat map would else be read from top to bottom.

    Raises:
      ValueError: heat that is not finite.
    """
    flat = np.asarray(heat, np.float64).ravel()
    if not np.isfinite(flat).all():
        raise ValueError(
            f"{(~np.isfinite(flat)).sum()} of {flat.size} values of a map are not finite"
        )
    return np.lexsort((np.random.default_rng(seed).permutation(flat.size), -flat))


def ranks(heat: np.ndarray) -> np.ndarray:
    """Place of each pixel in `order`, `[H, W]` int32: the hottest has 0.

    Raises:
      ValueError: heat that is not finite.
    """
    found = np.empty(heat.size, np.int32)
    found[order(heat)] = np.arange(heat.size, dtype=np.int32)
    return found.reshape(heat.shape)


def area(curve: np.ndarray, shares: np.ndarray) -> float:
    """Under a curve by the trapezoidal rule: of insertion (high is good) and deletion (low is).

    Petsiuk et al. 2018. The curve goes from no pixel changed to all.

    Args:
      curve: `[S]`, the target's probability in each state.
      shares: `[S]`, of the pixels that are changed, from 0 to 1.
    """
    return float(np.trapezoid(np.asarray(curve, np.float64), shares))


def sensitivity_n(heat: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Correlation of the heat in random sets of n pixels with what the logit loses without them.

    Ancona et al. 2018, section 4.2: Pearson's over the M sets of a size.

    Args:
      heat: `[N, M]`, sums.
      lost: `[N, M]`.

    Returns:
      `[N]` in [-1, 1]; a constant map, or logit, correlates with nothing: 0.
    """
    x, y = (np.asarray(of, np.float64) for of in (heat, lost))
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    spread = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    varies = spread > _CONSTANT
    return np.where(varies, (x * y).sum(-1) / np.where(varies, spread, 1), 0)


def is_empty(heat: np.ndarray) -> bool:
    """Whether a map `[H, W]`, as shares of the colour scale, shows nothing anywhere."""
    return bool(heat.max() < _EMPTY)


def effective_heat_ratio(heat: np.ndarray, lesion: np.ndarray) -> float:
    """Share of the heat above a threshold that lies in the lesion, per pixel above it.

    Zhang et al. 2021: heat below .1 counts as none; thresholds are the deciles of what is left, the
    last one lowered to .99 of the maximum; mean over them by the trapezoidal rule. In [0, 1]: only
    a map that is 1 in the lesion and 0 elsewhere has 1.

    Args:
      heat: `[H, W]` in [0, 1].
      lesion: `[H, W]` bool.

    Returns:
      NaN for a lesion that is empty or larger than a third of the image, as in the public code; 0
      for a map without heat.
    """
    if not lesion.any() or lesion.mean() > LARGE:
        return float("nan")
    hot = heat[heat >= _LEAST_HEAT]
    if not hot.size:
        return 0.0
    ratios = []
    for threshold in np.minimum(np.quantile(hot, _QUANTILES), 0.99 * heat.max()):
        above = (heat >= threshold) & (heat >= _LEAST_HEAT)
        ratios.append(float(heat[above & lesion].sum()) / above.sum())
    return float(np.trapezoid(ratios, dx=1 / (len(ratios) - 1)))


def heat_by_region(
    heat: np.ndarray, regions: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Share of a map's heat, and of the image's area, in each region.

    Args:
      heat: `[H, W]`, at least 0.
      regions: name -> `[H, W]` bool, no pixel in two.

    Returns:
      (share of the heat, share of the area); an empty map looks nowhere: its heat has no shares,
      NaN.
    """
    total = np.nan if is_empty(heat) else float(heat.sum())
    return {
        name: (float(heat[where].sum()) / total, float(where.mean()))
        for name, where in regions.items()
    }
