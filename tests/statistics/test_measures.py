"""Measures against scikit-learn, and the cases that scikit-learn leaves to its caller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics

from dermjax.statistics import measures

_ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=80)
@given(_ANSWERS)
def test_measures_equal_scikit_learn_s(pairs):
    labels, predicted = map(np.array, zip(*pairs, strict=True))
    measured = measures.measure(labels, predicted, 5)
    present = np.unique(labels)
    options = dict(labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(
        measured.precision[present], metrics.precision_score(labels, predicted, **options)
    )
    np.testing.assert_allclose(
        measured.sensitivity[present], metrics.recall_score(labels, predicted, **options)
    )
    assert measured.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    np.testing.assert_array_equal(
        measured.confusion_matrix, metrics.confusion_matrix(labels, predicted, labels=range(5))
    )
    options["average"] = "macro"
    assert measured.macro_precision == pytest.approx(
        metrics.precision_score(labels, predicted, **options)
    )
    assert measured.macro_sensitivity == pytest.approx(
        metrics.recall_score(labels, predicted, **options)
    )


def test_always_answering_the_majority():
    """The paper's floor: high accuracy, a precision of 0 for every class never predicted."""
    labels = np.array([0] * 8 + [1, 2])
    measured = measures.measure(labels, np.zeros(10, int), 3)
    assert measured.accuracy == 0.8
    np.testing.assert_allclose(measured.precision, [0.8, 0, 0])
    assert measured.macro_sensitivity == pytest.approx(1 / 3)


def test_a_class_without_images_stays_out_of_the_means():
    measured = measures.measure(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert np.isnan(measured.sensitivity[2]) and np.isnan(measured.precision[2])
    assert measured.macro_sensitivity == pytest.approx(0.75)


def test_log_loss_and_softmax():
    rng = np.random.default_rng(0)
    logits, labels = 4 * rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    probabilities = special.softmax(logits, axis=-1)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert measures.log_loss(labels, logits) == pytest.approx(
        metrics.log_loss(labels, probabilities, labels=range(4)), rel=1e-6
    )


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="at least one; got 0 and 0"):
        measures.measure(np.array([], int), np.array([], int), 2)
