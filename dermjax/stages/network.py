"""From config to networks and their first weights."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dermjax import models
from dermjax.models import timm
from dermjax.training.parallel import AXIS, Devices


def dtype(config: ConfigDict, devices: Devices) -> jnp.dtype:
    """What the network computes in."""
    name = config.model.dtype
    return devices.compute_dtype if name == "auto" else jnp.dtype(name)


def make_classifier(config: ConfigDict, devices: Devices, classes: int) -> nn.Module:
    """Stage 2's network: stochastic depth, dropout, and a linear layer of `classes` outputs."""
    return models.create(
        config.model.name,
        num_classes=classes,
        dtype=dtype(config, devices),
        drop_rate=config.model.drop_rate,
        drop_path_rate=config.model.drop_path_rate,
        bn_groups=config.finetune.bn_groups,
        axis_name=AXIS,
    )


def make_projected_encoder(config: ConfigDict, devices: Devices) -> nn.Module:
    """Stage 1's network: the encoder without its classifier, and MoCo-v2's head."""
    encoder = models.create(
        config.model.name,
        num_classes=0,
        dtype=dtype(config, devices),
        bn_groups=config.pretrain.bn_groups,
        axis_name=AXIS,
    )
    return models.ProjectedEncoder(
        encoder, hidden_dim=config.pretrain.hidden_dim, dim=config.pretrain.dim
    )


# Drawing weights runs once and compiles for seconds: half of them are saved this way.
_QUICK_COMPILE = {"xla_backend_optimization_level": 0}


def initialize(model: nn.Module, image_size: int, seed: int) -> dict[str, Any]:
    """Random `{'params', 'batch_stats'}`; a function of the seed alone."""
    return _drawn(lambda variables: variables, model, image_size, seed)


def shapes(model: nn.Module, image_size: int) -> dict[str, Any]:
    """Shapes and dtypes of `initialize`'s variables, without drawing them."""
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return jax.eval_shape(lambda key: model.init(key, images, train=False), jax.random.key(0))


def initialize_around(
    encoder: dict[str, Any], model: nn.Module, image_size: int, seed: int
) -> dict[str, Any]:
    """A classifier's variables: the given encoder, and `initialize`'s classifier layer."""
    name = model.CLASSIFIER
    layer = _drawn(lambda variables: variables["params"][name], model, image_size, seed)
    return {
        "params": {**encoder["params"], name: layer},
        "batch_stats": encoder["batch_stats"],
    }


def _drawn(select, model: nn.Module, image_size: int, seed: int):
    """`select(variables)` of fresh variables; what is not selected is not computed.

    That goes for the forward pass too, which `init` needs only for the shapes.
    """
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    draw = jax.jit(
        lambda key: select(model.init(key, images, train=False)),
        compiler_options=_QUICK_COMPILE if jax.default_backend() == "cpu" else None,
    )
    return draw(jax.random.key(seed))


def load_imagenet(path: str, variables: dict[str, Any], classifier: str) -> dict[str, Any]:
    """`variables` with the encoder's weights read from a file of timm's names."""
    return timm.load(path, variables, classifier=classifier)
