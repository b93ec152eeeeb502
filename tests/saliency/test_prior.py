"""The prior of InputIBA: its critic, its optimizer, its masks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax.saliency import critic, prior
from dermjax.saliency.bottleneck import FeatureSettings, bits_per_pixel, feature_iba
from tests.saliency.patch_network import NETWORK, given, quick, statistics

# With the authors' clip the critic of a network this small hardly tells anything.
SETTINGS = prior.GanSettings(
    layer="pool",
    gan_epochs=2,
    gan_samples=18,
    gan_groups=3,
    gan_batch_size=4,
    gan_generator_every=2,
    critic_learning_rate=1e-3,
    critic_clip=0.3,
)
KEY = jax.random.key(5)


initial = quick(lambda keys: critic.initialize(keys, (4, 4, 2)))


@functools.cache
def bottleneck(count):
    arguments, keys = given(count)
    settings = FeatureSettings(layer="pool", beta_feature=1.0)
    return feature_iba(*arguments, keys=keys, statistics=statistics(), settings=settings)


@functools.cache
def trainer(**changes):
    settings = dataclasses.replace(SETTINGS, **changes)

    def train(variables, images, keys, found):
        named = {"keys": keys, "bottleneck": found, "settings": settings}
        return prior.gan_prior(NETWORK, variables, images, **named)

    return quick(train)


def gan(which=(0, 1), keys=None, **changes):
    """Of some of three images."""
    (_, variables, images, _), usual = given(3)
    chosen = jax.tree.map(lambda leaf: leaf[np.array(which)], bottleneck(3).replace(losses={}))
    keys = usual[np.array(which)] if keys is None else keys
    return trainer(**changes)(variables, images[np.array(which)], keys, chosen)


@pytest.fixture(scope="module")
def found():
    return gan()


@pytest.mark.slow
def test_the_quick_prior_is_the_mask_that_the_gan_starts_from(found):
    features = jax.tree.map(lambda leaf: leaf[:2], bottleneck(3).replace(losses={}))
    quick = prior.iba_prior(features, (24, 24))
    assert quick.shape == (2, 24, 24, 1) and (quick >= 0.5).all() and (quick < 1).all()
    moved = (
        jnp.log(found.mask / (1 - found.mask))
        - bits_per_pixel(features.capacity, (24, 24))[..., None]
    )
    # Six steps of RMSprop, of which none is longer than rate / sqrt(1 - .99).
    assert 0 < np.abs(moved).max() < 6 * 0.003 * 10 * 1.01


def test_the_generator_learns_at_batches_0_2_4_of_an_epoch(found):
    """18 samples are batches of 4, 4, 4, 4, 2."""
    learns = np.isfinite(found.losses["generator"])
    assert learns.shape == (10, 2) and found.mask.shape == (2, 24, 24, 3)
    np.testing.assert_array_equal(learns[:, 0], [True, False, True, False, True] * 2)
    assert np.isfinite(found.losses["critic"]).all() and np.isfinite(found.mask).all()


def test_an_image_has_its_prior_whatever_else_is_in_the_batch(found):
    np.testing.assert_allclose(gan((2, 0)).mask[1], found.mask[0], atol=2e-4)


def test_the_gan_repeats_and_its_seed_matters(found):
    again = gan()
    np.testing.assert_array_equal(again.mask, found.mask)
    np.testing.assert_array_equal(again.losses["critic"], found.losses["critic"])
    other = gan(keys=jax.random.split(jax.random.key(7), 2))
    assert not np.array_equal(other.losses["critic"], found.losses["critic"])
    assert not np.array_equal(other.mask, found.mask)


@pytest.mark.slow
def test_the_papers_features_lead_nearby(found):
    other = gan(gan_mask="lambda")
    assert np.isfinite(other.losses["critic"]).all()
    assert not np.array_equal(other.losses["critic"], found.losses["critic"])
    np.testing.assert_allclose(other.mask, found.mask, atol=0.05)


def test_critics_one_by_one_learn_what_they_learn_together():
    params = initial(jax.random.split(KEY, 2))
    real, fake = jax.random.normal(KEY, (2, 2, 8, 4, 4, 2))
    slopes = [
        quick(critic.each_image(jax.grad(critic.critic_loss), how))(params, real, fake)
        for how in ("map", "vmap")
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), *slopes)


def test_the_critic_is_the_convolutional_network_of_the_authors():
    """Its patches against XLA's convolution; parameters counted by hand for B4 at 512 px."""
    x = jax.random.normal(KEY, (2, 9, 7, 3))
    kernel = jax.random.normal(KEY, (4, 4, 3, 5))
    wanted = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(
        critic._patches(x, 4, 2) @ kernel.reshape(-1, 5), wanted, rtol=1e-4, atol=1e-4
    )
    keys = jax.random.split(KEY, 3)
    shapes = jax.eval_shape(lambda keys: critic.initialize(keys, (16, 16, 448)), keys)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 3
    convolutions = 16 * 448 * 896 + 16 * 896 * 1792 + 9 * 1792 * 448
    dense = 448 * 16 * 512 + 512 * 256 + 256
    assert count == convolutions + dense + 3 * (896 + 1792 + 448) + 512 + 256 + 1
    kernel, bound = initial(keys[:2])["fc1"]["kernel"], 2**-0.5
    assert np.abs(kernel).max() <= bound
    assert np.std(kernel) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_the_critic_tells_two_populations_apart():
    """Its loss falls along its gradient."""
    params = jax.tree.map(lambda leaf: leaf[0], initial(jax.random.split(KEY, 2)))
    real, fake = jax.random.normal(KEY, (2, 8, 4, 4, 2)) * jnp.array([1.0, 3.0]).reshape(
        -1, *[1] * 4
    )
    judged = quick(jax.value_and_grad(critic.critic_loss))
    loss, slope = judged(params, real, fake)
    further = jax.tree.map(lambda p, g: p - 1e-2 * g, params, slope)
    assert judged(further, real, fake)[0] < loss
    with pytest.raises(ValueError, match=r"at least 4 x 4, not 3 x 8: take an earlier layer"):
        critic.initialize(KEY[None], (3, 8, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gan_epochs": 0}, "gan_epochs = 0 must be at least 1"),
        ({"gan_batch_size": 1}, "gan_batch_size = 1 must be at least 2"),
        ({"critic_clip": 0.0}, "critic_clip = 0.0 must be above 0"),
        ({"mask_learning_rate": float("nan")}, "mask_learning_rate = nan must be above 0"),
        ({"gan_mask": "nats"}, "gan_mask = 'nats' is not known; take 'capacity' or 'lambda'"),
        ({"gan_samples": 19}, "gan_samples = 19 do not split into gan_groups = 3 equal groups"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **changes)
