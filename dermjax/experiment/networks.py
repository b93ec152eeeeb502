"""From settings to networks and their first weights."""

import dataclasses
import os
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dermjax import models
from dermjax.models import timm
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import InitSettings, RunSettings
from dermjax.training.parallel import AXIS, Devices
from dermjax.training.writer import Writer


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


def computed(settings: RunSettings, devices: Devices) -> dict[str, Any]:
    """How a network is computed on such devices: options of `models.create`."""
    name = settings.model.dtype
    dtype = devices.compute_dtype if name == "auto" else jnp.dtype(name)
    return {"dtype": dtype, "phased": devices.platform == "tpu"}


def make_classifier(settings: RunSettings, devices: Devices, classes: int) -> nn.Module:
    """Stage 2's network: stochastic depth, dropout, and a linear layer of `classes` outputs."""
    return models.create(
        settings.model.name,
        num_classes=classes,
        **computed(settings, devices),
        drop_rate=settings.model.drop_rate,
        drop_path_rate=settings.model.drop_path_rate,
        bn_groups=settings.finetuning.bn_groups,
        axis_name=AXIS,
    )


def make_encoder(settings: RunSettings, devices: Devices) -> nn.Module:
    """The network without its classifier, to predict with: images -> features."""
    return models.create(settings.model.name, num_classes=0, **computed(settings, devices))


def make_projected_encoder(settings: RunSettings, devices: Devices) -> nn.Module:
    """Stage 1's network: the encoder without its classifier, and MoCo-v2's head."""
    stage = settings.pretraining
    encoder = models.create(
        settings.model.name,
        num_classes=0,
        **computed(settings, devices),
        bn_groups=stage.bn_groups,
        axis_name=AXIS,
    )
    return models.ProjectedEncoder(
        encoder, hidden_dim=stage.hidden_dim, dim=stage.dim, norm=stage.head_norm
    )


def begin(settings: RunSettings, writer: Writer) -> Beginning:
    """The encoder that the settings ask for; read, checked and converted, or left to be drawn.

    Raises:
      ValueError: the weights cannot be had, or do not fit the network.
    """
    if not settings.starts_from_weights:
        writer.say("weights: random")
        preprocessing = models.default_preprocessing(settings.model.name)
        return Beginning("random", "", None, _overridden(preprocessing, settings.init))
    name = settings.first_weights
    writer.say(f"weights: {name}")
    try:
        weights = models.read_weights(name)
    except ValueError as error:
        if os.path.isfile(os.path.expanduser(name)):
            raise
        raise ValueError(f"{error} (--config.init.weights=FILE names a local file)") from error
    loaded = timm.load(weights, models.create(settings.model.name, num_classes=0))
    for note in loaded.notes:
        writer.say(f"weights: {note}")
    preprocessing = _overridden(loaded.preprocessing, settings.init)
    return Beginning(weights.source, weights.sha256, loaded.variables, preprocessing)


def recorded_preprocessing(folder: RunFolder) -> models.Preprocessing:
    """What the network of a run's folder was trained on, as the record of its weights has it.

    Raises:
      ValueError: the folder has none.
    """
    record = folder.weights()
    return models.Preprocessing(
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        interpolation=record["interpolation"],
    )


def _overridden(preprocessing: models.Preprocessing, init: InitSettings) -> models.Preprocessing:
    """The preprocessing with the mean and std that the settings name, if they do."""
    given = {name: getattr(init, name) for name in ("mean", "std") if getattr(init, name)}
    return dataclasses.replace(preprocessing, **given)
