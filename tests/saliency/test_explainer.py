"""Maps do not depend on how they were computed: devices, batches, repeats."""

import functools
import hashlib

import jax
import numpy as np
import pytest

from dermjax import models
from dermjax.configs import saliency as config_file
from dermjax.data import crops
from dermjax.saliency import repeatability
from dermjax.saliency.explainer import Explainer
from dermjax.saliency.samples import Sample
from dermjax.saliency.settings import SaliencySettings
from dermjax.training import parallel
from dermjax.training.writer import Writer

pytestmark = pytest.mark.slow

SIZE, COUNT = 32, 3
FEW = dict(steps_feature=2, steps_input=3, draws=2)
FEW_OF_GAN = dict(gan_epochs=1, gan_samples=8, gan_groups=2, gan_batch_size=4)


@functools.cache
def network():
    model = models.create("efficientnet_tiny", num_classes=3)
    return model, models.initialize(model, 0)


def explainer(devices=1, **fields):
    config = config_file.get_config("run=nowhere")
    config.layer = "blocks.0"
    config.input_iba.update(FEW | FEW_OF_GAN)
    config.update(fields)
    settings = SaliencySettings.from_config(config)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))
    return Explainer(
        settings,
        *network(),
        models.Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bilinear"),
        parallel.Devices(mesh),
        image_size=SIZE,
        writer=Writer(active=False),
    )


@functools.cache
def samples():
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, 40, 30, 3), np.uint8)
    crop = crops.Crop("", None)
    return [Sample(f"{i}.png", f"p{i}", -1, crop, pixels, i) for i in range(COUNT)]


@functools.cache
def statistics():
    return explainer().statistics([explainer().input(samples())])


def maps(method="input_iba", *, first=0, **fields):
    made = explainer(**fields)
    return np.stack(list(made.maps(method, samples(), range(COUNT), statistics(), first=first)))


@pytest.mark.parametrize("prior", ["iba", "gan"])
def test_maps_are_the_same_on_other_numbers_of_devices_and_in_other_batches(prior):
    alone = maps(prior=prior, devices=1, images_per_batch=1)
    assert alone.shape == (COUNT, 2, SIZE, SIZE) and np.ptp(alone, axis=(2, 3)).min() > 0.01
    for devices, size in ((1, 3), (4, 3)):
        found = maps(prior=prior, devices=devices, images_per_batch=size)
        np.testing.assert_allclose(found, alone, atol=1e-4, err_msg=f"{devices} devices, {size}")


def test_every_repeat_has_noise_of_its_own_and_the_first_is_the_single_map():
    three = maps(repeats=3)
    assert three.shape == (COUNT, 3, SIZE, SIZE)
    np.testing.assert_allclose(three[:, :1], maps(repeats=1), atol=1e-6)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(three[:, i] - three[:, j]).mean() > 1e-4
    # Numbers from `repeats` on are those of other noise.
    np.testing.assert_allclose(maps(repeats=1, first=2), three[:, 2:], atol=1e-6)


@pytest.mark.parametrize("method", ["grad_cam", "integrated_gradients", "random"])
def test_methods_without_noise_are_not_repeated(method):
    assert maps(method, repeats=3).shape == (COUNT, 1, SIZE, SIZE)
    assert "repeats" not in explainer(repeats=3).settings(method)
    assert explainer(repeats=3).settings("iba")["repeats"] == 3


def test_keys_belong_to_seed_name_and_number():
    number = int.from_bytes(hashlib.sha256(b"5 a.png").digest()[:4], "big")
    wanted = jax.random.key_data(jax.random.fold_in(jax.random.key(5), number))
    np.testing.assert_array_equal(repeatability.key(5, "a.png"), wanted)
    keys = [
        repeatability.key(seed, name, n).tobytes()
        for seed in (0, 1)
        for name in ("a", "b", "a1")
        for n in range(12)
    ]
    assert len(set(keys)) == len(keys)
