"""The linear probe against scikit-learn by hand, and how C is chosen."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dermjax.statistics import probe


def blobs(count, seed, noise=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return np.eye(3, 8)[labels] * 3 + noise * rng.normal(size=(count, 8)) + 5, labels


def accuracy(labels, predicted):
    return float(np.mean(labels == predicted))


def test_it_equals_logistic_regression_on_features_standardised_by_the_training_images():
    (x, y), validation = blobs(60, 0), blobs(40, 1)
    fitted = probe.fit(x, y, choose_on=validation, cs=(0.1,), score=accuracy)
    mean, std = x.mean(0), x.std(0)
    by_hand = LogisticRegression(C=0.1, max_iter=1000).fit((x - mean) / std, y)
    np.testing.assert_allclose(
        fitted.classifier.predict_proba(validation[0]),
        by_hand.predict_proba((validation[0] - mean) / std),
        atol=1e-6,
    )


def test_a_balanced_one_weighs_images_by_the_rarity_of_their_class():
    (x, y), validation = blobs(200, 0, noise=3.0), blobs(40, 1)
    kept = (y > 0) | (np.cumsum(y == 0) <= 4)
    x, y = x[kept], y[kept]
    fitted = probe.fit(x, y, choose_on=validation, cs=(0.1,), score=accuracy, balanced=True)
    mean, std = x.mean(0), x.std(0)
    weights = len(y) / 3 / np.bincount(y)[y]
    by_hand = LogisticRegression(C=0.1, max_iter=1000).fit((x - mean) / std, y, weights)
    plain = LogisticRegression(C=0.1, max_iter=1000).fit((x - mean) / std, y)
    inputs = (validation[0] - mean) / std
    found = fitted.classifier.predict_proba(validation[0])
    np.testing.assert_allclose(found, by_hand.predict_proba(inputs), atol=1e-4)
    assert np.abs(found - plain.predict_proba(inputs)).max() > 0.05


def test_c_is_chosen_by_the_score_on_validation_and_the_simpler_of_equals_is_taken():
    (x, y), validation = blobs(60, 0), blobs(40, 1)
    wanted = {}

    def score(labels, predicted):
        wanted.setdefault(predicted.tobytes(), len(wanted))
        return 1.0 if wanted[predicted.tobytes()] >= 1 else 0.0  # all but the first, strongest

    cs = (10.0, 1e-4, 1.0)
    fitted = probe.fit(x, y, choose_on=validation, cs=cs, score=score)
    assert set(fitted.scores) == set(cs) and fitted.scores[1e-4] == 0.0
    assert fitted.c == 1.0
    constant = probe.fit(x, y, choose_on=validation, cs=cs, score=lambda *_: 0.5)
    assert constant.c == 1e-4


def test_the_validation_images_do_not_train():
    (x, y), (v, _) = blobs(60, 0), blobs(40, 1)
    rng = np.random.default_rng(2)
    a, b = (
        probe.fit(x, y, choose_on=(v, rng.integers(0, 3, 40)), cs=(1.0,), score=accuracy)
        for _ in range(2)
    )
    np.testing.assert_array_equal(a.classifier[-1].coef_, b.classifier[-1].coef_)


def test_what_cannot_be_probed_is_said():
    x, y = blobs(10, 0)
    with pytest.raises(ValueError, match="at least 2 classes, not of 1"):
        probe.fit(x, y * 0, choose_on=(x, y), cs=(1.0,), score=accuracy)
    with pytest.raises(ValueError, match="C must be above 0"):
        probe.fit(x, y, choose_on=(x, y), cs=(0.0,), score=accuracy)
