"""Which weights a run's first stage starts from, as its config has it."""

from ml_collections import ConfigDict

from dermjax import models
from dermjax.strategies import STRATEGIES


def starts_from_weights(config: ConfigDict) -> bool:
    """Whether the encoder is read, not drawn."""
    strategy = STRATEGIES[config.strategy]
    return config.pretrain.init == "imagenet" if strategy.pretrains else strategy.from_weights


def named_weights(config: ConfigDict) -> str:
    """What the user named, or the network's own ImageNet weights."""
    return config.init.weights or models.default_weights(config.model.name)
