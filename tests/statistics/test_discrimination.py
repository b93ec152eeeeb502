"""Ranking measures against pairs counted by hand, precision summed by hand, and argmax."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from dermjax.statistics import discrimination, intervals


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
    found = discrimination.by_class("auroc", labels, p, np.arange(40))
    assert found.macro().value == pytest.approx(areas[:3].mean())
    assert np.isnan([found.of(3).value, found.of(3).networks().low]).all()
    alone = discrimination.by_class("auprc", np.zeros(40, int), p, np.arange(40)).macro()
    shown = alone.networks()
    assert np.isnan([shown.value, shown.low, shown.high]).all()


def test_top_1_is_the_accuracy_and_top_n_is_1():
    labels, p = scored(1)
    assert discrimination.top_k_accuracy(labels, p, 1) == (p.argmax(1) == labels).mean()
    ties = np.full((3, 3), 1 / 3)
    assert discrimination.top_k_accuracy([0, 1, 2], ties, 2) == pytest.approx(2 / 3)
    assert discrimination.top_k_accuracy(labels, p, 4) == 1
    ranked = [sorted(range(4), key=lambda c, row=row: -row[c]) for row in p]  # keeps ties' order
    by_hand = [label in first[:3] for label, first in zip(labels, ranked, strict=True)]
    assert discrimination.top_k_accuracy(labels, p) == pytest.approx(np.mean(by_hand))


SCORES = {"auroc": metrics.roc_auc_score, "auprc": metrics.average_precision_score}


@pytest.mark.parametrize("decimals", [1, 12])  # with many ties, and with none
@pytest.mark.parametrize("name", SCORES)
def test_influences_are_derivatives_of_scikit_learn_s_weighted_scores(name, decimals):
    """By the weights of a patient's images of the class, and of those of other classes."""
    rng = np.random.default_rng(decimals)
    labels, patients = rng.choice(3, 40, p=[0.5, 0.3, 0.2]), rng.integers(0, 8, 40)
    p = np.round(rng.random((2, 40, 3)) + 0.4 * np.eye(3)[labels], decimals)
    found = discrimination.by_class(name, labels, p, patients)
    step = 1e-5
    for trial, c in np.ndindex(2, 3):
        truth, scores = labels == c, p[trial, :, c]
        assert found.values[trial, c] == pytest.approx(SCORES[name](truth, scores))
        for patient in np.unique(patients):
            expected = 0.0
            for images in (truth, ~truth):
                n = len(np.unique(patients[images]))
                ends = [
                    SCORES[name](
                        truth,
                        scores,
                        sample_weight=1 + step * sign * images * (patients == patient),
                    )
                    for sign in (-1, 1)
                ]
                expected += (ends[1] - ends[0]) / (2 * step) * np.sqrt(n / max(n - 1, 1))
            influence = found.influences[trial, patient, c]
            assert influence == pytest.approx(expected, abs=1e-7)


def test_of_independent_images_the_variance_is_delong_s():
    """DeLong et al. 1988, equations 3 to 7: the placements' variances among either kind."""
    labels, p = scored(3, images=70, classes=3)
    found = discrimination.by_class("auroc", labels, p, np.arange(70))
    for c in range(2):
        own, others = p[labels == c, c], p[labels != c, c]
        pairs = (own[:, None] > others) + 0.5 * (own[:, None] == others)
        variance = pairs.mean(1).var(ddof=1) / len(own) + pairs.mean(0).var(ddof=1) / len(others)
        assert (found.influences[0, :, c] ** 2).sum() == pytest.approx(variance)


def test_top_k_is_a_share_with_the_interval_of_one():
    labels, p = scored(4)
    runs = np.stack([p, p[:, ::-1]])
    found = discrimination.top_k(labels, runs, np.arange(40), 2)
    wanted = [discrimination.top_k_accuracy(labels, run, 2) for run in runs]
    np.testing.assert_allclose(found.values, wanted)
    one = discrimination.top_k(labels, p, np.arange(40), 2).networks()
    usual = intervals.proportion(wanted[0], 40)
    assert (one.low, one.high) == pytest.approx((usual.low, usual.high))


@pytest.mark.parametrize("share, skill", [(0.3, 1.5), (0.05, 2.0)])
def test_intervals_of_areas_hold_the_true_one(share, skill):
    """Patients of two like images; the true AUROC of two normal distributions is known."""
    rng, true, held = np.random.default_rng(0), area_of_normals(skill), 0
    patients = np.repeat(np.arange(200), 2)
    for _ in range(100):
        labels = np.repeat(rng.random(200) < share, 2).astype(int)
        scores = np.repeat(rng.normal(size=200), 2) + skill * labels
        both = np.stack([-scores, scores], 1)
        area = discrimination.by_class("auroc", labels, both, patients).of(1).networks()
        held += area.low <= true <= area.high
    assert 88 <= held <= 100


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 6), st.integers(1, 3))
def test_whatever_the_test_set_an_area_lies_inside_its_interval(seed, images, patients, trials):
    """Also where all are ranked rightly, of a single patient, and without images of a class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    p = rng.random((trials, images, 4)) + rng.choice([0, 0.5, 2]) * np.eye(4)[labels]
    groups = rng.integers(0, patients, images)
    for name in SCORES:
        found = discrimination.by_class(name, labels, p, groups)
        for one in [found.of(c) for c in range(4)] + [found.macro()]:
            for shown in (one.networks(), one.strategy()):
                assert np.isnan(shown.low) == np.isnan(shown.high)
                if not np.isnan(shown.low):
                    assert 0 <= shown.low <= shown.value <= shown.high <= 1
                    assert shown.high - shown.low > 1e-3
            if len(set(groups)) == 1:
                assert np.isnan(one.networks().low)


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
    for name in SCORES:
        with pytest.raises(ValueError, match=r"\(39,\) patients of 40 images"):
            discrimination.by_class(name, labels, p, np.arange(39))
        with pytest.raises(ValueError, match=r"got \(40,\) and \(39, 4\)"):
            discrimination.by_class(name, labels, p[None, 1:], np.arange(40))
    with pytest.raises(ValueError, match=r"k = 0 must lie in"):
        discrimination.top_k(labels, p, np.arange(40), 0)
    with pytest.raises(ValueError, match=r"\(39,\) patients of 40 images"):
        discrimination.top_k(labels, p, np.arange(39), 1)


def drawn(sizes, seed=0):
    """One image a patient, `sizes` of each class, ranked with some skill by one network."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    scores = np.eye(len(sizes))[labels] + rng.random((len(labels), len(sizes)))
    return labels, scores / scores.sum(1, keepdims=True), np.arange(len(labels))


@pytest.mark.parametrize(
    ("sizes", "by_class", "macro"),
    [
        ((30, 25, 5), (True, True, True), True),
        ((15, 15), (False, False), False),  # simulated: 79 to 92 % held the truth
        ((40, 15), (False, True), False),  # of the first class there are 15 others
        ((40, 30, 1), (True, True, False), False),  # a class of one patient
    ],
)
def test_an_average_precision_of_few_patients_has_no_interval(sizes, by_class, macro):
    """It is too high on average, which is no matter of its variance; a ranking's area is not."""
    test_set = drawn(sizes)
    found = discrimination.by_class("auprc", *test_set)
    for index, there in enumerate(by_class):
        assert np.isfinite(found.of(index).networks().low) == there
    assert np.isfinite(found.macro().networks().low) == macro
    assert np.isfinite(found.macro().value)
    assert np.isfinite(discrimination.by_class("auroc", *test_set).macro().networks().low)
