"""A network cut at a layer: the two parts together are the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models

IMAGES = np.random.default_rng(0).normal(size=(2, 33, 33, 3)).astype(np.float32)


@functools.cache
def network(name, dtype=jnp.float32):
    model = models.create(name, num_classes=3, dtype=dtype)
    return model, models.initialize(model, seed=0)


def parts(name, layer, dtype=jnp.float32):
    """The layer's output, and the logits of the whole, of the two parts."""
    model, variables = network(name, dtype)

    @jax.jit
    def run(variables, images):
        features = model.apply(variables, images, stop=layer)
        return (
            features,
            model.apply(variables, images),
            model.apply(variables, features, start=layer),
        )

    return run(variables, IMAGES)


CUTS = [
    *[("efficientnet_tiny", f"blocks.{i}") for i in range(2)],
    *[("efficientnet_lite0", f"blocks.{i}") for i in range(7)],
    *[("resnet18_cifar", f"layer{i}") for i in range(1, 5)],
]
QUICK = {("efficientnet_tiny", "blocks.0"), ("efficientnet_tiny", "blocks.1")} | {
    ("efficientnet_lite0", "blocks.3"),
    ("resnet18_cifar", "layer1"),
}


@pytest.mark.parametrize(
    ("name", "layer"),
    [pytest.param(*cut, marks=() if cut in QUICK else pytest.mark.slow) for cut in CUTS],
)
def test_the_two_parts_are_the_whole(name, layer):
    assert network(name)[0].layers == tuple(cut for cut_name, cut in CUTS if cut_name == name)
    features, whole, joined = parts(name, layer)
    assert features.dtype == jnp.float32 and features.ndim == 4
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-5)


def test_the_cut_costs_no_digits_in_bfloat16():
    features, whole, joined = parts("efficientnet_tiny", "blocks.0", jnp.bfloat16)
    assert features.dtype == whole.dtype == jnp.float32
    np.testing.assert_allclose(joined, whole, rtol=1e-2, atol=1e-2)


def test_layers_are_the_stages_of_b4():
    model = models.create("efficientnet_b4", num_classes=2)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = models.shapes_of(model)
    shapes = {
        layer: jax.eval_shape(functools.partial(model.apply, stop=layer), variables, images).shape[
            1:
        ]
        for layer in model.layers
    }
    assert list(shapes) == [f"blocks.{i}" for i in range(7)]
    assert shapes["blocks.4"] == (4, 4, 160) and shapes["blocks.6"] == (2, 2, 448)


def test_a_section_in_the_middle_runs_too():
    model, variables = network("resnet18_cifar")
    apply = jax.jit(model.apply, static_argnames=("start", "stop"))
    early, late = (apply(variables, IMAGES, stop=layer) for layer in ("layer1", "layer3"))
    middle = apply(variables, early, start="layer1", stop="layer3")
    np.testing.assert_allclose(middle, late, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ({"stop": "blocks.2"}, "stop = 'blocks.2' is no layer; there are blocks.0, blocks.1"),
        ({"start": "layer1"}, "start = 'layer1' is no layer; there are blocks.0, blocks.1"),
        ({"start": "blocks.1", "stop": "blocks.0"}, "does not come after start = 'blocks.1'"),
        ({"start": "blocks.0", "stop": "blocks.0"}, "does not come after start = 'blocks.0'"),
    ],
)
def test_cuts_that_cannot_be_are_explained(cut, message):
    model, variables = network("efficientnet_tiny")
    with pytest.raises(ValueError, match=message):
        model.apply(variables, IMAGES, **cut)
