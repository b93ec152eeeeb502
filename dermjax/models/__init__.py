"""Networks: Flax Linen modules whose parameter names follow timm."""

import difflib

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models import efficientnet, resnet
from dermjax.models.projection import ProjectedEncoder

__all__ = ["ProjectedEncoder", "create", "names"]

_FAMILIES = (
    (efficientnet.EfficientNet, efficientnet.VARIANTS),
    (resnet.ResNet, resnet.VARIANTS),
)


def names() -> list[str]:
    """The networks that `create` knows; `efficientnet_tiny` is for tests and smoke runs."""
    return [name for _, variants in _FAMILIES for name in variants]


def create(
    name: str,
    *,
    num_classes: int,
    dtype=jnp.float32,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    bn_groups: int = 1,
    axis_name: str | None = None,
) -> nn.Module:
    """Builds a network by its timm name.

    Its attribute `CLASSIFIER` names the one entry of `params` that is not the encoder's.

    Args:
        name: One of `names()`.
        num_classes: Number of logits; 0 for pooled features.
        dtype: What the network computes in; parameters, statistics and results stay float32.
        drop_rate: Dropout before the classifier, in [0, 1).
        drop_path_rate: Stochastic depth of the last block, in [0, 1), less in earlier ones.
        bn_groups: Groups of the global batch that share batch-norm statistics.
        axis_name: The axis that the batch is spread over; None for one device.

    Returns:
        A module of `(images [B, H, W, 3], train)`.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    for rate_name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{rate_name} {rate} is outside [0, 1); use 0 to switch it off")
    if num_classes < 0:
        raise ValueError(f"num_classes {num_classes} is negative; use 0 for pooled features")
    if bn_groups < 1:
        raise ValueError(f"bn_groups {bn_groups} is less than 1; use 1 for the whole batch")
    for family, variants in _FAMILIES:
        if name in variants:
            return family(
                **variants[name],
                num_classes=num_classes,
                dtype=dtype,
                drop_rate=drop_rate,
                drop_path_rate=drop_path_rate,
                bn_groups=bn_groups,
                axis_name=axis_name,
            )
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names())}"
    raise ValueError(f"no network is called {name!r}; {hint}")
