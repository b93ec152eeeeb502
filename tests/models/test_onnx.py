"""A classifier in an ONNX file, run by onnxruntime, against the network itself and Pillow."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import dermjax
from dermjax import models
from dermjax.models.calibrated_network import CalibratedNetwork

onnx = pytest.importorskip("onnx", reason="of the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="runs the files; of the extra `test`")
from dermjax.models import onnx as writer  # noqa: E402

TINY = "efficientnet_tiny"
LARGE = (
    "efficientnet_b0",
    "efficientnet_b4",
    "efficientnet_lite0",
    "tf_efficientnet_lite0",
    "resnet18_cifar",
    "resnet50",
)
CLASSES = ("acne", "eczéma", "rosacea")
TEMPERATURE = 1.7


@functools.cache
def classifier_of(name, size=40, interpolation="bicubic"):
    """A network whose maps stay within reach of 1, with no special value anywhere."""
    how = models.Preprocessing(
        (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), interpolation, test_size=size, crop_mode="squash"
    )
    model = models.create(name, num_classes=len(CLASSES)).clone(preprocessing=how)
    draw = np.random.default_rng(0)
    values = {
        "kernel": lambda shape: draw.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape),
        "scale": lambda shape: draw.uniform(0.5, 1.5, shape),
        "bias": lambda shape: draw.normal(0, 0.3, shape),
        "mean": lambda shape: draw.normal(0, 0.3, shape),
        "var": lambda shape: draw.uniform(0.5, 2, shape),
    }
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: values[path[-1].key](leaf.shape).astype(np.float32),
        models.shapes_of(model),
    )
    return CalibratedNetwork(model, variables, CLASSES, TEMPERATURE)


def session_of(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def pixels_of(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def network_logits(classifier, images):
    """By the network itself, on images of its size."""
    how = classifier.model.preprocessing
    normalised = (images / np.float32(255) - np.float32(how.mean)) / np.float32(how.std)
    apply = jax.jit(functools.partial(classifier.model.apply, train=False))
    return np.asarray(apply(classifier.variables, jnp.asarray(normalised, jnp.float32)))


# Halved from 40 px, maps have even sides, where TensorFlow pads one side only, and odd ones.
@pytest.mark.parametrize(
    "name",
    [
        TINY,
        "efficientnet_mini",
        "tf_efficientnet_b0",
        "resnet18",
        *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE),
    ],
)
def test_logits_and_probabilities_are_the_networks_own(name):
    classifier = classifier_of(name)
    content = writer.to_bytes(classifier)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session, images = session_of(content), pixels_of(3, 40, 40, 3)
    expected = network_logits(classifier, images)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * np.abs(expected).max()
    for batch in (images, images[:1]):
        logits, probabilities = session.run(["logits", "probabilities"], {"images": batch})
        wanted = expected[: len(batch)]
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
        calibrated = jax.nn.softmax(wanted / TEMPERATURE)
        np.testing.assert_allclose(probabilities, calibrated, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(90, 160), (150, 100), (64, 65), (40, 50), (63, 64), (64, 64)])
def test_photographs_are_resized_as_by_pillow(interpolation, shape):
    """To fewer and to more pixels; of tall ones Pillow 13 rounds the columns before the rows."""
    coarse = Image.fromarray(pixels_of(8, 8, 3)).resize(shape[::-1], Image.Resampling.BICUBIC)
    photograph = np.asarray(coarse) // 2 + pixels_of(*shape, 3) // 8
    file = onnx.load_from_string(writer.to_bytes(classifier_of(TINY, 64, interpolation)))
    (resized,) = (node.output[0] for node in file.graph.node if node.op_type == "Resize")
    file.graph.output.append(onnx.ValueInfoProto(name=resized))
    session = session_of(file.SerializeToString())
    both, logits = session.run([resized, "logits"], {"images": np.stack([photograph] * 2)})
    wanted = Image.fromarray(photograph).resize((64, 64), Image.Resampling[interpolation.upper()])
    difference = both.astype(int) - np.asarray(wanted, int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < (0.02 if shape[0] <= shape[1] else 0.3)
    expected = network_logits(classifier_of(TINY, 64, interpolation), both)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_the_file_says_what_it_is():
    classifier = classifier_of(TINY)
    session = session_of(writer.to_bytes(classifier))
    said = session.get_modelmeta().custom_metadata_map
    assert (said["model"], said["size"], said["temperature"]) == (TINY, "40", "1.7")
    assert said["dermjax"] == dermjax.__version__
    assert tuple(json.loads(said["classes"])) == CLASSES
    how = models.Preprocessing(**json.loads(said["preprocessing"]))
    assert how == classifier.model.preprocessing
    (images,), outputs = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == ["batch", "height", "width", 3]
    assert {one.name: one.shape for one in outputs} == {
        "probabilities": ["batch", 3],
        "logits": ["batch", 3],
    }


def test_a_network_with_unknown_parts_is_not_written():
    """What nobody has put into the graph would be left out of it in silence."""
    known = classifier_of(TINY)
    params = known.variables["params"] | {"attention": {"kernel": np.ones((1, 1, 8, 8))}}
    more = dataclasses.replace(known, variables=known.variables | {"params": params})
    with pytest.raises(ValueError, match="cannot be written as ONNX.*params/attention/kernel"):
        writer.to_bytes(more)
    other = known.model.clone(activation=jax.nn.tanh)
    with pytest.raises(ValueError, match="activation.*cannot be written as ONNX"):
        writer.to_bytes(dataclasses.replace(known, model=other))
