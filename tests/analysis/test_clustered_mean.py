"""Means over patients' images: against t tests, against matrices, and what has no interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dermjax.analysis.clustered_mean import LEAST_PATIENTS, clustered_mean


def by_matrices(values, patients, level=0.95):
    """Bell & McCaffrey's interval of a mean as their paper states it, with B x B matrices."""
    names = np.unique(patients)
    design = np.ones((len(values), 1))
    hat = design @ design.T / len(values)
    left = np.eye(len(values)) - hat
    columns = []
    for name in names:
        own = patients == name
        root = np.linalg.inv(np.eye(own.sum()) - hat[np.ix_(own, own)])
        eigenvalues, vectors = np.linalg.eigh(root)
        root = vectors @ np.diag(np.sqrt(eigenvalues)) @ vectors.T
        columns.append(left[:, own] @ root @ design[own, 0] / len(values))
    columns = np.array(columns)  # [G, B]: the variance is the sum of (column . values)^2
    error = math.sqrt(((columns @ values) ** 2).sum())
    products = columns @ columns.T
    freedom = np.trace(products) ** 2 / (products**2).sum()
    return error, freedom, stats.t.interval(level, freedom, loc=values.mean(), scale=error)


@st.composite
def clusters(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=5, max_size=9))
    patients = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.normal(size=len(patients)) + rng.normal(size=len(sizes))[patients], patients


def test_one_image_a_patient_is_the_t_test():
    values = np.random.default_rng(0).exponential(size=9) - 0.5
    found = clustered_mean(values, np.arange(9), level=0.9)
    test = stats.ttest_1samp(values, 0)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.9)))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.patients, found.images) == (9, 9)


def test_as_many_images_of_every_patient_is_the_t_test_of_their_means():
    rng = np.random.default_rng(1)
    patients = rng.permutation(np.repeat(np.arange(7), 4))
    values = rng.normal(size=28) + rng.normal(size=7)[patients]
    means = [values[patients == one].mean() for one in range(7)]
    found, test = clustered_mean(values, patients), stats.ttest_1samp(means, 0)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    assert found.p == pytest.approx(test.pvalue)


@given(clusters())
def test_unequal_patients_are_weighed_as_by_bell_and_mccaffrey(drawn):
    values, patients = drawn
    error, freedom, (low, high) = by_matrices(values, patients)
    found = clustered_mean(values, patients)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(values.mean()) / error, freedom))


@given(clusters(), st.randoms(use_true_random=False))
def test_order_names_and_missing_values_change_nothing(drawn, random):
    values, patients = drawn
    found = clustered_mean(values, patients)
    order = random.sample(range(len(values)), len(values))
    # A patient of whom nothing is known is none.
    values = np.append(values[order], [np.nan, np.inf])
    names = np.array([f"patient {one}" for one in patients[order]] + ["unknown", "patient 0"])
    again = clustered_mean(values, names)
    assert again.patients == found.patients and again.images == found.images
    for name in ("value", "low", "high", "p"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-6), name


@given(clusters(), st.floats(-5, 5), st.floats(0.1, 10))
def test_the_interval_moves_and_grows_with_the_values(drawn, shift, scale):
    values, patients = drawn
    found, moved = (clustered_mean(v, patients) for v in (values, scale * values + shift))
    assert moved.value == pytest.approx(scale * found.value + shift, abs=1e-9)
    assert moved.low == pytest.approx(scale * found.low + shift, abs=1e-9)
    assert moved.high == pytest.approx(scale * found.high + shift, abs=1e-9)


def test_one_patient_with_most_images_does_not_hide_that_there_are_few():
    """An interval that counted images, or took the usual t, would cover 70 %."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(10), [20] + [1] * 9)
    draws = (rng.normal(size=29) + rng.normal(size=10)[patients] for _ in range(400))
    found = [clustered_mean(values, patients) for values in draws]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.92


@pytest.mark.parametrize("patients", [1, 2, LEAST_PATIENTS - 1])
def test_too_few_patients_have_a_mean_and_no_interval(patients):
    values = np.random.default_rng(0).normal(size=12)
    found = clustered_mean(values, np.arange(12) % patients)
    assert found.value == pytest.approx(values.mean())
    assert not found.has_interval and math.isnan(found.high) and math.isnan(found.p)
    assert found.patients == patients


@pytest.mark.parametrize("value", [1.0, 0.3, 1e-9, 1e9])
def test_an_interval_has_a_width_or_is_not_there(value):
    """Fifteen patients all right: [1, 1] would say that nobody can be wrong."""
    found = clustered_mean(np.full(15, value), np.arange(15))
    assert found.value == pytest.approx(value) and not found.has_interval
    assert math.isnan(found.p)


def test_patients_who_all_have_the_same_mean_have_no_interval():
    """Images vary within patients, who would then be identical beyond belief."""
    found = clustered_mean(np.tile([0.1, 0.7], 8), np.repeat(np.arange(8), 2))
    assert found.value == pytest.approx(0.4) and not found.has_interval


def test_no_difference_at_all_is_no_evidence():
    found = clustered_mean(np.zeros(8), np.arange(8))
    assert (found.value, found.p) == (0, 1) and not found.has_interval


def test_nothing_defined_gives_nothing():
    for values in ([], [np.nan, np.nan]):
        found = clustered_mean(np.array(values), np.arange(len(values)))
        assert math.isnan(found.value) and not found.has_interval
        assert (found.patients, found.images) == (0, 0)


def test_bounds_cut_the_interval():
    values = np.array([0.0, 0, 0, 0, 0.9])
    free = clustered_mean(values, np.arange(5))
    cut = clustered_mean(values, np.arange(5), bounds=(0, 1))
    assert free.low < 0 == cut.low and (cut.high, cut.p) == (free.high, free.p)


def test_it_says_on_which_side_of_zero_the_interval_lies():
    values = np.random.default_rng(0).normal(size=20)
    for shift, side in ((9, 1), (-9, -1), (0, 0)):
        assert clustered_mean(values + shift, np.arange(20)).difference_from_zero == side
    assert clustered_mean(values[:2] + 9, np.arange(2)).difference_from_zero == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patients": np.arange(3)}, "(6,).*(3,)"),
        ({"values": np.zeros((6, 2))}, "(6, 2)"),
        ({"level": 95}, "95.*(0, 1)"),
        ({"least_patients": 1}, "at least 2"),
    ],
)
def test_wrong_arguments_are_named(wrong, said):
    given_ = {"values": np.zeros(6), "patients": np.arange(6)} | wrong
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        clustered_mean(**given_)
