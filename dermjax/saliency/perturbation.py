"""What a network answers when pixels of an image are changed: the hottest first, or by chance.

Changed images are made on the device, a chunk at a time, from the image and the rank of its pixels
in each map; sets of pixels come from an image's own key.

Letters: one image of H x W px, P = H W; K maps of it; S states of a curve; N sizes, M random sets
of each; c changed images that the network sees at once.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy import ndimage

from dermjax.saliency.noise import stage_key

_USUAL_SIDE = 512  # px, of the images whose blur is given


@struct.dataclass
class Answers:
    """Logits of one target; with a first axis of images where there are several."""

    whole: jax.Array  # logit of the unchanged image, []
    deletion: jax.Array  # probability while pixels become the mean colour, [K, S]
    insertion: jax.Array  # probability while pixels enter a blurred image, [K, S]
    heat: jax.Array  # sum in each random set, less what a flat map has there, [K, N, M]
    logits: jax.Array  # without each random set, [N, M]


@struct.dataclass
class ExplainedImage:
    """An image with its maps."""

    image: jax.Array  # [H, W, 3], normalised: the mean colour is 0
    target: jax.Array  # [] int32, the class that is explained
    heat: jax.Array  # [K, H, W] float32, each map less its mean: sums over many pixels stay exact
    ranks: jax.Array  # [K, H, W] int32, place of each pixel, the hottest has 0
    key: jax.Array  # of the image


@dataclasses.dataclass(frozen=True, eq=False)  # arrays have no equality
class Changes:
    """How pixels are changed; images are square."""

    counts: np.ndarray  # [S] int, pixels changed in each state of a curve; the first is 0
    sizes: np.ndarray  # [N] int, pixels of random sets, in [1, P]
    masks: int  # M
    blur: np.ndarray  # [H, H], see `blur_matrix`
    chunk: int  # c; the answers do not depend on it


def answers(
    model: nn.Module,
    variables: Any,
    explained: ExplainedImage,
    changes: Changes,
) -> Answers:
    """The network's answers on 2 K S + N M changed images; a random set serves all maps.

    Args:
      explained: the image, its maps, and the class that they are of.
      changes: what is done to its pixels.
    """
    image, target, heat = explained.image, explained.target, explained.heat
    masks, chunk, blur = changes.masks, changes.chunk, changes.blur
    (k, side, _), s, n = heat.shape, len(changes.counts), len(changes.sizes)
    counts = jnp.asarray(changes.counts, jnp.int32)
    sizes = jnp.asarray(changes.sizes, jnp.int32)
    exact = jax.lax.Precision.HIGHEST
    blurred = jnp.einsum("yh,hwc,xw->yxc", blur, image, blur, precision=exact)
    starts, ends = jnp.stack([image, blurred]), jnp.stack([jnp.zeros_like(image), image])

    def by_rank(numbers):
        way, place, state = numbers // (k * s), numbers // s % k, numbers % s
        changed = explained.ranks[place] < counts[state][:, None, None]
        mixed = jnp.where(changed[..., None], ends[way], starts[way])
        return mixed, jnp.zeros((len(numbers), k), jnp.float32)

    def by_chance(numbers):
        draw = jax.vmap(functools.partial(random_set, explained.key, shape=(side, side)))
        chosen = draw(sizes[numbers // masks], numbers % masks)
        inside = jnp.einsum("bhw,khw->bk", chosen.astype(jnp.float32), heat, precision=exact)
        return jnp.where(chosen[..., None], 0, image), inside

    def ask(given):
        numbers, chance = given
        changed, inside = jax.lax.cond(chance, by_chance, by_rank, numbers)
        logits = model.apply(variables, changed, train=False).astype(jnp.float32)
        return logits[:, target], jax.nn.softmax(logits)[:, target], inside

    ranked, drawn = _chunks(2 * k * s, chunk), _chunks(n * masks, chunk)
    chance = np.repeat([False, True], [len(ranked), len(drawn)])
    numbers = jnp.asarray(np.concatenate([ranked, drawn]), jnp.int32)
    logits, probabilities, inside = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), jax.lax.map(ask, (numbers, chance))
    )
    deletion, insertion = probabilities[: 2 * k * s].reshape(2, k, s)
    random = slice(ranked.size, ranked.size + n * masks)
    sums = jnp.moveaxis(inside[random].reshape(n, masks, k), -1, 0)
    return Answers(logits[0], deletion, insertion, sums, logits[random].reshape(n, masks))


def _chunks(count: int, chunk: int) -> np.ndarray:
    """The numbers below `count` in rows of `chunk`; the last row is filled up by its last."""
    rows = -(-count // chunk)
    return np.minimum(np.arange(rows * chunk), count - 1).reshape(rows, chunk)


def random_set(
    key: jax.Array, size: jax.Array, number: jax.Array, shape: tuple[int, int]
) -> jax.Array:
    """`[H, W]` bool, True at `size` random pixels.

    Those with the smallest of 32 random bits each. The threshold is found bit by bit, by 32 sums,
    in a fifth of a sort's time at 512 px. Where two pixels share the bits at the threshold, one or
    more pixels too many are taken: in 1 of 10^4 sets of that size.

    Args:
      key: of the image: its sets depend on nothing else.
      size: in [1, P].
      number: of the set, among those of this size.
      shape: H, W.
    """
    bits = jax.random.bits(jax.random.fold_in(stage_key(key, "sets", size), number), shape)

    def narrow(i, threshold):
        higher = threshold | (jnp.uint32(1) << (31 - i).astype(jnp.uint32))
        return jnp.where((bits < higher).sum() < size, higher, threshold)

    return bits <= jax.lax.fori_loop(0, 32, narrow, jnp.uint32(0))


def states(pixels: int, steps: int, pixels_per_step: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A curve's points: how many pixels are changed, `[S]` int, their share, `[S]` from 0 to 1.

    Args:
      steps: S - 1, of equal size.
      pixels_per_step: if not 0, the size of a step instead; the last one may be smaller.

    Raises:
      ValueError: no steps, or a step below 0 or above the image.
    """
    if not 0 <= pixels_per_step <= pixels:
        raise ValueError(
            f"pixels_per_step = {pixels_per_step} must lie in [1, {pixels}], the image's pixels, "
            "or be 0 for steps of equal number"
        )
    if pixels_per_step:
        counts = np.append(np.arange(0, pixels, pixels_per_step), pixels)
        return counts, counts / pixels
    if steps < 1:
        raise ValueError(f"steps = {steps} must be at least 1; 50 are usual")
    shares = np.linspace(0, 1, steps + 1)
    return np.round(shares * pixels).astype(int), shares


