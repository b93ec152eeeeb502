"""A strategy's interval and test against Student, Welch and Obuchowski & Rockette by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.statistics.measurement import ByClass, Measurement


def measured(values, influences, patients=40.0, **fields):
    usual = dict(images=2 * patients, patients=patients, freedom=max(patients - 1, 1))
    return Measurement(np.asarray(values, float), np.asarray(influences, float), **usual | fields)


def drawn(rng, trials=3, patients=40, training=0.03, alike=0.05):
    """Values about .7, influences of patients that are partly shared by the trials."""
    shared = rng.normal(size=patients) * alike / patients**0.5
    own = rng.normal(size=(trials, patients)) * alike / patients**0.5
    values = np.clip(0.7 + training * rng.normal(size=trials), 0, 1)
    return measured(values, shared + own, patients)


def test_trainings_alone_are_students_t():
    """Patients who all add nothing: the interval of a strategy is that of its trials' values."""
    values = np.array([0.5, 0.9, 1.4, 0.7])
    found = measured(values, np.zeros((4, 40)), bounded=False).strategy()
    wanted = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_trainings_of_two_strategies_alone_are_welch_s_test():
    first, second = np.array([0.71, 0.76, 0.80]), np.array([0.62, 0.64, 0.69])
    none = np.zeros((3, 40))
    found = measured(first, none).minus(measured(second, none))
    wanted = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_strategy() == pytest.approx(wanted.pvalue)
    ends = wanted.confidence_interval()
    networks, strategy = found.networks(), found.strategy()
    assert strategy.low == pytest.approx(min(ends.low, networks.low))
    assert strategy.high == pytest.approx(max(ends.high, networks.high))


def test_patients_alone_are_a_paired_t_test():
    """One network each, a patient an image: the mean of right minus right."""
    rng = np.random.default_rng(0)
    right = rng.random((2, 60)) < [[0.8], [0.6]]
    each = [
        measured([row.mean()], (row - row.mean())[None] / np.sqrt(59 * 60), patients=60.0)
        for row in right
    ]
    found, wanted = each[0].minus(each[1]), stats.ttest_rel(*right.astype(float))
    assert found.value == pytest.approx(right[0].mean() - right[1].mean())
    assert found.p_networks() == pytest.approx(wanted.pvalue)
    ends = wanted.confidence_interval()
    assert (found.networks().low, found.networks().high) == pytest.approx((ends.low, ends.high))


@pytest.mark.parametrize("trials", [2, 3, 5])
def test_both_together_are_obuchowski_and_rockette_s_variance(trials):
    found = drawn(np.random.default_rng(trials), trials, training=0.05)
    pairs = list(itertools.permutations(range(trials), 2))
    shared = np.mean([found.influences[a] @ found.influences[b] for a, b in pairs])
    training = np.var(found.values, ddof=1)
    variance = training / trials + shared
    freedom = variance**2 / (
        (training / trials) ** 2 / (trials - 1) + shared**2 / found.freedom
    )  # Satterthwaite
    p = 2 * stats.t.sf(abs(found.value) / variance**0.5, freedom)
    assert found.p_strategy() == pytest.approx(p)


def test_trials_that_agree_by_chance_leave_the_patients_variance():
    rng = np.random.default_rng(0)
    own = drawn(rng, training=0.0)
    assert own.strategy() == own.networks()
    assert own.p_strategy() == own.p_networks()


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.integers(2, 60),
    st.sampled_from([0.0, 1e-9, 0.01, 0.2]),
    st.sampled_from([0.0, 0.05, 1.0]),
)
def test_a_strategy_is_known_no_better_than_its_networks(seed, trials, patients, training, alike):
    rng = np.random.default_rng(seed)
    one, other = (drawn(rng, trials, patients, training, alike) for _ in range(2))
    for found in (one, one.minus(other)):
        networks, strategy = found.networks(), found.strategy()
        assert strategy.low <= networks.low <= found.value <= networks.high <= strategy.high
        assert networks.low < networks.high
        assert found.p_strategy() >= found.p_networks()
        for p, shown in ((found.p_networks(), networks), (found.p_strategy(), strategy)):
            assert 0 <= p <= 1
            if found.others and np.abs(found.influences).max() > 1e-12:
                assert (p < 0.05) == (shown.low > 0 or shown.high < 0)


