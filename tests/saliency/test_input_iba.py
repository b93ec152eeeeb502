"""InputIBA: its information term, its maps, their independence of the batch, its cost."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dermjax import models, saliency
from dermjax.saliency.bottleneck import feature_kl
from dermjax.saliency.input_iba import input_bottleneck, input_kl, smooth
from tests.saliency.patch_network import (
    COLUMNS,
    NETWORK,
    ROWS,
    given,
    photographs,
    quick,
    statistics,
)

# Prices for a patch that is a ninth of the image.
SETTINGS = saliency.InputIBASettings(layer="pool", beta_feature=1.0, beta_input=5.0)
GAN = {"prior": "gan", "gan_epochs": 2, "gan_samples": 18, "gan_groups": 3, "gan_batch_size": 9}
RNG = np.random.default_rng(1)
LOGITS = RNG.uniform(-6, 6, 200).astype(np.float32)
DROP = 1 / (1 + np.exp(LOGITS))
PIXELS = RNG.normal(size=200).astype(np.float32)
PRIOR = RNG.uniform(0, 1, 200).astype(np.float32)


def maps(count, order=slice(None), **changes):
    """Of the first images, in an order."""
    settings = dataclasses.replace(SETTINGS, **changes)
    (_, variables, images, targets), keys = given(count)
    return explained(variables, images[order], targets[order], keys[order], settings)


def explained(variables, images, targets, keys, settings):
    explain = explainer(NETWORK, settings)
    return np.asarray(explain(variables, images, targets, keys, statistics()))


@functools.cache
def explainer(model, settings):
    def explain(variables, images, targets, keys, known):
        named = {"keys": keys, "statistics": known, "settings": settings}
        return saliency.input_iba(model, variables, images, targets, **named)

    return quick(explain)


@pytest.fixture(scope="module")
def three():
    return np.asarray(maps(3))


def test_information_is_the_divergence_from_the_prior():
    """Of two normals, by the textbook, where mask and prior each are followed by the noise."""
    drop, prior, x = (a.astype(np.float64) for a in (DROP, PRIOR, PIXELS))
    keep = 1 - drop
    mean, prior_mean, prior_std = keep * x, keep * prior * x, 1 - keep * prior
    wanted = (
        np.log(prior_std / drop) + (drop**2 + (mean - prior_mean) ** 2) / (2 * prior_std**2) - 0.5
    )
    np.testing.assert_allclose(input_kl(PIXELS, DROP, PRIOR), wanted, rtol=5e-4, atol=5e-6)


def test_without_a_prior_it_is_iba_on_the_pixels():
    np.testing.assert_allclose(
        input_kl(PIXELS, DROP, jnp.zeros(200)), feature_kl(LOGITS, PIXELS), rtol=1e-3, atol=1e-5
    )


def test_information_at_its_ends():
    ones = jnp.ones(200)
    np.testing.assert_allclose(input_kl(PIXELS, ones, PRIOR), 0, atol=1e-6)  # noise tells nothing
    np.testing.assert_allclose(input_kl(PIXELS, DROP, ones), 0, atol=1e-6)  # known already
    assert (input_kl(PIXELS, DROP, PRIOR) > -1e-6).all()


@pytest.mark.parametrize("drop", [0.0, 1e-38, 1e-30, 1e-12])
@pytest.mark.parametrize("prior", [0.0, 0.5, 1 - 1e-7, 1.0])
def test_saturated_masks_have_finite_information_and_gradients(drop, prior):
    total = lambda drop: input_kl(PIXELS, drop, jnp.float32(prior)).sum()  # noqa: E731
    value, slope = jax.value_and_grad(total)(jnp.full(200, drop))
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_smoothing_is_a_gaussian_with_a_mirrored_border():
    masks = np.random.default_rng(4).uniform(size=(2, 9, 7, 3)).astype(np.float32)
    wanted = ndimage.gaussian_filter(masks, (0, 1, 1, 0), mode="mirror", truncate=2)
    np.testing.assert_allclose(smooth(masks, 1.0), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(smooth(masks * 0 + 0.25, 2.0), 0.25, rtol=1e-6)
    assert smooth(masks, 0.0) is masks
    with pytest.raises(ValueError, match=r"4 x 9 px are too small .* sigma = 2.0; at most 1.5"):
        smooth(np.zeros((1, 4, 9, 3)), 2.0)


@pytest.mark.parametrize("changes", [{}, GAN])
def test_only_the_patch_that_the_network_reads_lights_up(changes):
    heat = np.asarray(maps(3, **changes))
    assert heat.shape == (3, 24, 24) and heat.dtype == np.float32
    assert heat.min() >= 0 and heat.max() <= 1
    seen = np.zeros((24, 24), bool)
    seen[ROWS, COLUMNS] = True
    assert heat[:, seen].mean() > 0.2
    assert heat[:, ~seen].max() < 0.01


def test_a_class_that_needs_nothing_lights_nothing():
    """The patch is bright, which speaks against class 1: noise is as good as the image."""
    (_, variables, images, targets), keys = given(3)
    assert explained(variables, images, targets + 1, keys, SETTINGS).max() < 0.01


def test_a_map_does_not_depend_on_the_rest_of_the_batch(three):
    np.testing.assert_allclose(maps(3, slice(None, None, -1))[::-1], three, atol=1e-4)
    np.testing.assert_allclose(maps(3, slice(1, 2))[0], three[1], atol=1e-4)


def test_the_key_is_the_seed(three):
    np.testing.assert_array_equal(maps(3), three)
    (_, variables, images, targets), _ = given(3)
    keys = jax.random.split(jax.random.key(8), 3)
    other = explained(variables, images, targets, keys, SETTINGS)
    assert 1e-4 < np.abs(other - three).mean() < 0.05


def test_free_information_is_all_taken_and_dear_one_left(three):
    """At beta = 0 the patch stays open; the dearer, the fewer pixels."""
    free, dear = (np.asarray(maps(3, beta_input=beta)) for beta in (0.0, 500.0))
    inside = (slice(None), ROWS, COLUMNS)
    assert free[inside].mean() > three[inside].mean() > dear[inside].mean()


@pytest.mark.slow
def test_a_real_network_is_explained_too():
    """In bfloat16 as well; masks and losses stay float32."""
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    settings = saliency.InputIBASettings(layer="blocks.1", steps_feature=2, steps_input=3, draws=2)

    heat = []
    for dtype in (jnp.float32, jnp.bfloat16):
        model = models.create("efficientnet_tiny", num_classes=3, dtype=dtype)
        variables = models.initialize(model, seed=0)
        known = saliency.feature_statistics(model, variables, [images], "blocks.1")
        keys, targets = jax.random.split(jax.random.key(0), 2), jnp.array([0, 2])
        heat.append(explainer(model, settings)(variables, images, targets, keys, known))
    assert heat[1].shape == (2, 32, 32) and heat[1].dtype == jnp.float32
    np.testing.assert_allclose(heat[1], heat[0], atol=0.02)


def test_broken_weights_show_in_the_map():
    (_, variables, images, targets), keys = given(1)
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, variables)
    assert not np.isfinite(explained(broken, images, targets, keys, SETTINGS)).all()


def test_the_map_of_the_layer_alone_is_in_bits():
    arguments, keys = given(3)
    heat = saliency.iba(*arguments, keys=keys, statistics=statistics(), settings=SETTINGS)
    assert heat.shape == (3, 24, 24) and (heat >= 0).all()
    assert heat[:, ROWS, COLUMNS].mean() > 20 * heat[:, 14:].mean()


def test_losses_of_each_step_are_told():
    arguments, keys = given(2)
    prior = jnp.zeros((2, 24, 24, 1))
    found = input_bottleneck(*arguments, keys=keys, prior=prior, settings=SETTINGS)
    assert found.logits.shape == photographs(2).shape
    assert found.losses["class"].shape == found.losses["information"].shape == (60, 2)
    assert (found.losses["information"][-1] < 0.1 * found.losses["information"][0]).all()


def test_the_cost_is_counted():
    """The authors' figures: 100 + (1 + 4,000 + 1,280) + 600 forward, 100 + 1,280 + 600 backward."""
    quick = saliency.InputIBASettings(layer="blocks.6")
    gan = dataclasses.replace(quick, prior="gan")
    count = saliency.forwards_per_image
    assert count(gan, as_authors=True) == (5981, 1980)
    assert count(gan) == (4701, 1980)
    assert count(quick) == (701, 700)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "none"}, "prior = 'none' is not known; take 'iba' or 'gan'"),
        ({"steps_feature": 0}, "steps_feature = 0 must be at least 1"),
        ({"steps_input": 0}, "steps_input = 0 must be at least 1"),
        ({"draws": 0}, "draws = 0 must be at least 1"),
        ({"beta_input": -1.0}, "beta_input = -1.0 must be at least 0"),
        ({"beta_feature": float("nan")}, "beta_feature = nan must be at least 0"),
        ({"sigma": -1.0}, "sigma = -1.0 must be at least 0"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 must be above 0"),
        ({"gan_groups": 0}, "gan_groups = 0 must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **changes)