def set_sizes(pixels: int, count: int, least: float, most: float) -> np.ndarray:
    """Sizes n of random sets, `[N]` int, evenly by their logarithm; equal ones are one.

    Args:
      count: of sizes.
      least, most: n in pixels, or, below 1, as a share of them. 1, 31,623 and 45: as in InputIBA's
        public code.

    Raises:
      ValueError: no size, the least is not above 0 or above the most, or this is the whole image.
    """
    low, high = (n * pixels if n < 1 else n for n in (least, most))
    if count < 1:
        raise ValueError(f"sizes = {count} must be at least 1; 8 are usual")
    if not 0 < low <= high < pixels:
        raise ValueError(
            f"least_n = {least:g} and most_n = {most:g} must be above 0, in this order and below "
            f"the {pixels:,} pixels of an image; below 1 they are shares of these"
        )
    return np.unique(np.geomspace(low, high, count).astype(int).clip(1))


def blur_matrix(side: int, sigma: float, kernel: float = 0) -> np.ndarray:
    """`[H, H]` float32: times the columns, then the rows of an image it is a Gaussian's blur.

    The image's border is reflected.

    Args:
      side: H, px.
      sigma: px of an image of 512 px; it scales with the image, as does:
      kernel: whole width, where the Gaussian is cut; 0: 4 sigma to each side.
    """
    width = sigma * side / _USUAL_SIDE
    radius = blur_radius(side, kernel) if kernel else None
    matrix = ndimage.gaussian_filter1d(np.eye(side), width, axis=0, mode="reflect", radius=radius)
    return matrix.astype(np.float32)


def blur_radius(side: int, kernel: float) -> int:
    """A kernel's radius for images of 512 px, in whole px of an image of `side`: at least 1."""
    return max(round((kernel * side / _USUAL_SIDE - 1) / 2), 1)
