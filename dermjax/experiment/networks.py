"""From config to networks and their first weights."""

import dataclasses
import json
import os
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from etils import epath
from ml_collections import ConfigDict

from dermjax import models
from dermjax.models import timm
from dermjax.runs.folder import write_text
from dermjax.settings.first_weights import named_weights, starts_from_weights
from dermjax.training.parallel import AXIS, Devices
from dermjax.training.writer import Writer

_WEIGHTS = "weights.json"


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a run's first stage starts from, and what all of its stages feed the network."""

    source: str  # of the weights; `random`
    sha256: str  # of their file
    encoder: dict[str, Any] | None  # {'params', 'batch_stats'} without a classifier; None: random
    preprocessing: models.Preprocessing

    def record(self) -> dict[str, Any]:
        """The entries of `weights.json`, which the results have, too."""
        how = dataclasses.asdict(self.preprocessing)
        return {
            "source": self.source,
            "sha256": self.sha256,
            **{name: how[name] for name in ("mean", "std", "interpolation")},
        }


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
    stage = config.pretrain
    return models.ProjectedEncoder(
        encoder, hidden_dim=stage.hidden_dim, dim=stage.dim, norm=stage.head_norm
    )


def begin(config: ConfigDict, writer: Writer) -> Beginning:
    """The encoder that the config asks for; read, checked and converted, or left to be drawn.

    Raises:
      ValueError: the weights cannot be had, or do not fit the network.
    """
    if not starts_from_weights(config):
        writer.say("weights: random")
        preprocessing = models.default_preprocessing(config.model.name)
        return Beginning("random", "", None, _overridden(preprocessing, config))
    name = named_weights(config)
    writer.say(f"weights: {name}")
    try:
        weights = models.read_weights(name)
    except ValueError as error:
        if os.path.isfile(os.path.expanduser(name)):
            raise
        raise ValueError(f"{error} (--config.init.weights=FILE names a local file)") from error
    loaded = timm.load(weights, models.create(config.model.name, num_classes=0))
    for note in loaded.notes:
        writer.say(f"weights: {note}")
    preprocessing = _overridden(loaded.preprocessing, config)
    return Beginning(weights.source, weights.sha256, loaded.variables, preprocessing)


def write_beginning(beginning: Beginning, directory: epath.Path) -> None:
    """`weights.json`: what the run starts from.

    Raises:
      ValueError: the run began with other weights.
    """
    path = directory / _WEIGHTS
    text = json.dumps(beginning.record(), indent=2) + "\n"
    if path.exists() and path.read_text() != text:
        raise ValueError(
            f"{beginning.source} has changed since this run began in {directory}: going on would "
            "mix two starts; take another --workdir"
        )
    write_text(path, text)


def recorded_preprocessing(directory: epath.Path) -> models.Preprocessing:
    """What the network of a run's folder was trained on, as its `weights.json` has it.

    Raises:
      ValueError: the folder has none.
    """
    path = directory / _WEIGHTS
    if not path.exists():
        raise ValueError(f"{directory} has no {_WEIGHTS}: it is not the whole folder of a run")
    record = json.loads(path.read_text())
    return models.Preprocessing(
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        interpolation=record["interpolation"],
    )


def _overridden(preprocessing: models.Preprocessing, config: ConfigDict) -> models.Preprocessing:
    """The preprocessing with the mean and std that the config names, if it does."""
    given = {name: config.init[name] for name in ("mean", "std") if config.init[name]}
    return dataclasses.replace(preprocessing, **given)
