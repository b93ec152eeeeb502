"""Likeness of maps, and maps of networks that forget layer after layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models
from dermjax.saliency import baselines, similarity


def test_ssim_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=(12, 15))
    second = np.clip(first + rng.normal(0, 0.2, first.shape), 0, 1)
    values = []
    for top in range(12 - 6):
        for left in range(15 - 6):
            x = first[top : top + 7, left : left + 7].ravel()
            y = second[top : top + 7, left : left + 7].ravel()
            covariance = np.cov(x, y)  # divided by 48
            luminance = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
            contrast = (2 * covariance[0, 1] + 9e-4) / (np.trace(covariance) + 9e-4)
            values.append(luminance * contrast)
    assert similarity.ssim(first, second) == pytest.approx(np.mean(values), rel=1e-9)
    assert similarity.ssim(first, first) == pytest.approx(1)
    assert similarity.ssim(first, 1 - first) < 0.2
    with pytest.raises(ValueError, match="must have one shape of at least 7 px"):
        similarity.ssim(first, first[:5])


@pytest.fixture(scope="module")
def networks():
    model = models.create("efficientnet_tiny", num_classes=3)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    trained, fresh = (jax.jit(model.init)(jax.random.key(seed), images) for seed in (1, 2))
    # What training would leave in batch norm.
    stats = jax.tree.map(lambda x: x + 0.3, trained["batch_stats"])
    return model, {"params": trained["params"], "batch_stats": stats}, fresh, images


def test_layers_are_forgotten_from_the_last_one_down_batch_norm_too(networks):
    _, trained, fresh, _ = networks
    layers = ["classifier", "bn2", "conv_head"]
    steps = dict(similarity.cascade(trained, fresh, layers))
    assert list(steps) == layers
    for number, layer in enumerate(layers):
        for kind, tree in steps[layer].items():
            for name, leaves in tree.items():
                source = fresh if name in layers[: number + 1] else trained
                jax.tree.map(np.testing.assert_array_equal, leaves, source[kind][name])
    assert "bn2" in trained["batch_stats"]  # its mean and variance were among them
    with pytest.raises(ValueError, match="'conv_tail' is no layer; there are"):
        list(similarity.cascade(trained, fresh, ["conv_tail"]))


def test_layers_come_from_the_last_that_is_computed_to_the_first(networks):
    model, trained, fresh, _ = networks
    layers = similarity.layers_from_last(model, trained, 32)
    assert layers == (
        "classifier", "bn2", "conv_head", "blocks_1_1", "blocks_1_0", "blocks_0_0", "bn1",
        "conv_stem",
    )  # fmt: skip
    *_, (_, last) = similarity.cascade(trained, fresh, layers)
    jax.tree.map(np.testing.assert_array_equal, last, dict(fresh))


def test_fresh_variables_of_another_network_are_refused(networks):
    _, trained, _, _ = networks
    other = models.initialize(models.create("efficientnet_tiny", num_classes=5), 0)
    with pytest.raises(ValueError, match="are of another network"):
        list(similarity.cascade(trained, other, ["classifier"]))


def test_maps_that_need_the_network_change_and_others_do_not(networks):
    model, trained, fresh, images = networks
    targets, keys = jnp.array([0, 1]), jax.random.split(jax.random.key(3), 2)

    def cam(variables):
        given = model, variables, images, targets
        return np.asarray(baselines.grad_cam(*given, keys=keys, layer="blocks.0"))

    def by_chance(variables):
        return np.asarray(baselines.random_map(model, variables, images, targets, keys=keys))

    def likeness(method):
        """Of each image's map to that by the trained network, by layer."""
        return {
            layer: np.array(list(map(similarity.ssim, method(trained), method(mixed))))
            for layer, mixed in similarity.cascade(trained, fresh, ["classifier", "blocks_1_0"])
        }

    assert all(values.max() < 0.95 for values in likeness(cam).values())
    assert all(values == pytest.approx(1) for values in likeness(by_chance).values())
