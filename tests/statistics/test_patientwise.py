"""The quantile and mean of new patients: against their definitions, and against new patients."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.statistics import patientwise

LEVELS = st.integers(1, 19).map(lambda n: Fraction(n, 20))


@st.composite
def images(draw, fewest=1):
    """Values with ties, and their patients."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=fewest, max_size=25))
    patients = np.repeat(np.arange(len(sizes)), sizes)
    values = draw(st.lists(st.integers(0, 8), min_size=len(patients), max_size=len(patients)))
    return np.array(values) / 8, patients


def by_definition(values, patients, level):
    """The least value, or infinity, up to which the weights sum to the level: in fractions."""
    names, counts = np.unique(patients, return_counts=True)
    weight = dict(zip(names, (Fraction(1, (len(names) + 1) * int(n)) for n in counts), strict=True))
    for value in sorted(set(values)):
        below = [weight[who] for v, who in zip(values, patients, strict=True) if v <= value]
        if sum(below) >= level:
            return value
    return math.inf


@settings(deadline=None, max_examples=200)
@given(images(), LEVELS)
def test_the_quantile_is_the_papers(drawn, level):
    assert patientwise.upper_quantile(*drawn, float(level)) == by_definition(*drawn, level)


@settings(deadline=None, max_examples=50)
@given(images(), LEVELS, st.randoms(use_true_random=False))
def test_neither_order_nor_names_nor_copies_of_all_images_count(drawn, level, random):
    values, patients = drawn
    found = patientwise.upper_quantile(values, patients, float(level))
    order = random.sample(range(len(values)), len(values)) * 2
    names = np.array([f"patient {one}" for one in patients])
    assert patientwise.upper_quantile(values[order], names[order], float(level)) == found


@settings(deadline=None, max_examples=50)
@given(images(), LEVELS, LEVELS)
def test_the_quantile_grows_with_the_level(drawn, one, other):
    low, high = (patientwise.upper_quantile(*drawn, float(level)) for level in sorted((one, other)))
    assert low <= high


def test_with_one_image_each_it_is_the_usual_conformal_quantile():
    values = np.random.default_rng(0).normal(size=99)
    for level in (0.5, 0.9, 0.95, 0.99):
        rank = math.ceil(level * 100 - 1e-9)
        assert patientwise.upper_quantile(values, np.arange(99), level) == np.sort(values)[rank - 1]


@given(LEVELS)
@settings(deadline=None)
def test_the_fewest_patients_are_those_of_a_finite_quantile(level):
    fewest = patientwise.least_patients(float(level))
    assert fewest == max(1, math.ceil(level / (1 - level)))
    for patients, finite in ((fewest, True), (fewest - 1, False)):
        values = np.ones(3 * patients)
        found = patientwise.upper_quantile(values, np.arange(3 * patients) // 3, float(level))
        assert math.isfinite(found) == finite
    assert [patientwise.least_patients(level) for level in (0.9, 0.95, 0.99)] == [9, 19, 99]


@pytest.mark.parametrize("sizes", [[10], [1, 20]])
@pytest.mark.parametrize("patients", [12, 36])
def test_a_new_patient_is_below_it_as_often_as_wished(patients, sizes):
    """Values share a patient's effect; patients with many images have smaller ones.

    The quantile of images without patients is below too few: 80 to 88 % instead of 90.
    """
    rng = np.random.default_rng(0)
    ours, images_only = [], []

    def below(quantile):
        """The chance that a random image of a new patient is at or below it."""
        shift = [1.0 if size == 20 else 0.0 for size in sizes]
        return np.mean(stats.norm.cdf((quantile + np.array(shift)) / math.hypot(1, 0.3)))

    for _ in range(2000):
        size = rng.choice(sizes, patients)
        of = np.repeat(np.arange(patients), size)
        values = rng.normal(size=patients)[of] + 0.3 * rng.normal(size=len(of)) - (size == 20)[of]
        ours.append(below(patientwise.upper_quantile(values, of, 0.9)))
        images_only.append(below(patientwise.upper_quantile(values, np.arange(len(of)), 0.9)))
    assert 0.9 - 3 * stats.sem(ours) < np.mean(ours) < 0.9 + 2 / patients
    assert np.mean(images_only) < 0.9 - 3 * stats.sem(images_only)


def test_the_mean_is_that_of_patients():
    values, patients = np.array([1, 1, 1, 0, 1, 0]), np.array(["b", "b", "b", "b", "a", "c"])
    np.testing.assert_allclose(patientwise.patient_means(values, patients), [1, 0.75, 0])
    found = patientwise.mean(values, patients)
    assert found.value == pytest.approx(1.75 / 3) and 0 <= found.low < found.value < found.high <= 1
    all_right = patientwise.mean(np.ones(30, bool), np.arange(30) % 15)
    assert all_right.low == pytest.approx(0.025 ** (1 / 15)) and all_right.high == 1


def test_the_mean_of_nobody_and_of_one_patient():
    nobody, one = (patientwise.mean(np.ones(n), np.zeros(n)) for n in (0, 4))
    assert np.isnan([nobody.value, nobody.low, nobody.high]).all()
    assert one.value == 1 and np.isnan([one.low, one.high]).all()


@pytest.mark.parametrize("patients", [8, 30])
def test_intervals_of_the_mean_hold_it(patients):
    """Of patients with one to seven images, who are right in .9 of them on average."""
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        of = np.repeat(np.arange(patients), rng.integers(1, 8, patients))
        right = rng.random(len(of)) < rng.beta(0.9, 0.1, patients)[of]
        found = patientwise.mean(right, of)
        held.append(found.low <= 0.9 <= found.high)
    assert 0.92 < np.mean(held)


def test_what_has_no_quantile_is_said():
    assert patientwise.upper_quantile(np.array([]), np.array([]), 0.5) == math.inf
    with pytest.raises(ValueError, match=r"\(3,\) patients of 4 images"):
        patientwise.upper_quantile(np.zeros(4), np.arange(3), 0.9)
    with pytest.raises(ValueError, match=r"\(3,\) patients of 4 images"):
        patientwise.mean(np.zeros(4), np.arange(3))
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        patientwise.upper_quantile(np.array([0, np.nan]), np.arange(2), 0.9)
    for level in (0, 1, 90):
        with pytest.raises(ValueError, match=rf"level = {level} must lie in \(0, 1\)"):
            patientwise.upper_quantile(np.zeros(2), np.arange(2), level)
