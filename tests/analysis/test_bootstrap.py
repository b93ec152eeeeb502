"""The bootstrap against images that are really repeated, scikit-learn, and a known variance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics

from dermjax.analysis import bootstrap, measures

N = 4


def study(seed=0, images=80, patients=25, trials=3, classes=N):
    """Labels, predictions of some trials (about 70 % right), and the patient of each image."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, images, p=[0.5, 0.3, 0.15, 0.05])
    wrong = rng.integers(0, classes, (trials, images))
    predicted = np.where(rng.random((trials, images)) < 0.7, labels, wrong)
    return labels, predicted, np.array([f"p{n}" for n in rng.integers(0, patients, images)])


def test_a_resample_is_its_patients_images_repeated():
    """Macro means leave out the classes without images in the resample, as measures.py does."""
    labels, predicted, patients = study(images=40, patients=12)
    weights = bootstrap.patient_weights(patients, resamples=60, seed=1)
    found = bootstrap.resample(labels, predicted, weights, N).resamples
    absent = 0
    for draw, counts in enumerate(weights.counts):
        rows = np.repeat(np.arange(len(labels)), counts[weights.inverse])
        by_hand = [measures.measure(labels[rows], run[rows], N) for run in predicted]
        absent += (by_hand[0].n == 0).any()
        for name in ("accuracy", "macro_precision", "macro_sensitivity"):
            mean = np.mean([getattr(one, name) for one in by_hand])
            assert getattr(found, name)[draw] == pytest.approx(mean)
        for name in ("precision", "sensitivity"):
            mean = np.mean([getattr(one, name) for one in by_hand], 0)
            np.testing.assert_allclose(getattr(found, name)[draw], mean)
    assert 0 < absent < 60  # both cases were looked at


def test_the_point_is_the_mean_over_trials_of_what_measures_py_says():
    labels, predicted, patients = study()
    weights = bootstrap.patient_weights(patients, resamples=10)
    point = bootstrap.resample(labels, predicted, weights, N).point
    by_hand = [measures.measure(labels, run, N) for run in predicted]
    assert point.macro_precision == pytest.approx(np.mean([m.macro_precision for m in by_hand]))
    assert point.accuracy == pytest.approx(np.mean([m.accuracy for m in by_hand]))
    single = bootstrap.resample(labels, predicted[1], weights, N).point
    np.testing.assert_allclose(single.sensitivity, by_hand[1].sensitivity)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_measures_by_class_are_those_of_a_binary_question(pairs):
    labels, predicted = map(np.array, zip(*pairs, strict=True))
    found = bootstrap.measures_of(metrics.confusion_matrix(labels, predicted, labels=range(N)))
    assert found.macro_f1 == pytest.approx(
        metrics.f1_score(
            labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
        )
    )
    for c in range(N):
        truth, answer = labels == c, predicted == c
        if not truth.any():
            values = (found.precision, found.sensitivity, found.specificity, found.npv, found.f1)
            assert np.isnan([value[c] for value in values]).all()
            continue
        options = dict(zero_division=0)
        assert found.f1[c] == pytest.approx(metrics.f1_score(truth, answer, **options))
        assert found.npv[c] == pytest.approx(metrics.precision_score(~truth, ~answer, **options))
        if truth.all():
            assert np.isnan(found.specificity[c])
        else:
            specificity = metrics.recall_score(~truth, ~answer, **options)
            assert found.specificity[c] == pytest.approx(specificity)


def test_a_matrix_without_images_has_no_measures():
    empty = bootstrap.measures_of(np.zeros((2, 3, 3), int))
    assert np.isnan(empty.accuracy).all() and np.isnan(empty.macro_sensitivity).all()


def test_every_draw_has_as_many_patients_and_all_are_drawn_alike():
    counts = bootstrap.patient_weights(np.arange(200) % 20, resamples=3000).counts
    assert (counts.sum(1) == 20).all()
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(counts.var(0), 1 - 1 / 20, atol=0.15)  # of a multinomial


def test_draws_depend_on_patients_and_seed_only():
    """Runs that list their images in another order are still paired; more draws keep the first."""
    _, _, patients = study()
    order = np.random.default_rng(3).permutation(len(patients))
    first, other = (bootstrap.patient_weights(p, 50, seed=4) for p in (patients, patients[order]))
    np.testing.assert_array_equal(first.counts, other.counts)
    np.testing.assert_array_equal(first.inverse[order], other.inverse)
    more = bootstrap.patient_weights(patients, 70, seed=4)
    np.testing.assert_array_equal(more.counts[:50], first.counts)
    assert (bootstrap.patient_weights(patients, 50, seed=5).counts != first.counts).any()


