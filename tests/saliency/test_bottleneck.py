"""Statistics of a layer, the information that its mask lets pass, and the search for the mask."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dermjax import saliency
from dermjax.saliency.bottleneck import (
    FeatureSettings,
    bits_per_pixel,
    class_loss,
    feature_iba,
    feature_kl,
    minimise,
)
from tests.saliency.patch_network import (
    COLUMNS,
    NETWORK,
    ROWS,
    VARIABLES,
    given,
    photographs,
    statistics,
)

SETTINGS = FeatureSettings(layer="pool")
LOGITS = np.random.default_rng(1).uniform(-6, 6, 50).astype(np.float32)
VALUES = np.random.default_rng(2).normal(size=50).astype(np.float32)


def kl_of_normals(mean, std, prior_mean, prior_std):
    """KL(N(mean, std^2) | N(prior_mean, prior_std^2)), nats, as in textbooks."""
    quotient = (std**2 + (mean - prior_mean) ** 2) / (2 * prior_std**2)
    return np.log(prior_std / std) + quotient - 0.5


def feature(**changes):
    arguments, keys = given(3)
    settings = dataclasses.replace(SETTINGS, **changes)
    return feature_iba(*arguments, keys=keys, statistics=statistics(), settings=settings)


@pytest.fixture(scope="module")
def found():
    return feature()


@pytest.mark.parametrize("parts", [(7, 7, 6), (1, 19), (20,)])
def test_statistics_do_not_depend_on_the_batches(parts):
    images = 100 + photographs(20)  # a variance that E[x^2] - E[x]^2 would lose
    batches = np.split(images, np.cumsum(parts)[:-1])
    found = saliency.feature_statistics(NETWORK, VARIABLES, batches, "pool")
    features = np.asarray(NETWORK.apply(VARIABLES, images, stop="pool"), np.float64)
    np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std, features.std(0, ddof=1), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(found.active, (features != 0).mean(0) > 0.01)
    assert found.active.any() and not found.active.all()


def test_statistics_that_cannot_be_are_explained():
    with pytest.raises(ValueError, match="1 images have no deviation; give at least 2"):
        saliency.feature_statistics(NETWORK, VARIABLES, [photographs(1)], "pool")
    broken = photographs(2) * np.nan
    with pytest.raises(ValueError, match="features of pool are not finite"):
        saliency.feature_statistics(NETWORK, VARIABLES, [broken], "pool")


def test_information_is_the_divergence_of_two_normals():
    keep = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    wanted = kl_of_normals(keep * VALUES, 1 - keep, 0.0, 1.0)
    np.testing.assert_allclose(feature_kl(LOGITS, VALUES), wanted, rtol=2e-4, atol=2e-6)


def test_information_at_both_ends():
    """Noise alone tells nothing; a mask that is rounded to 1 still has its 2 x 40 nats / 2."""
    np.testing.assert_allclose(feature_kl(jnp.full(50, -40.0), VALUES), 0, atol=1e-6)
    wanted = 40 - 0.5 + VALUES.astype(np.float64) ** 2 / 2
    np.testing.assert_allclose(feature_kl(jnp.full(50, 40.0), VALUES), wanted, rtol=1e-6)
    slopes = jax.grad(lambda logits: feature_kl(logits, VALUES).sum())(jnp.full(50, 40.0))
    np.testing.assert_allclose(slopes, 1, rtol=1e-5)


def test_adam_takes_pytorchs_steps_and_keeps_images_apart():
    """Adam's first step is the learning rate, against the sign of beta's part here."""
    start = jnp.array([[0.0, 2.0], [1.0, -1.0]])
    objective = lambda logits, step: (0 * logits.sum(1), jnp.square(logits).sum(1))  # noqa: E731
    last, before, losses = minimise(objective, start, beta=3.0, steps=1, learning_rate=0.1)
    np.testing.assert_allclose(last, start - 0.1 * np.sign(start), atol=1e-6)
    np.testing.assert_array_equal(before, start)
    np.testing.assert_allclose(losses["information"], [[4.0, 2.0]])
    many, before, losses = minimise(objective, start, beta=3.0, steps=5, learning_rate=0.1)
    fewer, *_ = minimise(objective, start, beta=3.0, steps=4, learning_rate=0.1)
    np.testing.assert_allclose(before, fewer, rtol=1e-6)
    alone, *_ = minimise(objective, start[1:], beta=3.0, steps=5, learning_rate=0.1)
    np.testing.assert_allclose(many[1:], alone, rtol=1e-6)
    assert losses["class"].shape == (5, 2)


def test_class_loss_is_the_mean_over_draws():
    scores = np.random.default_rng(3).normal(size=(2, 4, 3))
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    wanted = [-np.log(p[0, :, 2]).mean(), -np.log(p[1, :, 0]).mean()]
    loss = class_loss(jnp.asarray(scores.reshape(8, 3)), jnp.array([2, 0]))
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_bits_of_a_layer_are_spread_over_the_pixels():
    capacity = np.zeros((1, 3, 3, 2), np.float32)
    capacity[0, 1, 1] = np.log(2) * np.array([3, 5])
    bits = np.asarray(bits_per_pixel(capacity, (12, 12)))
    assert bits.shape == (1, 12, 12) and bits.max() <= 8 / 16
    np.testing.assert_allclose(bits[0], bits[0, ::-1, ::-1], atol=1e-6)
    # At an outer cell's centre (between two pixels here) nothing of the middle is seen, and as much
    # half a pixel nearer to the border as half a pixel nearer to the middle.
    np.testing.assert_allclose(bits[0, 6, [1, 0]], bits[0, 6, [2, 3]], rtol=1e-5)
    constant = bits_per_pixel(np.full((1, 3, 3, 1), np.log(2), np.float32), (12, 12))
    np.testing.assert_allclose(constant, 1 / 16, rtol=1e-5)  # up to the border


@pytest.mark.parametrize(
    ("cells", "size"), [((3, 5), (12, 35)), ((4, 4), (50, 30)), ((2, 7), (9, 7)), ((1, 2), (5, 8))]
)
def test_bits_are_enlarged_as_by_the_authors(cells, size):
    """IBA's `to_saliency_map`: scikit-image's resize, which mirrors at the outer cells' centres."""
    nats = np.random.default_rng(0).exponential(size=(2, *cells, 6)).astype(np.float32)
    per_cell = nats.astype(np.float64).sum(-1) / np.log(2) * np.prod(cells) / np.prod(size)
    zoom = [n / of for n, of in zip(size, cells, strict=True)]
    wanted = [ndimage.zoom(one, zoom, order=1, mode="mirror", grid_mode=True) for one in per_cell]
    np.testing.assert_allclose(bits_per_pixel(nats, size), wanted, rtol=1e-5)


