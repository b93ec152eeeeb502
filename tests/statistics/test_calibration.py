"""Calibration against loops as the papers write them, scikit-learn, and networks known to lie."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from dermjax.statistics import bootstrap, calibration, measures

softmax = functools.partial(special.softmax, axis=-1)


def drawn(seed, images=4000, classes=5, spread=2.0):
    """Logits, and labels that are drawn from their softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(images, classes))
    probabilities = softmax(logits)
    labels = (probabilities.cumsum(1) < rng.random((images, 1))).sum(1)
    return np.minimum(labels, classes - 1), logits


def by_the_book(confidence, right, bins):
    """Guo et al. 2017, eq. 3, in a loop."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, p in enumerate(confidence) if (m - 1) / bins < p <= m / bins]
        inside += [i for i, p in enumerate(confidence) if p == 0 and m == 1]
        if inside:
            error += abs(sum(right[i] for i in inside) - sum(confidence[i] for i in inside))
    return error / len(confidence)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 20), st.floats(0.1, 8))
def test_errors_of_calibration_are_the_papers_sums(seed, bins, spread):
    labels, logits = drawn(seed, images=60, classes=3, spread=spread)
    labels = np.random.default_rng(seed).permutation(labels)
    p = softmax(logits)
    right = [bool(a == b) for a, b in zip(p.argmax(1), labels, strict=True)]
    found = calibration.calibration_error(labels, p, bins)
    assert found == pytest.approx(by_the_book(p.max(1), right, bins))
    wanted = np.mean([by_the_book(p[:, c], labels == c, bins) for c in range(3)])
    assert calibration.classwise_calibration_error(labels, p, bins) == pytest.approx(wanted)


def test_bins_hold_every_image_once_and_keep_their_edges():
    p = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.4, 0.6]])
    found = calibration.reliability(np.array([0, 1, 0, 1]), p, bins=4)
    np.testing.assert_array_equal(found.count, [0, 1, 2, 1])  # .5 is the upper edge of its bin
    np.testing.assert_allclose(found.confidence, [np.nan, 0.5, 0.675, 1])
    np.testing.assert_allclose(found.accuracy, [np.nan, 1, 0.5, 1])
    assert found.calibration_error == pytest.approx((0.5 + 2 * 0.175 + 0) / 4)


def test_a_calibrated_network_has_no_error_and_a_sure_one_has():
    labels, logits = drawn(0, images=20_000)
    honest, sure = softmax(logits), softmax(3 * logits)
    for error in (calibration.calibration_error, calibration.classwise_calibration_error):
        assert error(labels, honest) < 0.015 < 0.04 < error(labels, sure)
    assert calibration.brier_score(labels, honest) < calibration.brier_score(labels, sure)


def test_scores_equal_scikit_learn_s():
    labels, logits = drawn(1, images=200)
    p = softmax(logits)
    assert calibration.log_loss(labels, p) == pytest.approx(metrics.log_loss(labels, p))
    wanted = sum(metrics.brier_score_loss(labels == c, p[:, c]) for c in range(5))
    assert calibration.brier_score(labels, p) == pytest.approx(wanted)


def test_the_worst_and_the_best_answer():
    labels, best = np.array([0, 1]), np.eye(2)
    assert calibration.brier_score(labels, best) == 0 == calibration.log_loss(labels, best)
    assert calibration.brier_score(labels, best[::-1]) == 2
    assert calibration.log_loss(labels, best[::-1]) == pytest.approx(27.63, abs=0.01)


def test_errors_have_the_basic_interval_of_patients_that_are_really_repeated():
    labels, logits = drawn(5, images=90, classes=3)
    p = np.stack([softmax(logits), softmax(4 * logits)]).astype(np.float32)
    weights = bootstrap.patient_weights(np.random.default_rng(0).integers(0, 20, 90), 30)
    found = calibration.errors(labels, p, weights, bins=7)
    for name, score in (
        ("ece", calibration.calibration_error),
        ("classwise_ece", calibration.classwise_calibration_error),
    ):
        drawn_anew = []
        for counts in weights.counts:
            rows = np.repeat(np.arange(90), counts[weights.inverse])
            drawn_anew.append(np.mean([score(labels[rows], run[rows], 7) for run in p]))
        value = np.mean([score(labels, run, 7) for run in p])
        low, high = np.quantile(drawn_anew, [0.025, 0.975])
        ends = (max(0, 2 * value - high), max(0, 2 * value - low))
        assert found[name].value == pytest.approx(value)
        assert (found[name].low, found[name].high) == pytest.approx(ends)
    single = calibration.errors(labels, p[1], weights, bins=7)["ece"]
    assert single.value == calibration.calibration_error(labels, p[1], 7)


def test_an_error_without_two_patients_or_without_variance_has_no_interval():
    labels, logits = drawn(5, images=6, classes=3)
    for found in (
        calibration.errors(labels, softmax(logits), None),
        calibration.errors(labels, np.eye(3)[labels], bootstrap.patient_weights(range(6), 20)),
    ):
        for one in found.values():
            assert np.isfinite(one.value) and np.isnan([one.low, one.high]).all()


def test_scores_are_means_with_student_s_interval():
    """A patient an image, one network: that of a mean."""
    labels, logits = drawn(6, images=50)
    p = softmax(logits)
    found = calibration.scores(labels, p, np.arange(50))
    each = {
        "brier": ((p - np.eye(5)[labels]) ** 2).sum(1),
        "log_loss": -np.log(p[np.arange(50), labels]),
    }
    for name, values in each.items():
        one, wanted = found[name].networks(), stats.ttest_1samp(values, 0).confidence_interval()
        assert one.value == pytest.approx(values.mean())
        assert (one.low, one.high) == pytest.approx((wanted.low, wanted.high))
    trials = calibration.scores(labels, np.stack([p, p**2 / (p**2).sum(1)[:, None]]), np.arange(50))
    assert trials["brier"].value > 0 and trials["brier"].values[0] == found["brier"].value
    assert trials["brier"].strategy().low <= trials["brier"].networks().low


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_network_that_always_says_the_same_has_no_interval_of_no_width(classes):
    """All images are equally wrong, but for rounding errors."""
    labels = np.random.default_rng(0).integers(0, classes, 31)
    alike = np.full((2, 31, classes), 1 / classes)
    found = calibration.scores(labels, alike, np.arange(31) // 2)
    for one in found.values():
        assert np.isnan([one.networks().low, one.strategy().low]).all()
    assert found["log_loss"].value == pytest.approx(np.log(classes))


def test_the_interval_of_a_calibrated_network_s_error_goes_below_its_resamples():
    """They are all worse calibrated than it is: percentiles would never come near the truth."""
    lows = []
    for seed in range(10):
        labels, logits = drawn(seed, images=1500)
        weights = bootstrap.patient_weights(np.arange(1500), 300, seed)
        lows.append(calibration.errors(labels, softmax(logits), weights)["ece"].low)
        assert lows[-1] < 0.02
    assert np.median(lows) < 0.01


def test_the_interval_of_a_sure_network_s_error_holds_the_true_one():
    labels, logits = drawn(20, images=200_000)
    true, held = calibration.calibration_error(labels, softmax(2 * logits)), 0
    for seed in range(60):
        labels, logits = drawn(seed, images=800)
        weights = bootstrap.patient_weights(np.arange(800), 300, seed)
        error = calibration.errors(labels, softmax(2 * logits), weights)["ece"]
        held += error.low <= true <= error.high
    assert 51 <= held <= 60


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(factor):
    labels, logits = drawn(2, images=20_000)
    fitted = calibration.fit_temperature(labels, factor * logits)
    assert fitted == pytest.approx(factor, rel=0.05)
    p = calibration.apply_temperature(softmax(factor * logits), fitted)
    assert calibration.calibration_error(labels, p) < 0.02


def test_the_temperature_is_the_maximum_of_likelihood():
    """1 / T is the weight of a logistic regression on the difference of two logits."""
    labels, logits = drawn(3, images=500, classes=2)
    labels = np.where(np.random.default_rng(0).random(500) < 0.2, 1 - labels, labels)
    margin = (logits[:, 1] - logits[:, 0])[:, None]
    regression = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(margin, labels)
    fitted = calibration.fit_temperature(labels, logits)
    assert fitted == pytest.approx(1 / regression.coef_[0, 0], rel=1e-3)
    shifted = np.log(softmax(logits))  # log-probabilities differ by a constant per image
    assert calibration.fit_temperature(labels, shifted) == pytest.approx(fitted, rel=1e-5)
    slope = optimize.approx_fprime(
        [np.log(fitted)], lambda t: measures.log_loss(labels, logits / np.exp(t[0])), 1e-6
    )
    assert abs(slope[0]) < 1e-4


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.1, 15))
def test_a_temperature_keeps_the_answers(seed, temperature):
    _, logits = drawn(seed, images=20)
    p = softmax(logits)
    scaled = calibration.apply_temperature(p, temperature)
    np.testing.assert_allclose(scaled, softmax(logits / temperature), atol=1e-9)
    np.testing.assert_array_equal(scaled.argmax(1), p.argmax(1))
    np.testing.assert_allclose(calibration.apply_temperature(p, 1.0), p, atol=1e-9)


def test_a_probability_of_0_stays_finite():
    p = np.array([[1, 0, 0], [0.5, 0.5, 0]], np.float32)
    scaled = calibration.apply_temperature(p, 2.0)
    assert np.isfinite(scaled).all() and scaled[0].argmax() == 0
    logs = calibration.log_probabilities(p)
    assert 0.04 < calibration.fit_temperature(np.array([0, 1]), logs) < 20


def test_what_is_no_probability_is_said():
    labels, logits = drawn(4, images=10)
    p = softmax(logits)
    with pytest.raises(ValueError, match="scipy.special.softmax"):
        calibration.reliability(labels, logits)
    with pytest.raises(ValueError, match="50 of 50 values are not finite; .* network's outputs"):
        calibration.log_loss(labels, p * np.nan)
    with pytest.raises(ValueError, match="labels from -1 .* leave unlabelled"):
        calibration.brier_score(np.full(10, -1), p)
    with pytest.raises(ValueError, match=r"at least one image; got \(0,\) and \(0, 5\)"):
        calibration.fit_temperature(labels[:0], logits[:0])
    with pytest.raises(ValueError, match="1 of 50 values are not finite; .* log_probabilities"):
        logits[0, 0] = -np.inf
        calibration.fit_temperature(labels, logits)
    with pytest.raises(ValueError, match="temperature = 0 must be above 0"):
        calibration.apply_temperature(p, 0)
    with pytest.raises(ValueError, match="patients of 9 images for 10 labels"):
        calibration.errors(labels, p, bootstrap.patient_weights(np.arange(9), 5))
    with pytest.raises(ValueError, match=r"\(9,\) patients of 10 images"):
        calibration.scores(labels, p, np.arange(9))
    with pytest.raises(ValueError, match="bins = 0"):
        calibration.reliability(labels, p, 0)
