"""What a classifier that is handed on must have."""

import pytest

from dermjax import models
from dermjax.models.calibrated_network import CalibratedNetwork

WHOLE = models.Preprocessing(test_size=48, crop_mode="squash")


def classifier_of(preprocessing=WHOLE, classes=("acne", "eczema"), temperature=1.0):
    model = models.create("efficientnet_tiny", num_classes=2).clone(preprocessing=preprocessing)
    return CalibratedNetwork(model, {}, classes, temperature)


def test_its_size_is_the_networks():
    assert classifier_of().size == 48


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("acne",)}, "1 classes are named, but the network has 2 logits"),
        (
            {"preprocessing": models.Preprocessing()},
            "is for a part of an image .its preprocessing.s crop_mode is .center..",
        ),
        ({"temperature": 0.0}, "temperature 0.0 must be a finite number above 0"),
        ({"temperature": float("nan")}, "temperature nan must be"),
    ],
)
def test_what_cannot_be_handed_on_is_said(fields, message):
    with pytest.raises(ValueError, match=message):
        classifier_of(**fields)


def test_an_encoder_is_no_classifier():
    with pytest.raises(ValueError, match="0 classes are named"):
        CalibratedNetwork(models.create("efficientnet_tiny", num_classes=0), {}, ())
