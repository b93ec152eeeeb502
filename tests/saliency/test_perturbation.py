"""Answers to changed images, and the scores made of them, against plain NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dermjax.saliency import perturbation, scores
from tests.saliency import score_oracle as oracle
from tests.saliency.patch_network import COLUMNS, NETWORK, ROWS, SIDE, VARIABLES, given, quick

MASKS, PIXELS = 20, SIDE * SIDE
COUNTS, SHARES = perturbation.states(PIXELS, 12)
SIZES = perturbation.set_sizes(PIXELS, 4, 0.01, 0.8)
PATCH = np.zeros((SIDE, SIDE), np.float32)
PATCH[ROWS, COLUMNS] = 1
# No two pixels are equally hot: the oracle reads equal ones from top to bottom.
NOISE = np.random.default_rng(4).permutation(PIXELS).reshape(SIDE, SIDE) / PIXELS
TILT = np.arange(PIXELS).reshape(SIDE, SIDE) / PIXELS
HEAT = np.stack([PATCH + 0.01 * NOISE, NOISE, (1 - PATCH) + 0.01 * NOISE, TILT]).astype(np.float32)


@functools.cache
def answers(chunk=16, maps=4):
    (model, variables, images, targets), keys = given(1)
    heat = HEAT[:maps]
    blur = perturbation.blur_matrix(SIDE, 40)
    changes = perturbation.Changes(COUNTS, SIZES, MASKS, blur, chunk)
    ask = quick(functools.partial(perturbation.answers, model, changes=changes))
    flat = heat - heat.mean((1, 2), keepdims=True)
    ranks = np.stack([scores.ranks(one) for one in heat])
    one = perturbation.ExplainedImage(images[0], targets[0], flat, ranks, keys[0])
    return ask(variables, one)


def sets(n):
    (_, keys), numbers = given(1), jnp.arange(MASKS)
    draw = functools.partial(perturbation.random_set, keys[0], n, shape=(SIDE, SIDE))
    return np.asarray(jax.vmap(lambda number: draw(number=number))(numbers))


def logit(images):
    return np.asarray(NETWORK.apply(VARIABLES, images)[:, 0])


def probability(images):
    return np.asarray(jax.nn.softmax(NETWORK.apply(VARIABLES, images))[:, 0])


def test_curves_and_correlations_are_those_of_a_plain_loop():
    found, image = answers(), given(1)[0][2][0]
    assert found.whole == pytest.approx(float(logit(image[None])[0]), rel=1e-5)
    masks = np.stack([sets(n) for n in SIZES])
    for k, heat in enumerate(HEAT):
        deleted = oracle.deletion(probability, image, heat, COUNTS, SHARES)
        inserted = oracle.insertion(probability, image, heat, COUNTS, SHARES, sigma=40)
        assert scores.area(found.deletion[k], SHARES) == pytest.approx(deleted, abs=1e-5)
        assert scores.area(found.insertion[k], SHARES) == pytest.approx(inserted, abs=1e-5)
        np.testing.assert_allclose(
            scores.sensitivity_n(found.heat[k], found.whole - found.logits),
            oracle.sensitivity_n(logit, image, heat, masks),
            atol=1e-4,
        )


def test_a_true_map_is_better_than_chance_and_chance_than_its_opposite():
    found = answers()
    deleted = [scores.area(curve, SHARES) for curve in found.deletion[:3]]
    inserted = [scores.area(curve, SHARES) for curve in found.insertion[:3]]
    lost = found.whole - found.logits
    n = [scores.sensitivity_n(heat, lost).mean() for heat in found.heat[:3]]
    assert deleted[0] < deleted[1] < deleted[2]
    assert inserted[0] > inserted[1] > inserted[2]
    assert n[0] > 0.5 and abs(n[1]) < 0.5 and n[2] < -0.5


@pytest.mark.parametrize(("chunk", "maps"), [(1, 2), (7, 4), (1000, 1)])
def test_answers_depend_neither_on_the_chunk_nor_on_the_other_maps(chunk, maps):
    every, found = answers(), answers(chunk, maps)
    for name in ("deletion", "insertion", "heat"):
        one = getattr(found, name)
        np.testing.assert_allclose(one, getattr(every, name)[:maps], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.logits, every.logits, rtol=1e-5, atol=1e-5)


def test_random_sets_have_their_size_and_hit_all_pixels_alike():
    for n in (1, 5, 300, PIXELS):
        assert (sets(n).sum((1, 2)) == n).all()
    key, numbers = given(1)[1][0], jnp.arange(2000)
    draw = functools.partial(perturbation.random_set, key, 100, shape=(SIDE, SIDE))
    many = np.asarray(jax.jit(jax.vmap(lambda number: draw(number=number)))(numbers))
    share = 100 / PIXELS
    spread = (many.mean(0) - share) / np.sqrt(share * (1 - share) / len(many))
    assert np.abs(spread).max() < 5 and 0.9 < spread.std() < 1.1


def test_random_sets_are_the_image_s_own():
    first, second = (perturbation.random_set(key, 50, 0, shape=(SIDE, SIDE)) for key in given(2)[1])
    assert (first != second).any() and (sets(50)[0] == first).all()
    assert (sets(50)[0] != sets(50)[1]).any()
    assert not (sets(50) <= sets(51)).all(), "sets of two sizes share their noise"


@pytest.mark.parametrize(("kernel", "radius"), [(0, None), (149, 3)])
def test_the_blur_is_scipys(kernel, radius):
    image, sigma = given(1)[0][2][0], 40 * SIDE / 512
    matrix = perturbation.blur_matrix(SIDE, 40, kernel).astype(np.float64)
    wanted = ndimage.gaussian_filter(
        image.astype(np.float64), (sigma, sigma, 0), mode="reflect", radius=radius
    )
    np.testing.assert_allclose(
        np.einsum("yh,hwc,xw->yxc", matrix, image, matrix), wanted, atol=1e-5
    )


def test_states_of_a_curve():
    counts, shares = perturbation.states(10, 4)
    assert counts.tolist() == [0, 2, 5, 8, 10] and shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    counts, shares = perturbation.states(25, 4, pixels_per_step=10)
    assert counts.tolist() == [0, 10, 20, 25] and shares.tolist() == [0, 0.4, 0.8, 1]


def test_sizes_of_random_sets():
    assert perturbation.set_sizes(1000, 3, 0.001, 0.1).tolist() == [1, 10, 100]
    assert perturbation.set_sizes(1000, 1, 0.5, 0.5).tolist() == [500]
    theirs = np.unique(np.logspace(0, 4.5, 45, dtype=int))  # in InputIBA's sensitivity_n.py
    np.testing.assert_array_equal(perturbation.set_sizes(224**2, 45, 1, 31622.8), theirs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perturbation.states(100, 0), "steps = 0 must be at least 1"),
        (lambda: perturbation.states(100, 5, 101), r"pixels_per_step = 101 must lie in \[1, 100\]"),
        (lambda: perturbation.set_sizes(100, 0, 0.1, 0.5), "sizes = 0 must be at least 1"),
        (lambda: perturbation.set_sizes(100, 3, 0.5, 0.1), "least_n = 0.5 and most_n = 0.1 must"),
        (lambda: perturbation.set_sizes(100, 3, 1, 31622.8), "most_n = 31622.8 must .* the 100 pi"),
        (lambda: perturbation.set_sizes(100, 3, 0, 0.1), "least_n = 0 and .* above 0"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
