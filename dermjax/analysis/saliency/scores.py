"""Scores that say whether a map shows what a network uses, and whether that is the lesion.

Deletion, insertion and sensitivity-n ask the network about changed images; the heat ratio, the
share and the regions compare a map with what is known of the image. Definitions as in InputIBA's
public code where it has them, but for its fault that most points of a curve repeat its last.

Letters: one image of H x W px, P = H W; k points of a curve; m masks.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

Predict = Callable[[np.ndarray], np.ndarray]

_LEAST_HEAT = 0.1  # of the effective heat ratio: less counts as none
# Not by linspace, whose .30000000000000004 makes a threshold miss the pixel that it is taken from.
_QUANTILES = np.arange(11) / 10
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


def deletion(predict: Predict, image: np.ndarray, heat: np.ndarray, *, points: int = 50) -> float:
    """Mean probability of the target while the hottest pixels become the mean colour; low is good.

    Petsiuk et al. 2018. The curve goes from the whole image to none of it.

    Args:
      predict: images `[n, H, W, 3]` -> probability of the target `[n]`.
      image: `[H, W, 3]`, normalised: the mean colour is 0.
      heat: `[H, W]`.
      points: k, steps of the curve. The public code removes 10 pixels a step: at 512 px 26,214
        forward passes, whose mean differs from that over 50 points by the curve's curvature only.

    Raises:
      ValueError: shapes that do not fit, heat that is not finite, or no points.
    """
    return _curve(predict, image, np.zeros_like(image), heat, points)


def insertion(
    predict: Predict, image: np.ndarray, heat: np.ndarray, *, points: int = 50, sigma: float = 15.0
) -> float:
    """Mean probability of the target while pixels enter a blurred image, hottest first; high: good.

    Args:
      sigma: px, of the Gaussian blur, at 512 px; it scales with the image.
      predict, image, heat, points: as for `deletion`.

    Raises:
      ValueError: as `deletion`.
    """
    width = sigma * image.shape[0] / 512
    blurred = ndimage.gaussian_filter(image, (width, width, 0), mode="reflect")
    return _curve(predict, blurred, image, heat, points)


def _curve(predict, start, end, heat, points: int) -> float:
    """Mean over the way from one image to the other, by the trapezoidal rule."""
    if points < 1:
        raise ValueError(f"points = {points} must be at least 1; 50 are usual")
    if heat.shape != start.shape[:2]:
        raise ValueError(f"a map {heat.shape} is not of an image {start.shape[:2]}")
    rank = np.empty(heat.size, np.int64)
    rank[order(heat)] = np.arange(heat.size)
    rank = rank.reshape(*heat.shape, 1)
    counts = np.round(np.linspace(0, heat.size, points + 1)).astype(int)
    shares = predict(np.stack([np.where(rank < count, end, start) for count in counts]))
    return float(np.trapezoid(np.asarray(shares, np.float64), dx=1 / points))


def sensitivity_n(
    logits: Predict,
    image: np.ndarray,
    heat: np.ndarray,
    *,
    masks: int = 32,
    sizes: int = 8,
    seed: int = 0,
) -> float:
    """Correlation of the heat in random sets of n pixels with what the logit loses without them.

    Ancona et al. 2018, section 4.2: Pearson's over m sets of a size; here its mean over sizes from
    1 % to 80 % of the pixels, evenly by their logarithm. A constant map correlates with nothing: 0.

    Args:
      logits: images `[n, H, W, 3]` -> the target's logit `[n]`.
      masks: m, sets of each size, at least 3.
      sizes: how many sizes.

    Raises:
      ValueError: fewer than 3 masks.
    """
    if masks < 3:
        raise ValueError(f"masks = {masks} must be at least 3 for a correlation; 32 are usual")
    rng, pixels = np.random.default_rng(seed), heat.size
    counts = np.unique(np.round(np.geomspace(0.01, 0.8, sizes) * pixels).astype(int).clip(1))
    flat, whole, found = heat.ravel(), float(logits(image[None])[0]), []
    for count in counts:
        chosen = np.zeros((masks, pixels), bool)
        for row in chosen:
            row[rng.choice(pixels, count, replace=False)] = True
        removed = image[None] * ~chosen.reshape(masks, *heat.shape, 1)
        lost = whole - np.asarray(logits(removed.astype(image.dtype)), np.float64)
        inside = np.array([flat[row].sum(dtype=np.float64) for row in chosen])
        found.append(_pearson(inside, lost))
    return float(np.mean(found))


def _pearson(x, y) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / size) if size > 1e-12 else 0.0


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
      (share of the heat, share of the area); a map without heat has the areas' shares, as one has
      that looks nowhere in particular.
    """
    total = float(heat.sum())
    return {
        name: (
            float(heat[where].sum()) / total if total > 0 else float(where.mean()),
            float(where.mean()),
        )
        for name, where in regions.items()
    }
