"""Measures with patients' influences against scikit-learn without the patient, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from dermjax.statistics import classification, measures

N = 4
TRUTH_AND_ANSWER = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, N - 1), st.integers(0, 7)),
    min_size=1,
    max_size=40,
)


def study(seed=0, images=80, patients=25, trials=3):
    """Labels, predictions of some trials (about 70 % right), and the patient of each image."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(N, images, p=[0.5, 0.3, 0.15, 0.05])
    wrong = rng.integers(0, N, (trials, images))
    predicted = np.where(rng.random((trials, images)) < 0.7, labels, wrong)
    return labels, predicted, rng.integers(0, patients, images)


def of_class(name, labels, predicted, c):
    """scikit-learn's number, NaN where there is none to speak of."""
    truth, answer = labels == c, predicted == c
    if not truth.any() or (name == "specificity" and truth.all()):
        return np.nan
    score, *given = {
        "sensitivity": (metrics.recall_score, truth, answer),
        "precision": (metrics.precision_score, truth, answer),
        "specificity": (metrics.recall_score, ~truth, ~answer),
        "npv": (metrics.precision_score, ~truth, ~answer),
        "f1": (metrics.f1_score, truth, answer),
    }[name]
    return score(*given, zero_division=0)


def asked(name, truth, answer):
    """Which images the denominator of a measure counts."""
    return {
        "sensitivity": truth,
        "precision": answer,
        "specificity": ~truth,
        "npv": ~answer,
        "f1": truth | answer,
    }[name]


@settings(deadline=None, max_examples=60)
@given(TRUTH_AND_ANSWER, st.sampled_from(classification.BY_CLASS))
def test_values_and_what_they_lose_without_a_patient_are_scikit_learn_s(rows, name):
    labels, predicted, patients = map(np.array, zip(*rows, strict=True))
    found = classification.by_class(name, labels, predicted, patients, N)
    for c in range(N):
        value = of_class(name, labels, predicted, c)
        np.testing.assert_allclose(found.values[0, c], value)
        own = patients[asked(name, labels == c, predicted == c)]
        n = len(set(own))
        for patient in set(patients):
            rest = patients != patient
            expected = 0.0
            if np.isfinite(value) and set(own) - {patient}:
                # Without the class's images scikit-learn has no number; the ratio of sums has.
                answer, truth = predicted[rest] == c, labels[rest] == c
                without = {
                    "sensitivity": lambda t, a: (t & a).sum() / t.sum(),
                    "precision": lambda t, a: (t & a).sum() / a.sum(),
                    "specificity": lambda t, a: (~t & ~a).sum() / (~t).sum(),
                    "npv": lambda t, a: (~t & ~a).sum() / (~a).sum(),
                    "f1": lambda t, a: 2 * (t & a).sum() / (t.sum() + a.sum()),
                }[name](truth, answer)
                expected = (value - without) * np.sqrt((n - 1) / n)
            np.testing.assert_allclose(found.influences[0, patient, c], expected, atol=1e-12)


def test_macro_measures_are_those_of_measures_py_over_trials():
    labels, predicted, patients = study()
    by_hand = [measures.measure(labels, run, N) for run in predicted]
    for name in ("accuracy", "macro_precision", "macro_sensitivity"):
        found = classification.overall(name, labels, predicted, patients, N)
        np.testing.assert_allclose(found.values, [getattr(one, name) for one in by_hand])
        assert found.value == pytest.approx(np.mean([getattr(one, name) for one in by_hand]))
        assert found.sd == pytest.approx(np.std([getattr(m, name) for m in by_hand], ddof=1))
    f1 = [metrics.f1_score(labels, run, average="macro") for run in predicted]
    found = classification.overall("macro_f1", labels, predicted, patients, N)
    np.testing.assert_allclose(found.values, f1)
    single = classification.overall("accuracy", labels, predicted[1], patients, N)
    assert single.value == by_hand[1].accuracy and np.isnan(single.sd)


def test_the_variance_of_independent_images_is_that_of_a_binomial():
    labels, predicted, _ = study()
    found = classification.overall("accuracy", labels, predicted[0], np.arange(80), N)
    p = (predicted[0] == labels).mean()
    assert (found.influences**2).sum() == pytest.approx(p * (1 - p) / 79)
    own = classification.by_class("sensitivity", labels, predicted[0], np.arange(80), N)
    n, hits = (labels == 1).sum(), own.values[0, 1]
    assert (own.influences[0, :, 1] ** 2).sum() == pytest.approx(hits * (1 - hits) / (n - 1))


def test_patients_whose_images_are_alike_count_once():
    """Ten like images of each of 100 patients: the interval is, or nearly, that of 100 images."""
    right = np.random.default_rng(0).random(100) < 0.8
    labels = np.zeros(1000, int)
    alike = classification.overall(
        "accuracy", labels, np.repeat(~right, 10).astype(int), np.repeat(np.arange(100), 10), 2
    )
    single = classification.overall(
        "accuracy", labels[:100], (~right).astype(int), np.arange(100), 2
    )
    wide, usual = alike.networks(), single.networks()
    assert (wide.low, wide.high) == pytest.approx((usual.low, usual.high), abs=2e-3)


def test_a_class_of_one_patient_has_a_value_but_no_interval():
    labels, patients = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4, 4])
    predicted = np.array([0, 0, 1, 0, 1, 0])
    found = classification.by_class("sensitivity", labels, predicted, patients, 2).of(1)
    assert found.value == 0.5
    assert np.isnan([found.networks().low, found.networks().high]).all()


