"""Whether maps depend on what a network has learned (Adebayo et al. 2018), and how alike maps are.

Letters: maps of H x W px.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

_WINDOW = 7  # px, of SSIM; Wang et al. 2004 with a uniform window, as scikit-image has it
_C1, _C2 = 0.01**2, 0.03**2  # of values in [0, 1]


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Mean structural similarity of two maps `[H, W]` in [0, 1] (Wang et al. 2004, equation 13).

    Raises:
      ValueError: other shapes, or sides shorter than the window of 7 px.
    """
    if first.shape != second.shape or min(first.shape) < _WINDOW:
        raise ValueError(
            f"maps {first.shape} and {second.shape} must have one shape of at least {_WINDOW} px"
        )
    x, y = (np.asarray(one, np.float64) for one in (first, second))

    def mean(values):
        return ndimage.uniform_filter(values, _WINDOW)

    of_sample = _WINDOW**2 / (_WINDOW**2 - 1)
    mx, my = mean(x), mean(y)
    vx, vy = of_sample * (mean(x * x) - mx * mx), of_sample * (mean(y * y) - my * my)
    both = of_sample * (mean(x * y) - mx * my)
    found = (2 * mx * my + _C1) * (2 * both + _C2)
    found /= (mx * mx + my * my + _C1) * (vx + vy + _C2)
    border = _WINDOW // 2
    return float(found[border:-border, border:-border].mean())


def layers_from_last(model: nn.Module, variables: Mapping[str, Any], side: int) -> tuple[str, ...]:
    """Names of the layers and blocks that have parameters, from the last computed to the first.

    The order is that of a forward pass; that of the tree is the alphabet's.

    Args:
      model: of images `[b, H, W, 3]`.
      side: px, H and W of an image that it takes; nothing is computed.
    """
    called = []

    def note(function, arguments, named, context):
        called.extend(context.module.path[:1])
        return function(*arguments, **named)

    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    # A block is called before its parts; names that come again keep their first place.
    names = [name for name in dict.fromkeys(called) if name in variables["params"]]
    return tuple(reversed(names))


def cascade(
    variables: Mapping[str, Any], fresh: Mapping[str, Any], layers: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Variables with more and more layers drawn anew, from the last one down.

    Convolutions, linear layers and batch norm alike: its scale, bias, mean and variance are learned
    too, and a network that kept them would keep much of what it knows.

    Args:
      variables: collections of trees by layer, as `{'params': {...}, 'batch_stats': {...}}`.
      fresh: the same of a network that has not been trained.
      layers: names in the trees, from the last layer to the first; see `layers_from_last`.

    Yields:
      (layer, variables in which it and all before it in `layers` are fresh).

    Raises:
      ValueError: a layer that is in no tree, or trees of different networks.
    """
    shapes = [jax.tree.map(np.shape, dict(tree)) for tree in (variables, fresh)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the fresh variables are of another network: their names or shapes differ; draw them "
            "by the same one's initialisers"
        )
    mixed = {kind: dict(tree) for kind, tree in variables.items()}
    for layer in layers:
        holding = [kind for kind in mixed if layer in mixed[kind]]
        if not holding:
            raise ValueError(f"{layer!r} is no layer; there are {', '.join(mixed['params'])}")
        for kind in holding:
            mixed[kind] = {**mixed[kind], layer: fresh[kind][layer]}
        yield layer, dict(mixed)
