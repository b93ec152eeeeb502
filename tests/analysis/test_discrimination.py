"""Ranking measures against pairs counted by hand, precision summed by hand, and argmax."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermjax.analysis import discrimination


def scored(seed, images=40, classes=4):
    """Labels of the first three classes and probabilities with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, images)
    scores = np.round(rng.random((images, classes)) + 0.5 * np.eye(classes)[labels], 1)
    return labels, scores / scores.sum(1, keepdims=True).round(1)


def average_precision(positive, scores):
    """Precision at every threshold, weighted by the positives that it adds."""
    total = 0.0
    for threshold in set(scores):
        chosen = scores >= threshold
        total += positive[chosen].mean() * (positive & (scores == threshold)).sum()
    return total / positive.sum()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_every_class_against_the_rest(seed):
    labels, p = scored(seed)
    areas, precisions = discrimination.auroc(labels, p), discrimination.auprc(labels, p)
    for c in np.unique(labels):
        own, other = p[labels == c, c][:, None], p[labels != c, c]
        assert areas[c] == pytest.approx(((own > other) + 0.5 * (own == other)).mean())
        assert precisions[c] == pytest.approx(average_precision(labels == c, p[:, c]))


def test_a_class_without_positives_or_negatives_stays_out_of_the_mean():
    labels, p = scored(0)
    areas = discrimination.auroc(labels, p)
    assert np.isnan(areas[3]) and not np.isnan(areas[:3]).any()
    assert discrimination.macro(areas) == pytest.approx(areas[:3].mean())
    alone = discrimination.auprc(np.zeros(40, int), p)
    assert np.isnan(alone).all() and np.isnan(discrimination.macro(alone))


def test_top_1_is_the_accuracy_and_top_n_is_1():
    labels, p = scored(1)
    assert discrimination.top_k_accuracy(labels, p, 1) == (p.argmax(1) == labels).mean()
    ties = np.full((3, 3), 1 / 3)
    assert discrimination.top_k_accuracy([0, 1, 2], ties, 2) == pytest.approx(2 / 3)
    assert discrimination.top_k_accuracy(labels, p, 4) == 1
    ranked = [sorted(range(4), key=lambda c, row=row: -row[c]) for row in p]  # keeps ties' order
    by_hand = [label in first[:3] for label, first in zip(labels, ranked, strict=True)]
    assert discrimination.top_k_accuracy(labels, p) == pytest.approx(np.mean(by_hand))


def test_what_cannot_be_ranked_is_said():
    labels, p = scored(2)
    with pytest.raises(ValueError, match=r"k = 5 must lie in \[1, 4\]"):
        discrimination.top_k_accuracy(labels, p, 5)
    with pytest.raises(ValueError, match=r"got \(40,\) and \(39, 4\)"):
        discrimination.auroc(labels, p[1:])
    with pytest.raises(ValueError, match="labels from -1"):
        discrimination.auprc(labels * 0 - 1, p)
    with pytest.raises(ValueError, match="1 of 160 values are not finite"):
        p[0, 0] = np.nan
        discrimination.auroc(labels, p)