def test_fifteen_patients_all_right_or_all_wrong_have_the_exact_end():
    labels, patients = np.zeros(30, int), np.repeat(np.arange(15), 2)
    for answer, ends in ((0, (0.782, 1)), (1, (0, 0.218))):
        found = classification.overall("accuracy", labels, labels + answer, patients, 2).networks()
        assert (found.low, found.high) == pytest.approx(ends, abs=5e-4)


def test_a_class_without_images_has_nothing_and_stays_out_of_the_mean():
    labels, predicted, patients = study()
    wider = classification.by_class("precision", labels, predicted, patients, N + 1)
    assert np.isnan(wider.of(N).value) and np.isnan(wider.of(N).networks().low)
    usual = classification.overall("macro_precision", labels, predicted, patients, N)
    with_it = wider.macro()
    assert with_it.value == usual.value and with_it.networks() == usual.networks()


def test_what_is_never_answered_counts_as_0_and_has_no_interval():
    labels, patients = np.array([0, 0, 1, 1]), np.arange(4)
    found = classification.by_class("precision", labels, np.zeros(4, int), patients, 2)
    assert found.of(1).value == 0 and np.isnan(found.of(1).networks().high)
    always = classification.by_class("npv", labels, np.zeros(4, int), patients, 2)
    assert always.of(0).value == 0 and np.isnan(always.of(0).networks().high)
    alone = classification.by_class("specificity", np.zeros(4, int), np.zeros(4, int), patients, 2)
    assert np.isnan(alone.of(0).value) and np.isnan(alone.macro().value)


@settings(deadline=None, max_examples=80)
@given(TRUTH_AND_ANSWER, st.integers(1, 3), st.sampled_from(classification.OVERALL))
def test_whatever_the_test_set_an_interval_holds_its_value_and_has_a_width(rows, trials, name):
    labels, predicted, patients = map(np.array, zip(*rows, strict=True))
    runs = np.stack([np.roll(predicted, shift) for shift in range(trials)])
    every = [classification.overall(name, labels, runs, patients, N)]
    if name != "accuracy":
        by_class = classification.by_class(name[6:], labels, runs, patients, N)
        every += [by_class.of(c) for c in range(N)]
    for found in every:
        networks, strategy = found.networks(), found.strategy()
        for one in (networks, strategy):
            assert np.isnan(one.low) == np.isnan(one.high)
            if not np.isnan(one.low):
                assert 0 <= one.low <= one.value <= one.high <= 1
                assert one.high - one.low > 1e-3
        assert np.isnan(networks.low) == (np.isnan(found.value) or found.patients < 2)
        if trials == 1:
            assert np.isnan(strategy.low)
        elif not np.isnan(networks.low):
            assert strategy.low <= networks.low and networks.high <= strategy.high
        if len(set(patients)) == 1:  # whatever classes the patient has
            assert np.isnan(networks.low)


@pytest.mark.parametrize("name", ["macro_sensitivity", "macro_precision", "macro_f1"])
def test_a_macro_value_lies_inside_its_interval_where_many_classes_have_one_image(name):
    """114 classes, 40 of a single image; draws of patients lose such classes, the mean rises."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sizes = np.concatenate([np.ones(40, int), rng.integers(2, 30, 74)])
        labels = np.repeat(np.arange(114), sizes)
        share = np.repeat(np.linspace(0.3, 0.9, 114), sizes)
        wrong = rng.integers(0, 114, (3, len(labels)))
        runs = np.where(rng.random((3, len(labels))) < share, labels, wrong)
        found = classification.overall(name, labels, runs, np.arange(len(labels)), 114)
        for one in (found.networks(), found.strategy()):
            assert one.low < found.value < one.high
            middle = (one.low + one.high) / 2
            assert abs(middle - found.value) < 0.1 * (one.high - one.low)


def test_intervals_of_a_macro_mean_hold_the_truth_also_with_rare_classes():
    """Ten classes, the rarest of 1 to 3 patients; the truth is known, one network."""
    rng, held = np.random.default_rng(0), 0
    sizes = np.array([120, 80, 60, 40, 30, 20, 10, 3, 2, 1])
    truth = np.linspace(0.9, 0.5, 10)
    labels = np.repeat(np.arange(10), sizes)
    for _ in range(300):
        right = rng.random(len(labels)) < truth[labels]
        run = np.where(right, labels, (labels + 1) % 10)
        found = classification.overall(
            "macro_sensitivity", labels, run, np.arange(len(labels)), 10
        ).networks()
        held += found.low <= truth.mean() <= found.high
    assert 0.9 <= held / 300 <= 0.995


def test_what_cannot_be_measured_is_said():
    labels, predicted, patients = study()
    with pytest.raises(ValueError, match=r"got \(79,\), \(80,\) and \(80,\)"):
        classification.overall("accuracy", labels[1:], predicted, patients, N)
    with pytest.raises(ValueError, match=r"got \(80,\), \(80,\) and \(79,\)"):
        classification.overall("macro_f1", labels, predicted, patients[1:], N)
    with pytest.raises(ValueError, match=r"classes from 0 to 3 must lie in \[0, 3\)"):
        classification.by_class("npv", labels, predicted, patients, 3)
    with pytest.raises(ValueError, match="at least one"):
        classification.overall("accuracy", labels[:0], predicted[:, :0], patients[:0], N)
    with pytest.raises(ValueError, match=r"\(3,\) patients of 4 images"):
        classification.by_patient(np.arange(3), 4)
