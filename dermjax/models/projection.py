"""The network of contrastive pre-training: an encoder and MoCo-v2's projection head.

https://arxiv.org/abs/2003.04297, section 3: a two-layer head, dropped after pre-training.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models.layers import WHOLE, Part, linear_init
from dermjax.models.norm import BatchNorm


class Head(nn.Module):
    """`[B, F]` -> `[B, D]`: linear, ReLU, linear, or one linear layer if `hidden_dim` is 0.

    Attributes:
        hidden_dim: Width of the hidden layer.
        dim: D.
        norm: Constructor of the batch normalisation behind each layer, of which the last has
            neither scale nor bias, as in MoCo v3 (https://arxiv.org/abs/2104.02057, section 4.1);
            the layers then have no bias. None: no normalisation, as in MoCo-v2.
    """

    hidden_dim: int
    dim: int
    norm: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(self, features, train: bool):
        linear = functools.partial(nn.Dense, kernel_init=linear_init, use_bias=self.norm is None)
        if self.hidden_dim:
            features = linear(self.hidden_dim, name="hidden")(features)
            if self.norm:
                features = self.norm(name="hidden_norm")(features, train)
            features = nn.relu(features)
        features = linear(self.dim, name="output")(features)
        if self.norm:
            features = self.norm(affine=False, name="output_norm")(features, train)
        return features


class ProjectedEncoder(nn.Module):
    """An encoder followed by a projection; `params` has the keys `encoder` and `head`.

    Attributes:
        encoder: A network with `num_classes=0`: images to features `[B, F]`.
        hidden_dim: Width of the hidden layer; 0 leaves it out (MoCo v1).
        dim: D, the length of an embedding.
        norm: Whether batch normalisation, of the encoder's groups, follows the head's layers.
    """

    encoder: nn.Module
    hidden_dim: int = 2048
    dim: int = 128
    norm: bool = False

    @nn.compact
    def __call__(self, images, train: bool = False, *, part: Part = WHOLE):
        """Embeds a batch.

        Args:
            images: `[B, H, W, 3]`, normalised.
            train: Whether batch statistics are used and paths dropped.
            part: (index, count): images are this one of equal runs of the device's share.

        Returns:
            `[B, D]` float32, NOT normalised: the step divides by the L2 norm.

        Raises:
            ValueError: If the encoder still has a classifier or a size is out of range.
        """
        classes = getattr(self.encoder, "num_classes", 0)
        if classes:
            raise ValueError(
                f"the encoder has a classifier of {classes} classes; create it with num_classes=0"
            )
        if self.hidden_dim < 0 or self.dim < 1:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must be >= 0 (0: no hidden layer) and "
                f"dim {self.dim} must be >= 1"
            )
        features = self.encoder(images, train=train, part=part)
        norm = None
        if self.norm:
            norm = functools.partial(
                BatchNorm,
                groups=self.encoder.bn_groups,
                axis_name=self.encoder.axis_name,
                parts=part[1],
            )
        head = Head(self.hidden_dim, self.dim, norm, name="head")
        return head(features.astype(jnp.float32), train)
