"""A run's networks, as its devices want them."""

import jax
import numpy as np
from jax.sharding import Mesh

from dermjax.experiment import networks
from dermjax.training.parallel import AXIS, Devices
from tests.experiment.clinic import tiny_settings


class Chips(Devices):
    """Devices that say that they are TPUs."""

    platform = "tpu"


def test_only_tpus_have_networks_in_phases():
    """The others keep the programs that they had."""
    settings = tiny_settings("SS", "photos.csv")
    mesh = Mesh(np.array(jax.devices()[:1]), (AXIS,))
    for devices, phased in ((Chips(mesh), True), (Devices(mesh), False)):
        assert networks.make_encoder(settings, devices).phased == phased
        assert networks.make_classifier(settings, devices, classes=3).phased == phased
        assert networks.make_projected_encoder(settings, devices).encoder.phased == phased
