"""The bootstrap of patients against images that are really repeated, and a known variance."""

import numpy as np
import pytest
from scipy import sparse

from dermjax.statistics import bootstrap

PATIENTS = np.array([f"p{n}" for n in np.random.default_rng(0).integers(0, 25, 80)])


def test_every_draw_has_as_many_patients_and_all_are_drawn_alike():
    counts = bootstrap.patient_weights(np.arange(200) % 20, resamples=3000).counts
    assert (counts.sum(1) == 20).all()
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(counts.var(0), 1 - 1 / 20, atol=0.15)  # of a multinomial


def test_an_interval_leaves_out_undefined_resamples():
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = bootstrap.interval(values, 0.5)
    np.testing.assert_allclose(low, [1.5, np.nan])
    np.testing.assert_allclose(high, [2.5, np.nan])
    assert bootstrap.interval(values[:, 0], 0.5) == (1.5, 2.5)


def test_a_basic_interval_takes_off_what_resampling_adds():
    values = 0.3 + np.linspace(-0.1, 0.1, 101)
    np.testing.assert_allclose(bootstrap.basic_interval(0.2, values, 0.9), (0.01, 0.19))
    np.testing.assert_allclose(bootstrap.basic_interval(0.15, values, 0.9), (0, 0.09))


def test_draws_depend_on_patients_and_seed_only():
    """Runs that list their images in another order are still paired; more draws keep the first."""
    order = np.random.default_rng(3).permutation(len(PATIENTS))
    first, other = (bootstrap.patient_weights(p, 50, seed=4) for p in (PATIENTS, PATIENTS[order]))
    np.testing.assert_array_equal(first.counts, other.counts)
    np.testing.assert_array_equal(first.inverse[order], other.inverse)
    more = bootstrap.patient_weights(PATIENTS, 70, seed=4)
    np.testing.assert_array_equal(more.counts[:50], first.counts)
    assert (bootstrap.patient_weights(PATIENTS, 50, seed=5).counts != first.counts).any()


def test_means_are_those_of_the_resample_s_images(monkeypatch):
    monkeypatch.setattr(bootstrap, "_DRAWS", 7)
    values = np.random.default_rng(0).normal(size=(80, 3))
    weights = bootstrap.patient_weights(PATIENTS, 20)
    found = weights.means(values)
    for draw, counts in enumerate(weights.counts):
        rows = np.repeat(np.arange(80), counts[weights.inverse])
        np.testing.assert_allclose(found[draw], values[rows].mean(0))
    np.testing.assert_allclose(weights.means(values[:, 1]), found[:, 1])
    np.testing.assert_allclose(weights.means(sparse.coo_array(values)), found)


def test_patients_who_are_alike_in_all_their_images_widen_the_interval():
    """Ten images of each of 100 patients, all right or all wrong: the variance is that of 100."""
    right = np.repeat(np.random.default_rng(0).random(100) < 0.8, 10).astype(float)
    p = right.mean()
    for patients, n in ((np.repeat(np.arange(100), 10), 100), (np.arange(1000), 1000)):
        means = bootstrap.patient_weights(patients, 4000).means(right)
        assert means.std() == pytest.approx(np.sqrt(p * (1 - p) / n), rel=0.05)
        low, high = bootstrap.interval(means)
        assert high - low == pytest.approx(2 * 1.96 * means.std(), rel=0.1)


def test_what_cannot_be_resampled_is_said():
    with pytest.raises(ValueError, match="1 patients .* at least 2"):
        bootstrap.patient_weights(["a", "a"])
    with pytest.raises(ValueError, match="resamples = 0 must be at least 1"):
        bootstrap.patient_weights(PATIENTS, 0)
    with pytest.raises(ValueError, match="patients of 80 images for 79 labels"):
        bootstrap.patient_weights(PATIENTS, 5).check(np.zeros(79, int))
    with pytest.raises(ValueError, match="level = 95"):
        bootstrap.interval(np.ones(3), 95)