def test_patients_who_are_alike_in_all_their_images_widen_the_interval():
    """Ten images of each of 100 patients, all right or all wrong: the variance is that of 100."""
    right = np.repeat(np.random.default_rng(0).random(100) < 0.8, 10)
    labels, predicted = np.zeros(1000, int), np.where(right, 0, 1)
    by_patient = bootstrap.patient_weights(np.repeat(np.arange(100), 10), 4000)
    by_image = bootstrap.patient_weights(np.arange(1000), 4000)
    p = right.mean()
    for weights, n in ((by_patient, 100), (by_image, 1000)):
        accuracy = bootstrap.resample(labels, predicted, weights, 2).resamples.accuracy
        assert accuracy.std() == pytest.approx(np.sqrt(p * (1 - p) / n), rel=0.05)
        low, high = bootstrap.interval(accuracy)
        assert high - low == pytest.approx(2 * 1.96 * accuracy.std(), rel=0.1)


def test_intervals_cover_what_they_say():
    """Of 200 studies of 150 patients, about 95 % of the intervals hold the true accuracy."""
    rng, held = np.random.default_rng(0), 0
    labels, patients = np.zeros(300, int), np.repeat(np.arange(150), 2)
    for seed in range(200):
        weights = bootstrap.patient_weights(patients, 400, seed)
        predicted = (np.repeat(rng.random(150), 2) > 0.8).astype(int)
        found = bootstrap.resample(labels, predicted, weights, 2).estimate("accuracy")
        held += found.low <= 0.8 <= found.high
    assert 0.9 <= held / 200 <= 0.99


def test_an_interval_leaves_out_undefined_resamples():
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = bootstrap.interval(values, 0.5)
    np.testing.assert_allclose(low, [1.5, np.nan])
    np.testing.assert_allclose(high, [2.5, np.nan])
    assert bootstrap.interval(values[:, 0], 0.5) == (1.5, 2.5)


def test_means_are_those_of_the_resample_s_images(monkeypatch):
    monkeypatch.setattr(bootstrap, "_DRAWS", 7)
    _, _, patients = study()
    values = np.random.default_rng(0).normal(size=(80, 3))
    weights = bootstrap.patient_weights(patients, 20)
    found = weights.means(values)
    for draw, counts in enumerate(weights.counts):
        rows = np.repeat(np.arange(80), counts[weights.inverse])
        np.testing.assert_allclose(found[draw], values[rows].mean(0))
    np.testing.assert_allclose(weights.means(values[:, 1]), found[:, 1])
    np.testing.assert_allclose(weights.means(sparse.coo_array(values)), found)
    few = weights.of(weights.inverse == 0)  # one patient's, whom some resamples lack
    undrawn = weights.counts[:, 0] == 0
    np.testing.assert_array_equal(np.isnan(few.means(values[weights.inverse == 0, 0])), undrawn)


def test_a_basic_interval_takes_off_what_resampling_adds():
    values = 0.3 + np.linspace(-0.1, 0.1, 101)
    np.testing.assert_allclose(bootstrap.basic_interval(0.2, values, 0.9), (0.01, 0.19))
    np.testing.assert_allclose(bootstrap.basic_interval(0.15, values, 0.9), (0, 0.09))


def test_some_images_keep_the_draws_of_all():
    labels, predicted, patients = study()
    weights = bootstrap.patient_weights(patients, 20)
    some = labels == 0
    part = bootstrap.resample(labels[some], predicted[:, some], weights.of(some), N)
    whole = bootstrap.resample(labels, predicted, weights, N)
    np.testing.assert_allclose(part.resamples.accuracy, whole.resamples.sensitivity[:, 0])


def test_what_cannot_be_resampled_is_said():
    labels, predicted, patients = study()
    weights = bootstrap.patient_weights(patients, 5)
    with pytest.raises(ValueError, match="1 patients .* at least 2"):
        bootstrap.patient_weights(["a", "a"])
    with pytest.raises(ValueError, match="resamples = 0 must be at least 1"):
        bootstrap.patient_weights(patients, 0)
    with pytest.raises(ValueError, match=r"classes from 0 to 3 must lie in \[0, 3\)"):
        bootstrap.resample(labels, predicted, weights, 3)
    with pytest.raises(ValueError, match=r"\(79,\), \(79,\) and \(80,\)"):
        bootstrap.resample(labels[1:], predicted[:, 1:], weights, N)
    with pytest.raises(ValueError, match="level = 95"):
        bootstrap.interval(np.ones(3), 95)
