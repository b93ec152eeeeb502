"""Ranking measures against pairs counted by hand, precision summed by hand, and argmax."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from dermjax.analysis import bootstrap, discrimination


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
    weights = bootstrap.patient_weights(np.arange(40), 5)
    found = discrimination.resample(labels, p, weights)
    assert found.estimate("macro_auroc").value == pytest.approx(areas[:3].mean())
    alone = discrimination.resample(np.zeros(40, int), p, weights).estimate("macro_auprc")
    assert np.isnan([alone.value, alone.low, alone.high]).all()


def test_top_1_is_the_accuracy_and_top_n_is_1():
    labels, p = scored(1)
    assert discrimination.top_k_accuracy(labels, p, 1) == (p.argmax(1) == labels).mean()
    ties = np.full((3, 3), 1 / 3)
    assert discrimination.top_k_accuracy([0, 1, 2], ties, 2) == pytest.approx(2 / 3)
    assert discrimination.top_k_accuracy(labels, p, 4) == 1
    ranked = [sorted(range(4), key=lambda c, row=row: -row[c]) for row in p]  # keeps ties' order
    by_hand = [label in first[:3] for label, first in zip(labels, ranked, strict=True)]
    assert discrimination.top_k_accuracy(labels, p) == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("decimals", [1, 12])  # with many ties, and with none
@pytest.mark.parametrize("cells", [1 << 19, 100])  # all resamples at once, and some at a time
def test_resamples_are_scikit_learn_s_with_weights(decimals, cells, monkeypatch):
    monkeypatch.setattr(discrimination, "_CELLS", cells)
    rng = np.random.default_rng(decimals)
    labels = rng.choice(3, 70, p=[0.6, 0.25, 0.15])
    labels[0] = 3  # of one patient, whom some resamples lack
    p = np.round(rng.random((2, 70, 4)) + 0.4 * np.eye(4)[labels], decimals)
    weights = bootstrap.patient_weights(rng.integers(0, 25, 70), 40)
    found = discrimination.resample(labels, p, weights, k=2).resamples
    absent = 0
    for draw, counts in enumerate(weights.counts):
        repeats = counts[weights.inverse]
        areas = np.full((2, 2, 4), np.nan)
        for trial, c in np.ndindex(2, 4):
            if repeats[labels == c].sum():
                one = (labels == c, p[trial, :, c])
                areas[0, trial, c] = metrics.roc_auc_score(*one, sample_weight=repeats)
                areas[1, trial, c] = metrics.average_precision_score(*one, sample_weight=repeats)
        absent += np.isnan(areas).any()
        np.testing.assert_allclose(found.auroc[draw], areas[0].mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.auprc[draw], areas[1].mean(0), rtol=1e-12)
        assert found.macro_auroc[draw] == pytest.approx(np.nanmean(areas[0]))
        assert found.macro_auprc[draw] == pytest.approx(np.nanmean(areas[1]))
        rows = np.repeat(np.arange(70), repeats)
        tops = [discrimination.top_k_accuracy(labels[rows], run[rows], 2) for run in p]
        assert found.top_k[draw] == pytest.approx(np.mean(tops))
    assert 0 < absent < 40  # both cases were looked at


@pytest.mark.parametrize("share, skill", [(0.3, 1.5), (0.05, 2.0)])
def test_intervals_of_areas_hold_the_true_one(share, skill):
    """Patients of two like images; the true AUROC of two normal distributions is known."""
    rng, true, held = np.random.default_rng(0), area_of_normals(skill), 0
    for seed in range(60):
        labels = np.repeat(rng.random(400) < share, 2).astype(int)
        scores = np.repeat(rng.normal(size=400), 2) + skill * labels
        weights = bootstrap.patient_weights(np.repeat(np.arange(400), 2), 300, seed)
        found = discrimination.resample(labels, np.stack([-scores, scores], 1), weights, k=1)
        area = found.estimate("auroc").of(1)
        held += area.low <= true <= area.high
    assert 50 <= held <= 60


def area_of_normals(distance):
    """Chance that a normal is above another whose mean is lower by the distance."""
    return stats.norm.cdf(distance / np.sqrt(2))


def test_what_cannot_be_ranked_is_said():
    labels, p = scored(2)
    with pytest.raises(ValueError, match=r"k = 5 must lie in \[1, 4\]"):
        discrimination.top_k_accuracy(labels, p, 5)
    with pytest.raises(ValueError, match=r"got \(40,\) and \(39, 4\)"):
        discrimination.auroc(labels, p[1:])
    with pytest.raises(ValueError, match="labels from -1"):
        discrimination.auprc(labels * 0 - 1, p)
    with pytest.raises(ValueError, match="1 of 160 values are not finite"):
        discrimination.auroc(labels, np.where(np.arange(4) + 4 * np.arange(40)[:, None], p, np.nan))
    weights = bootstrap.patient_weights(np.arange(39), 5)
    with pytest.raises(ValueError, match=r"patients of 39 images for 40 labels"):
        discrimination.resample(labels, p, weights)
    with pytest.raises(ValueError, match=r"k = 0 must lie in"):
        discrimination.resample(labels[1:], p[1:], weights, k=0)
    with pytest.raises(ValueError, match=r"got \(40,\) and \(39, 4\)"):
        discrimination.resample(labels, p[None, 1:], weights)