def test_the_same_predictions_are_no_difference():
    one = drawn(np.random.default_rng(0))
    same = one.minus(one)
    assert same.value == 0 == same.sd
    assert same.p_networks() == 1 == same.p_strategy()
    shown = same.networks()
    assert shown.low < 0 < shown.high < 0.1  # forty patients without one that differs


def test_all_patients_that_differ_by_the_same_are_a_sign_test():
    """Rounding errors of their influences are no variance."""
    rounding = 1e-17 * np.random.default_rng(0).normal(size=(1, 40))
    found = measured([2 / 3], rounding).minus(measured([1 / 3], 0 * rounding))
    assert found.p_networks() == pytest.approx(stats.binomtest(40, 40).pvalue)
    assert found.networks().high - found.networks().low > 0.05


def test_a_single_trial_says_nothing_of_a_strategy():
    one = measured([0.7], 0.01 * np.random.default_rng(0).normal(size=(1, 40)))
    found = one.minus(measured([0.6], np.zeros((1, 40))))
    assert np.isnan([found.p_strategy(), found.sd, found.strategy().low]).all()
    assert found.strategy().value == found.value
    assert 0 < found.p_networks() < 1 and found.networks().low < found.value


def test_a_single_patient_has_no_interval():
    found = measured([0.7, 0.8], np.zeros((2, 1)), patients=1.0)
    for one in (found, found.minus(found)):
        assert np.isnan([one.networks().low, one.strategy().low, one.p_networks()]).all()
        assert np.isnan(one.p_strategy())


def classes(influences, values, patients, **fields):
    return ByClass(
        np.asarray(values, float)[None],
        np.asarray(influences, float)[None],
        images=np.asarray(patients),
        patients=np.asarray(patients),
        **fields,
    )


def test_a_macro_mean_of_large_classes_has_the_classes_variances():
    """The classes' own patients, many of each: the variance of a mean of independent values."""
    rng, sizes = np.random.default_rng(0), [400, 600]
    influences = np.zeros((1000, 2))
    influences[:400, 0] = rng.normal(size=400) * 0.4 / 400
    influences[400:, 1] = rng.normal(size=600) * 0.5 / 600
    found = classes(influences, [0.8, 0.6], sizes).macro()
    assert found.value == pytest.approx(0.7)
    variance = (influences**2).sum() / 4
    shown = found.networks()
    width = 2 * stats.norm.ppf(0.975) * variance**0.5
    assert shown.high - shown.low == pytest.approx(width, rel=0.05)


def test_a_class_of_one_patient_takes_part_with_the_variance_of_the_others():
    """It shows none of its own; without it the interval would be the narrower the rarer it is."""
    rng = np.random.default_rng(0)
    influences = np.zeros((101, 2))
    influences[:100, 0] = rng.choice([-1, 1], 100) * 0.4 / 100
    found = classes(influences, [0.8, 0.5], [100, 1]).macro().networks()
    assert found.value == pytest.approx(0.65)
    assert found.high - found.low > 0.3  # a single patient is right or wrong


def test_one_patient_of_many_classes_is_one_patient():
    found = classes(np.zeros((1, 3)), [1, 0.5, 0], [1, 1, 1], people=1).macro()
    assert np.isnan([found.networks().low, found.p_networks()]).all()
    several = classes(np.zeros((3, 3)), [1, 0.5, 0], [1, 1, 1], people=3).macro()
    assert several.networks().low < 0.5 < several.networks().high


def test_classes_without_a_number_stay_out():
    influences = 0.01 * np.random.default_rng(0).normal(size=(50, 3))
    influences[:, 1] = 0
    found = classes(influences, [0.8, np.nan, 0.6], [50, 0, 50]).macro()
    alone = classes(influences[:, [0, 2]], [0.8, 0.6], [50, 50]).macro()
    # A mean of two numbers of three columns.
    assert found.value == pytest.approx(0.7) and found.networks() == alone.networks()
    nothing = classes(np.zeros((5, 1)), [np.nan], [0]).macro()
    assert np.isnan([nothing.value, nothing.networks().low, nothing.p_networks()]).all()
