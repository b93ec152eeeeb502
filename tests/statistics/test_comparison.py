"""Comparisons against closed testing by brute force, paired t tests and what chance would do."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.statistics import classification, comparison


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
    found = comparison.difference("accuracy", labels, first, second, patients, 2)
    assert found.value == pytest.approx((first != second).mean())
    shown = found.networks()
    assert shown.low > 0 and found.p_networks() < 0.001
    alone = classification.overall("accuracy", labels, first, patients, 2).networks()
    assert shown.high - shown.low < 0.6 * (alone.high - alone.low)
    mirrored = comparison.difference("accuracy", labels, second, first, patients, 2)
    assert mirrored.p_networks() == pytest.approx(found.p_networks())
    assert mirrored.networks().high == pytest.approx(-shown.low)


def test_of_independent_images_it_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    labels = np.zeros(400, int)
    first, second = answers(rng, labels, 0.75, 1), answers(rng, labels, 0.7, 1)
    found = comparison.difference("accuracy", labels, first, second, np.arange(400), 2)
    wanted = stats.ttest_rel((first[0] == 0).astype(float), (second[0] == 0).astype(float))
    assert found.p_networks() == pytest.approx(wanted.pvalue)
    macro = comparison.difference("macro_sensitivity", labels, first, second, np.arange(400), 2)
    assert macro.value == found.value  # of the one class that there is
    assert macro.p_networks() == pytest.approx(found.p_networks(), rel=0.05)


@pytest.mark.parametrize("measure", ["accuracy", "macro_precision", "macro_sensitivity"])
def test_identical_strategies_differ_by_nothing(measure):
    rng = np.random.default_rng(2)
    labels, patients = rng.integers(0, 2, 120), rng.integers(0, 40, 120)
    same = answers(rng, labels, 0.7, 3)
    found = comparison.difference(measure, labels, same, same, patients, 2)
    assert found.value == 0 and found.p_networks() == 1 == found.p_strategy()
    for one in (found.networks(), found.strategy()):
        assert one.low < 0 < one.high


def test_seven_patients_who_all_differ_by_the_same_are_a_sign_test():
    """Right on three photographs of three, and on one of three: of each patient."""
    labels, patients = np.zeros(21, int), np.repeat(np.arange(7), 3)
    first, second = labels[None], np.tile([0, 1, 1], 7)[None]
    found = comparison.difference("accuracy", labels, first, second, patients, 2)
    assert found.value == pytest.approx(2 / 3)
    assert found.p_networks() == pytest.approx(2 / 2**7)
    assert -1 <= found.networks().low < found.value < found.networks().high <= 1


def test_large_differences_stay_significant_among_many_comparisons():
    """Sixty comparisons, as of ten shares and four strategies: no p has a floor."""
    rng = np.random.default_rng(3)
    labels, patients = rng.integers(0, 2, 400), np.arange(400) // 2
    first, second = answers(rng, labels, 0.9, 3), answers(rng, labels, 0.6, 3)
    found = comparison.difference("macro_sensitivity", labels, first, second, patients, 2)
    adjusted = comparison.holm(np.full(60, found.p_networks()))
    assert (adjusted < 1e-6).all()
    assert (comparison.holm(np.full(60, found.p_strategy())) < 0.05).all()


def clinic(rng, trainings, images=300):
    """Labels, patients and answers of two equal strategies whose trainings differ by chance."""
    labels, patients = rng.integers(0, 3, images), np.arange(images) // 2
    hard = 0.7 * rng.normal(size=images) + 0.4 * rng.normal(size=images // 2)[patients]
    skill = 0.8 + trainings * rng.normal(size=(2, 3, 1))
    right = skill + hard + 0.5 * rng.normal(size=(2, 3, images)) > 0
    wrong = (labels + rng.integers(1, 3, (2, 3, images))) % 3
    return labels, patients, np.where(right, labels, wrong)


def test_equal_strategies_seldom_differ_though_their_networks_do():
    """Trials have a standard deviation of .03 to .05 by training, as trained networks have."""
    rng, strategies, networks, n = np.random.default_rng(4), 0, 0, 300
    for _ in range(n):
        labels, patients, (first, second) = clinic(rng, trainings=0.15)
        found = comparison.difference("macro_sensitivity", labels, first, second, patients, 3)
        strategies += found.p_strategy() < 0.05
        networks += found.p_networks() < 0.05
    assert 0.01 <= strategies / n <= 0.09
    assert networks / n > 0.2


def test_equal_networks_differ_by_chance_only():
    """Without anything of trainings both tests keep 5 %."""
    rng, strategies, networks, n = np.random.default_rng(5), 0, 0, 300
    for _ in range(n):
        labels, patients, (first, second) = clinic(rng, trainings=0.0, images=200)
        found = comparison.difference("accuracy", labels, first, second, patients, 3)
        strategies += found.p_strategy() < 0.05
        networks += found.p_networks() < 0.05
    assert 0.02 <= networks / n <= 0.09 and strategies <= networks


def test_mcnemar_of_the_same_run_twice_is_no_difference():
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
    two, three = (np.tile(labels, (trials, 1)) for trials in (2, 3))
    for measure in ("accuracy", "macro_sensitivity"):
        with pytest.raises(ValueError, match=r"\(2, 4\) and \(3, 4\) .* same trials and images"):
            comparison.difference(measure, labels, two, three, patients, 2)
        with pytest.raises(ValueError, match=r"got \(4,\), \(4,\) and \(3,\)"):
            comparison.difference(measure, labels, two, two, patients[1:], 2)
    with pytest.raises(ValueError, match=r"p = nan must lie in \[0, 1\]"):
        comparison.holm([0.5, np.nan])
    with pytest.raises(ValueError, match="got 3, 4 and 4"):
        comparison.mcnemar(labels, labels[1:], labels)
