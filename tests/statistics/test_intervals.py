"""Intervals against SciPy's exact ones, published values, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.statistics import intervals


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.sampled_from([0.8, 0.95, 0.99]))
def test_none_and_all_have_the_end_of_clopper_and_pearson(n, level):
    for hits in (0, n):
        exact = stats.binomtest(hits, n).proportion_ci(level, "exact")
        found = intervals.proportion(hits / n, n, level)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_fifteen_patients_all_right_or_all_wrong():
    right, wrong = intervals.proportion(1.0, 15), intervals.proportion(0.0, 15)
    assert (right.low, right.high) == (pytest.approx(0.782, abs=5e-4), 1)
    assert (wrong.low, wrong.high) == (0, pytest.approx(0.218, abs=5e-4))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 300), st.data())
def test_between_them_it_is_jeffreys_interval(n, data):
    """Quantiles of Beta(x + 1/2, n - x + 1/2), checked by the distribution function."""
    hits = data.draw(st.integers(1, n - 1))
    found = intervals.proportion(hits / n, n)
    posterior = stats.beta(hits + 0.5, n - hits + 0.5)
    if hits > 1:
        assert posterior.cdf(found.low) == pytest.approx(0.025)
    if n - hits > 1:
        assert posterior.sf(found.high) == pytest.approx(0.025)
    assert found.low < found.value < found.high


@settings(deadline=None, max_examples=200)
@given(
    st.floats(0, 1),
    st.just(0.0) | st.floats(1e-6, 1),
    st.integers(1, 500),
    st.floats(1.001, 1e4),
    st.floats(2, 1e4),
)
def test_a_bounded_value_lies_inside_an_interval_that_has_a_width(
    value, spread, freedom, images, patients
):
    variance = spread * value * (1 - value)
    found = intervals.bounded(value, variance, freedom, images=images, patients=patients)
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.low < found.high


@settings(deadline=None, max_examples=100)
@given(st.floats(0.05, 0.95), st.floats(1e-4, 0.05), st.integers(1, 200), st.floats(1.0, 3.0))
def test_more_variance_and_fewer_degrees_of_freedom_widen_it(value, variance, freedom, more):
    def width(*given):
        found = intervals.bounded(value, *given, images=300, patients=200)
        return found.high - found.low

    usual = width(variance, freedom + 1)
    assert width(more * variance, freedom + 1) >= usual - 1e-12
    assert width(variance, freedom) >= usual - 1e-12


def test_of_independent_images_it_is_the_interval_of_that_many():
    """The jackknife's variance of n independent images is p (1 - p) / (n - 1)."""
    n, hits = 80, 60
    p = hits / n
    found = intervals.bounded(p, p * (1 - p) / (n - 1), n - 1, images=n, patients=n)
    usual = intervals.proportion(p, n)
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high))


@pytest.mark.parametrize("n, p", [(20, 0.9), (20, 0.97), (60, 0.5), (60, 0.98)])
def test_it_holds_the_truth_in_95_percent_of_samples(n, p):
    """Summed over all outcomes of the binomial, no simulation."""
    held = 0.0
    for hits in range(n + 1):
        value = hits / n
        variance = value * (1 - value) / (n - 1)
        found = intervals.bounded(value, variance, n - 1, images=n, patients=n)
        held += stats.binom.pmf(hits, n, p) * (found.low <= p <= found.high)
    assert held >= 0.92


def test_a_value_without_bounds_has_student_s_interval():
    values = np.random.default_rng(0).normal(3, 2, 12)
    found = intervals.student(values.mean(), values.var(ddof=1) / 12, 11)
    wanted = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    nothing = intervals.student(2.0, 0.0, 11)
    assert nothing.value == 2 and np.isnan([nothing.low, nothing.high]).all()


@settings(deadline=None, max_examples=100)
@given(st.floats(-1, 1), st.sampled_from([0.0, 1e-6, 0.01, 4.0]), st.integers(2, 300))
def test_a_difference_lies_inside_its_interval_within_its_bounds(value, variance, patients):
    found = intervals.difference(value, variance, patients - 1, patients)
    assert -1 <= found.low <= value <= found.high <= 1 and found.low < found.high
    mirrored = intervals.difference(-value, variance, patients - 1, patients)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_no_difference_in_any_patient_leaves_room_for_patients_unlike_them():
    """None of forty: by the rule of three at most 3 / 40 or so."""
    found = intervals.difference(0.0, 0.0, 39, 40)
    exact = stats.binomtest(0, 40).proportion_ci(method="exact").high
    assert (found.low, found.high) == pytest.approx((-exact, exact))


def test_what_is_no_proportion_or_level_is_said():
    with pytest.raises(ValueError, match="level = 95 must lie in"):
        intervals.proportion(0.5, 10, 95)
    with pytest.raises(ValueError, match="proportion of 1.2 among 10"):
        intervals.proportion(1.2, 10)
    with pytest.raises(ValueError, match="among 0"):
        intervals.proportion(0.5, 0)
    with pytest.raises(ValueError, match="level = 0"):
        intervals.student(0.5, 1.0, 3, level=0)
