"""Comparisons against closed testing by brute force, normal theory and what chance would do."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.analysis import bootstrap, comparison


def answers(rng, labels, share, trials=2):
    """Predictions of two classes that are right on `share` of the images."""
    return np.where(rng.random((trials, len(labels))) < share, labels, 1 - labels)


def test_the_difference_is_paired():
    """Two runs that err on nearly the same images differ for certain, however wide each one is."""
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 2, 300), rng.integers(0, 100, 300)
    second = answers(rng, labels, 0.7)
    first = second.copy()
    first[:, :30] = labels[:30]  # mends some errors, makes no new ones
    weights = bootstrap.patient_weights(patients, 999)
    a, b = (bootstrap.resample(labels, run, weights, 2) for run in (first, second))
    found = comparison.difference(a, b, "accuracy")
    mended = (first != second).mean()
    assert found.estimate.value == pytest.approx(mended)
    assert found.estimate.low > 0 and found.p == pytest.approx(2 / 1000)
    alone = a.estimate("accuracy")
    assert found.estimate.high - found.estimate.low < 0.6 * (alone.high - alone.low)
    mirrored = comparison.difference(b, a, "accuracy")
    assert mirrored.p == found.p and mirrored.estimate.high == pytest.approx(-found.estimate.low)


def test_p_agrees_with_normal_theory():
    """Independent patients: the bootstrap's p is that of a z test of the mean difference."""
    rng = np.random.default_rng(1)
    labels = np.zeros(400, int)
    first, second = answers(rng, labels, 0.75, 1), answers(rng, labels, 0.7, 1)
    d = (first == 0).astype(float)[0] - (second == 0)[0]
    z = d.mean() / (d.std() / np.sqrt(len(d)))
    weights = bootstrap.patient_weights(np.arange(400), 20_000)
    a, b = (bootstrap.resample(labels, run, weights, 2) for run in (first, second))
    found = comparison.difference(a, b, "accuracy")
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_p_is_below_5_percent_exactly_when_the_interval_leaves_out_0():
    rng = np.random.default_rng(2)
    for shift in (1.5, 1.9, 1.93, 1.99, 2.02, 2.5):
        values = rng.permutation(stats.norm.ppf((np.arange(1999) + 0.5) / 1999)) + shift
        low, _ = bootstrap.interval(values)
        assert (comparison.two_sided_p(values) < 0.05) == (low > 0)


def test_equal_strategies_differ_by_chance_only():
    """Of 200 comparisons of equals about 5 % have p <= .05."""
    rng, rejected = np.random.default_rng(3), 0
    labels = np.zeros(200, int)
    for seed in range(200):
        weights = bootstrap.patient_weights(np.arange(200) // 2, 199, seed)
        runs = (answers(rng, labels, 0.7, 1) for _ in range(2))
        a, b = (bootstrap.resample(labels, run, weights, 2) for run in runs)
        rejected += comparison.difference(a, b, "accuracy").p <= 0.05
    assert 0.01 <= rejected / 200 <= 0.1


def test_the_same_run_twice_is_no_difference():
    assert comparison.two_sided_p(np.zeros(50)) == 1
    assert comparison.two_sided_p([np.nan, 1, 1, 1]) == 0.5  # of the three that are defined
    labels = np.array([0, 1, 1])
    assert comparison.mcnemar(labels, labels, labels) == comparison.McNemar(b=0, c=0, p=1.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 15), st.integers(0, 15), st.integers(0, 5))
def test_mcnemar_is_the_sign_test_of_the_images_in_dispute(b, c, agreed):
    labels = np.zeros(b + c + agreed + 1, int)
    first, second = labels.copy(), labels.copy()
    second[:b], first[b : b + c] = 1, 1
    found = comparison.mcnemar(labels, first, second)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert (found.b, found.c) == (b, c)
    assert found.p == pytest.approx(min(1, 2 * tail))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_closed_testing_by_bonferroni(p):
    """A hypothesis falls when every family that holds it falls (Marcus, Peritz & Gabriel 1976)."""
    families = [
        f for size in range(1, len(p) + 1) for f in itertools.combinations(range(len(p)), size)
    ]
    wanted = [
        max(min(1, len(f) * min(p[j] for j in f)) for f in families if i in f)
        for i in range(len(p))
    ]
    np.testing.assert_allclose(comparison.holm(p), wanted)


def test_what_cannot_be_compared_is_said():
    labels, patients = np.array([0, 1, 0, 1]), np.arange(4)
    a, b = (
        bootstrap.resample(labels, labels, bootstrap.patient_weights(patients, 5, seed), 2)
        for seed in (0, 1)
    )
    with pytest.raises(ValueError, match="of 5 and 5 resamples .* same patient_weights"):
        comparison.difference(a, b, "accuracy")
    with pytest.raises(ValueError, match="precision has 2 values a resample, not 1"):
        comparison.difference(a, a, "precision")
    with pytest.raises(ValueError, match="0 of 2 resamples"):
        comparison.two_sided_p([np.nan, np.nan])
    with pytest.raises(ValueError, match=r"p = nan must lie in \[0, 1\]"):
        comparison.holm([0.5, np.nan])
    with pytest.raises(ValueError, match="got 3, 4 and 4"):
        comparison.mcnemar(labels, labels[1:], labels)
