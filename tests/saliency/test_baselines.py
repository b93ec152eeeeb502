"""What InputIBA is compared with: maps of networks whose evidence is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models
from dermjax.saliency import baselines


@pytest.fixture(scope="module")
def network():
    model = models.create("efficientnet_tiny", num_classes=3)
    images = jax.random.normal(jax.random.key(0), (3, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    return model, variables, images, jnp.array([0, 2, 1]), jax.random.split(jax.random.key(2), 3)


METHODS = {
    "grad_cam": lambda *given, keys: baselines.grad_cam(*given, keys=keys, layer="blocks.1"),
    "integrated_gradients": lambda *given, keys: baselines.integrated_gradients(
        *given, keys=keys, steps=4
    ),
    "random": lambda *given, keys: baselines.random_map(*given, keys=keys),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_of_its_image_alone(network, method):
    model, variables, images, targets, keys = network
    every = METHODS[method](model, variables, images, targets, keys=keys)
    assert every.shape == (3, 32, 32) and every.dtype == jnp.float32
    assert float(every.min()) >= 0
    alone = METHODS[method](model, variables, images[1:2], targets[1:2], keys=keys[1:2])
    np.testing.assert_allclose(every[1:2], alone, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_what_the_image_adds(network):
    """Completeness (Sundararajan et al. 2017, proposition 1), by numbers of the network alone."""
    model, variables, images, targets, _ = network
    found = baselines.attributions(model, variables, images, targets, steps=256).sum((1, 2, 3))
    logits = model.apply(variables, images) - model.apply(variables, jnp.zeros_like(images))
    expected = np.take_along_axis(np.asarray(logits), np.asarray(targets)[:, None], 1)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-3)


def test_grad_cam_is_the_weighted_sum_of_the_channels(network):
    model, variables, images, targets, keys = network
    found = baselines.grad_cam(model, variables, images, targets, keys=keys, layer="blocks.1")
    features = np.asarray(model.apply(variables, images, stop="blocks.1"), np.float64)
    for i, target in enumerate(np.asarray(targets)):
        # The gradient by differences: one channel raised everywhere, a little.
        weights = np.zeros(features.shape[-1])
        for c in range(len(weights)):
            raised = np.array(features[i : i + 1], np.float32)
            raised[..., c] += 0.01
            lowered = np.array(features[i : i + 1], np.float32)
            lowered[..., c] -= 0.01
            up, down = (
                float(model.apply(variables, jnp.asarray(x), start="blocks.1")[0, target])
                for x in (raised, lowered)
            )
            weights[c] = (up - down) / 0.02
        cells = np.maximum((weights * features[i]).sum(-1), 0)
        expected = np.asarray(jax.image.resize(cells, (32, 32), "bilinear", antialias=False))
        if expected.max() > 0:
            np.testing.assert_allclose(found[i], expected / expected.max(), atol=0.02)
        else:
            assert not found[i].any()


def test_random_maps_are_of_the_key(network):
    keys = network[-1]
    first = baselines.random_map(*network[:-1], keys=keys)
    assert not np.allclose(first[0], first[1])
    assert 0.45 < float(first.mean()) < 0.55
    np.testing.assert_array_equal(first, baselines.random_map(*network[:-1], keys=keys))


def test_no_steps_are_refused(network):
    with pytest.raises(ValueError, match="steps = 0 must be at least 1"):
        baselines.integrated_gradients(*network[:-1], keys=network[-1], steps=0)
