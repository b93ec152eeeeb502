"""The projection head on an encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models

IMAGES = jnp.ones((2, 17, 17, 3))


def network(num_classes=0, **sizes):
    return models.ProjectedEncoder(
        models.create("efficientnet_tiny", num_classes=num_classes), **sizes
    )


def trained(model):
    """(variables, images) -> embeddings or features in training, and the new statistics."""
    return jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))


def shape_tree(model):
    return jax.eval_shape(model.init, jax.random.key(0), IMAGES)


def test_tree_and_shapes():
    variables = shape_tree(network())
    assert sorted(variables["params"]) == ["encoder", "head"]
    assert sorted(variables["batch_stats"]) == ["encoder"]
    head = jax.tree.map(jnp.shape, variables["params"]["head"])
    assert head["hidden"] == {"kernel": (64, 2048), "bias": (2048,)}
    assert head["output"] == {"kernel": (2048, 128), "bias": (128,)}
    alone = jax.eval_shape(
        models.create("efficientnet_tiny", num_classes=0).init, jax.random.key(0), IMAGES
    )
    assert jax.tree.map(jnp.shape, variables["params"]["encoder"]) == jax.tree.map(
        jnp.shape, alone["params"]
    )


def test_no_hidden_layer():
    head = shape_tree(network(hidden_dim=0, dim=16))["params"]["head"]
    assert jax.tree.map(jnp.shape, head) == {"output": {"kernel": (64, 16), "bias": (16,)}}


def test_embedding_is_the_head_of_the_features():
    model = network(hidden_dim=8, dim=4)
    images = jax.random.normal(jax.random.key(1), IMAGES.shape)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    inner = {kind: tree["encoder"] for kind, tree in variables.items()}
    features = jax.jit(model.encoder.apply)(inner, images)
    head = variables["params"]["head"]
    hidden = np.maximum(features @ head["hidden"]["kernel"] + head["hidden"]["bias"], 0)
    expected = hidden @ head["output"]["kernel"] + head["output"]["bias"]
    embedding = jax.jit(model.apply)(variables, images)
    assert embedding.dtype == jnp.float32
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)


def test_training_reaches_the_encoder():
    model = network(hidden_dim=8, dim=4)

    def train(variables):
        return model.apply(variables, IMAGES, train=True, mutable=["batch_stats"])

    _, new = jax.eval_shape(train, shape_tree(model))
    assert list(new["batch_stats"]) == ["encoder"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 5}, "classifier of 5 classes"),
        ({"dim": 0}, "dim 0"),
        ({"hidden_dim": -1}, "hidden_dim -1"),
    ],
)
def test_wrong_parts_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        shape_tree(network(**options))


def test_batch_norm_in_the_head_as_moco_v3_has_it():
    """Linear without bias, batch norm, ReLU, linear without bias, batch norm without scale."""
    model = network(hidden_dim=8, dim=4, norm=True)
    images = jax.random.normal(jax.random.key(1), (6, 17, 17, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    head = variables["params"]["head"]
    assert jax.tree.map(jnp.shape, head) == {
        "hidden": {"kernel": (64, 8)},
        "hidden_norm": {"scale": (8,), "bias": (8,)},
        "output": {"kernel": (8, 4)},
    }
    assert sorted(variables["batch_stats"]["head"]) == ["hidden_norm", "output_norm"]

    def standardised(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    inner = {kind: tree["encoder"] for kind, tree in variables.items()}
    features, _ = trained(model.encoder)(inner, images)
    hidden = np.maximum(standardised(np.asarray(features) @ head["hidden"]["kernel"]), 0)
    expected = standardised(hidden @ head["output"]["kernel"])
    embedding, new = trained(model)(variables, images)
    np.testing.assert_allclose(embedding, expected, rtol=1e-3, atol=1e-4)
    moved = new["batch_stats"]["head"]["hidden_norm"]["mean"]
    assert np.abs(moved).max() > 0


def test_groups_of_the_head_are_those_of_the_encoder():
    encoder = models.create("efficientnet_tiny", num_classes=0, bn_groups=2)
    model = models.ProjectedEncoder(encoder, hidden_dim=8, dim=4, norm=True)
    images = jax.random.normal(jax.random.key(1), (6, 17, 17, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    whole, _ = trained(model)(variables, images)
    half, _ = trained(model.clone(encoder=encoder.clone(bn_groups=1)))(variables, images[:3])
    np.testing.assert_allclose(whole[:3], half, rtol=1e-3, atol=1e-4)
