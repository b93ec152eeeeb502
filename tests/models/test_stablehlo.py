"""A classifier as a program of jax.export, against the network itself."""

import jax
import numpy as np
import pytest

from dermjax import models
from dermjax.models import stablehlo
from dermjax.models.calibrated_network import CalibratedNetwork
from tests.models.test_timm import random_variables

CLASSES = ("acne", "eczema", "rosacea")


@pytest.mark.parametrize(
    "name",
    ["efficientnet_tiny", pytest.param("resnet18_cifar", marks=pytest.mark.slow)],
)
def test_a_program_read_again_gives_the_networks_logits(name):
    how = models.Preprocessing((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), test_size=17, crop_mode="squash")
    model = models.create(name, num_classes=3).clone(preprocessing=how)
    classifier = CalibratedNetwork(model, random_variables(name), CLASSES, temperature=2.0)
    program = jax.export.deserialize(bytearray(stablehlo.to_bytes(classifier)))
    assert program.platforms == ("cpu", "cuda", "tpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 17, 17, 3), np.uint8)
    normalised = (images / np.float32(255) - np.float32(how.mean)) / np.float32(how.std)
    expected = jax.jit(model.apply)(classifier.variables, normalised)
    for batch in (1, 3):
        answers = program.call(images[:batch])
        np.testing.assert_allclose(answers["logits"], expected[:batch], rtol=1e-5)
        calibrated = jax.nn.softmax(expected[:batch] / 2)
        np.testing.assert_allclose(answers["probabilities"], calibrated, atol=1e-5)
    with pytest.raises(ValueError, match="17"):
        program.call(np.zeros((1, 18, 18, 3), np.uint8))
