"""What a network expects of images, where nothing of timm is at hand; timm's in test_parity."""

import numpy as np
import pytest
from PIL import Image

from dermjax import models
from dermjax.data import augment
from dermjax.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("form", ["RGB", "L", "RGBA"])
def test_a_square_at_its_own_size_is_only_normalised(form):
    preprocessing = models.Preprocessing((0.5, 0.4, 0.3), (0.1, 0.2, 0.4), test_crop=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    image = Image.fromarray(pixels).convert(form)
    expected = np.asarray(image.convert("RGB")) / 255
    expected = (expected - [0.5, 0.4, 0.3]) / [0.1, 0.2, 0.4]
    result = preprocessing(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_whole_photograph_is_squeezed_where_the_network_was_trained_so():
    """As a run does; the centre alone would leave out its ends."""
    how = models.Preprocessing(test_size=20, crop_mode="squash", interpolation="bilinear")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 80, 3), np.uint8)
    small = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BILINEAR)
    expected = (np.asarray(small) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(how(pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (0.5, 0.5)}, "three finite numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "above 0"),
        ({"interpolation": "lanczos"}, "'lanczos' is not one of bilinear, bicubic"),
        ({"test_size": 0}, "at least 1 px"),
        ({"crop_mode": "border"}, "'border' is not one of center, squash"),
        ({"train_crop": 1.2}, "train_crop 1.2 in"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        models.Preprocessing(**fields)


def test_from_scratch_imagenets_statistics_are_used_everywhere():
    """Two wings name them; they may not drift apart."""
    assert (IMAGENET_MEAN, IMAGENET_STD) == (augment.IMAGENET_MEAN, augment.IMAGENET_STD)
    for name in models.list_models():
        ours = models.default_preprocessing(name)
        assert (ours.mean, ours.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert models.default_preprocessing("efficientnet_b4").test_size == 384
    assert models.default_preprocessing("efficientnet_b7").test_size == 600
    cifar = models.default_preprocessing("resnet18_cifar")
    assert (cifar.train_size, cifar.test_size, cifar.test_crop) == (32, 32, 1.0)


def test_default_weights_are_of_the_architecture_and_of_imagenet_alone():
    assert models.default_weights("efficientnet_b4") == "timm/efficientnet_b4.ra2_in1k"
    assert models.default_weights("efficientnet_tiny") == ""
    assert models.default_weights("resnet18_cifar") == ""
    for name in models.list_models("*"):
        weights = models.default_weights(name)
        assert not weights or weights.startswith(f"timm/{name}.") and "jft" not in weights
