"""The network of contrastive pre-training: an encoder and MoCo-v2's projection head.

https://arxiv.org/abs/2003.04297, section 3: a two-layer head, dropped after pre-training.
"""

import flax.linen as nn
import jax.numpy as jnp

from dermjax.models.layers import WHOLE, Part, linear_init


class Head(nn.Module):
    """`[B, F]` -> `[B, D]`: linear, ReLU, linear, or one linear layer if `hidden_dim` is 0."""

    hidden_dim: int
    dim: int

    @nn.compact
    def __call__(self, features):
        if self.hidden_dim:
            hidden = nn.Dense(self.hidden_dim, kernel_init=linear_init, name="hidden")
            features = nn.relu(hidden(features))
        return nn.Dense(self.dim, kernel_init=linear_init, name="output")(features)


class ProjectedEncoder(nn.Module):
    """An encoder followed by a projection; `params` has the keys `encoder` and `head`.

    Attributes:
        encoder: A network with `num_classes=0`: images to features `[B, F]`.
        hidden_dim: Width of the hidden layer; 0 leaves it out (MoCo v1).
        dim: D, the length of an embedding.
    """

    encoder: nn.Module
    hidden_dim: int = 2048
    dim: int = 128

    @nn.compact
    def __call__(self, images, train: bool = False, *, part: Part = WHOLE):
        """Embeds a batch.

        Args:
            images: `[B, H, W, 3]`, normalised.
            train: Whether the encoder uses batch statistics and drops paths.
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
        return Head(self.hidden_dim, self.dim, name="head")(features.astype(jnp.float32))