def test_the_bottleneck_keeps_what_the_class_needs(found):
    """Inactive elements are not paid for; the seen ones let more pass than an indifferent class."""
    seen = np.zeros((6, 6), bool)
    seen[ROWS.start // 4 : ROWS.stop // 4, COLUMNS.start // 4 : COLUMNS.stop // 4] = True
    assert (np.asarray(found.capacity)[:, ~seen] == 0).all()
    assert (found.capacity[:, seen] > 0).all()
    dear = feature(beta_feature=200.0)
    free = feature(beta_feature=0.0)
    passed = [float(f.capacity.sum()) for f in (dear, found, free)]
    assert passed[0] < passed[1] < passed[2]
    assert found.losses["class"].shape == (10, 3)
    for values in jax.tree.leaves(found):
        assert np.isfinite(values).all()


def test_capacity_is_that_before_the_last_step(found):
    """`capacity` and the last loss are of the same forward pass; the logits went one step on."""
    np.testing.assert_allclose(
        found.capacity.mean((1, 2, 3)), found.losses["information"][-1], rtol=1e-5
    )
    shorter = feature(steps_feature=9)
    np.testing.assert_allclose(
        found.losses["information"][:9], shorter.losses["information"], rtol=1e-5
    )
    assert not np.allclose(found.logits, shorter.logits)


def test_statistics_of_another_layer_are_refused():
    arguments, keys = given(1)
    wrong = jax.tree.map(lambda leaf: leaf[:2], statistics())
    with pytest.raises(ValueError, match=r"statistics \(2, 6, 3\) are not of pool, whose output"):
        feature_iba(*arguments, keys=keys, statistics=wrong, settings=SETTINGS)
