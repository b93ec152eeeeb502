"""Means over patients' images: against t tests, against matrices, and what has no interval."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, optimize, stats

from dermjax.statistics import comparison
from dermjax.statistics.clustered_mean import LEAST_PATIENTS, adjusted_p, clustered_mean


def by_matrices(values, patients, level=0.95):
    """The interval and p as the papers state them: B x B matrices, and roots of Hall's cubic."""
    names = np.unique(patients)
    hat = np.full((len(values), len(values)), 1 / len(values))
    columns = []
    for name in names:
        own = patients == name
        root = linalg.fractional_matrix_power(np.eye(own.sum()) - hat[np.ix_(own, own)], -0.5)
        columns.append((np.eye(len(values)) - hat)[:, own] @ root.real.sum(1) / len(values))
    columns = np.array(columns)  # [G, B]: the variance is the sum of (column . values)^2
    parts = columns @ values
    error, products = math.sqrt((parts**2).sum()), columns @ columns.T
    freedom = np.trace(products) ** 2 / (products**2).sum()
    skewness = (parts**3).sum() / error**3 * freedom / (len(names) - 1)

    def beyond(mean, quantile):
        t = (values.mean() - mean) / error
        return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6 - quantile

    reach, far = stats.t.ppf((1 + level) / 2, freedom), 1e4 * error
    ends = values.mean() - far, values.mean() + far
    low, high = (optimize.brentq(beyond, *ends, args=(side,)) for side in (reach, -reach))
    return low, high, 2 * stats.t.sf(abs(beyond(0, 0)), freedom)


@st.composite
def clusters(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=5, max_size=9))
    patients = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.normal(size=len(patients)) + rng.normal(size=len(sizes))[patients], patients


def test_symmetric_values_of_one_image_a_patient_have_the_t_test():
    values = 0.3 + np.array([-2.0, -1.5, -0.4, -0.1, 0, 0.1, 0.4, 1.5, 2.0])
    found = clustered_mean(values, np.arange(9), level=0.9)
    test = stats.ttest_1samp(values, 0)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.9)))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.patients, found.images) == (9, 9)


def test_as_many_images_of_every_patient_are_their_mean():
    rng = np.random.default_rng(1)
    patients = rng.permutation(np.repeat(np.arange(7), 4))
    values = rng.normal(size=28) + rng.normal(size=7)[patients]
    means = np.array([values[patients == one].mean() for one in range(7)])
    found, wanted = clustered_mean(values, patients), clustered_mean(means, np.arange(7))
    for name in ("value", "low", "high", "p"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name)), name


@given(clusters())
@settings(max_examples=15, deadline=None)
def test_it_is_what_the_papers_state(drawn):
    """Bell & McCaffrey 2002 for patients of unequal weight, Hall 1992 for skewed values."""
    values, patients = drawn
    found = clustered_mean(values, patients)
    assert (found.low, found.high, found.p) == pytest.approx(by_matrices(values, patients))
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


@given(clusters(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=40, deadline=None)
def test_the_interval_moves_turns_and_grows_with_the_values(drawn, shift, scale):
    values, patients = drawn
    found, moved = (clustered_mean(v, patients) for v in (values, shift - scale * values))
    assert moved.value == pytest.approx(shift - scale * found.value, abs=1e-9)
    assert moved.low == pytest.approx(shift - scale * found.high, abs=1e-9)
    assert moved.high == pytest.approx(shift - scale * found.low, abs=1e-9)


@pytest.mark.parametrize("patients", [6, 10, 20])
def test_intervals_of_skewed_shares_cover_their_mean(patients):
    """Half are 0, the rest up to 1: percentiles of resampled patients cover 74 %, a t 86 %."""
    rng = np.random.default_rng(0)
    draws = rng.beta(0.8, 2, (600, patients)) * (rng.random((600, patients)) < 0.5)
    found = [clustered_mean(of, np.arange(patients), bounds=(0, 1)) for of in draws if of.any()]
    covered = np.mean([one.low <= 0.5 * 0.8 / 2.8 <= one.high for one in found])
    assert 0.92 < covered < 0.985


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
    assert free.low < 0 and free.high > 1
    assert (cut.low, cut.high, cut.value, cut.p) == (0, 1, free.value, free.p)


def test_a_familys_p_are_holms_and_who_has_none_takes_no_part():
    rng = np.random.default_rng(0)
    family = {
        shift: clustered_mean(rng.normal(size=9) + shift, np.arange(9)) for shift in (0, 1, 2)
    }
    of_two = clustered_mean(np.array([9.0, 9.1]), np.arange(2))
    found = adjusted_p(family | {"of two": of_two})
    assert math.isnan(found.pop("of two"))
    assert list(found.values()) == pytest.approx(
        comparison.holm([one.p for one in family.values()])
    )
    assert adjusted_p({}) == {}


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
