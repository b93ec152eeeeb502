"""Prediction sets: against their definition, new patients, and what is not guaranteed."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from dermjax.statistics import conformal, patientwise
from tests.statistics.simulated_patients import clinic, one_image_each


def by_definition(known, new, coverage):
    """The sets of the new images as the papers define them, in loops."""
    labels, probabilities, patients = known

    def score(row, c):
        return 0.0 if c == int(np.argmax(row)) else 1 - row[c]

    def quantile(rows):
        people = [patients[i] for i in rows]
        scores = [score(probabilities[i], labels[i]) for i in rows]
        weights = [1 / people.count(one) / (len(set(people)) + 1) for one in people]
        for limit in sorted(scores):
            below = [w for s, w in zip(scores, weights, strict=True) if s <= limit]
            if sum(below) >= coverage - 1e-9:
                return limit
        return math.inf

    everyone = range(len(labels))
    limits = []
    for c in range(len(new[0])):
        own = [i for i in everyone if labels[i] == c]
        limit = quantile(own)
        if math.isinf(limit):
            limit = max([quantile(everyone), *(score(probabilities[i], c) for i in own)])
        limits.append(limit)
    return [[score(row, c) <= limit for c, limit in enumerate(limits)] for row in new]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.6, 0.8, 0.9]))
def test_sets_are_those_of_the_definition(seed, patients, coverage):
    drawn = clinic(seed, patients)
    _, new, _ = clinic(seed + 1, 10)
    found = conformal.sets(conformal.fit(*drawn, coverage), new)
    np.testing.assert_array_equal(found, by_definition(drawn, new, coverage))


@pytest.mark.parametrize(("patients", "easier"), [(45, 0.0), (45, 1.5), (200, 1.5)])
def test_new_patients_are_covered_by_class_and_images_alone_would_not_do(patients, easier):
    """The quantile of images alone covers .86 where patients are few, .81 where some differ."""
    labels, new, _ = one_image_each(*clinic(99_999, 12_000, easier=easier))
    ours, images_only = [], []
    for seed in range(120):
        known = clinic(seed, patients, easier=easier)
        rule = conformal.fit(*known, 0.9)
        alone = conformal.fit(known[0], known[1], np.arange(len(known[0])), 0.9)
        for one, found in ((rule, ours), (alone, images_only)):
            held = conformal.sets(one, new)[np.arange(len(new)), labels]
            found.append([held[labels == c].mean() for c in np.flatnonzero(rule.guaranteed)])
    ours, images_only = ([np.mean(draw) for draw in of if draw] for of in (ours, images_only))
    assert 0.9 - 2 * stats.sem(ours) < np.mean(ours) < 0.9 + 6 / patients
    assert np.mean(images_only) < 0.88


def test_a_rare_class_is_covered_too():
    """A quantile of all images together would cover the rare class in 40 %."""
    rng = np.random.default_rng(0)

    def drawn(patients):
        labels = (rng.random(patients) < 0.1).astype(int)
        logit = rng.normal(size=patients) + np.where(labels == 1, 0.0, 3.0)
        return labels, special.softmax(np.stack([logit, -logit], 1), 1), np.arange(patients)

    labels, new, _ = drawn(20_000)
    covered, marginal = [], []
    for _ in range(60):
        known = drawn(400)
        held = conformal.sets(conformal.fit(*known, 0.9), new)
        covered.append(held[labels == 1, 1].mean())
        own = 1 - known[1][np.arange(400), known[0]]
        marginal.append((1 - new <= patientwise.upper_quantile(own, known[2], 0.9))[labels == 1, 1])
    assert np.mean(covered) > 0.9 - 2 * stats.sem(covered)
    assert np.mean(marginal) < 0.6


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_sets_grow_with_coverage_and_hold_the_likeliest(seed, patients, one, other):
    known = clinic(seed, patients, classes=4)
    _, new, _ = clinic(seed + 1, 20, classes=4)
    rules = [conformal.fit(*known, coverage) for coverage in sorted((one, other))]
    small, large = (conformal.sets(rule, new) for rule in rules)
    assert (small <= large).all()
    for found in (small, large):
        assert found[np.arange(len(new)), new.argmax(1)].all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_no_set_is_larger_than_with_the_likeliest_class_added_afterwards(seed, coverage):
    labels, probabilities, patients = clinic(seed, 80, classes=4)
    rule = conformal.fit(labels, probabilities, patients, coverage)
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    everyone = np.ones(len(labels), bool)
    usual = []
    for c, guaranteed in enumerate(rule.guaranteed):
        rows = labels == c if guaranteed else everyone
        usual.append(patientwise.upper_quantile(scores[rows], patients[rows], coverage))
        if not guaranteed:
            usual[-1] = scores[labels == c].max(initial=usual[-1])
    _, new, _ = clinic(seed + 1, 20, classes=4)
    likeliest = np.eye(4, dtype=bool)[new.argmax(1)]
    assert (conformal.sets(rule, new) <= ((1 - new <= usual) | likeliest)).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_names_of_patients_count(seed, random):
    labels, probabilities, patients = clinic(seed, 40)
    order = random.sample(range(len(labels)), len(labels))
    names = np.array([f"patient {one}" for one in patients])
    one = conformal.fit(labels, probabilities, patients)
    other = conformal.fit(labels[order], probabilities[order], names[order])
    assert one.to_dict() == other.to_dict()


def test_a_class_of_few_patients_takes_a_quantile_that_is_not_guaranteed():
    """Eight patients with 20 images each are eight; a class may have no image at all.

    Where all others are found more easily than they are, their own largest score counts.
    """
    labels, probabilities, patients = clinic(3, 120)
    labels = np.append(labels, np.full(160, 3))
    theirs = np.tile([0.3, 0.25, 0.25, 0.05, 0.15], (160, 1))
    probabilities = np.append(np.pad(probabilities, ((0, 0), (0, 2))), theirs, 0)
    patients = np.append(patients, 1000 + np.arange(160) // 20)
    rule = conformal.fit(labels, probabilities, patients)
    assert rule.guaranteed.tolist() == [True, True, True, False, False]
    assert rule.patients[3:].tolist() == [8, 0]
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    scores[probabilities.argmax(1) == labels] = 0
    pooled = patientwise.upper_quantile(scores, patients, 0.9)
    assert pooled < 0.95
    np.testing.assert_array_equal(rule.quantiles[3:], [0.95, pooled])

    patients[-20:-10] = 2000  # a ninth
    rule = conformal.fit(labels, probabilities, patients)
    assert rule.guaranteed.tolist() == [True, True, True, True, False]
    assert rule.quantiles[3] == 0.95


def test_of_too_few_patients_altogether_every_set_is_full():
    labels, probabilities, patients = clinic(0, 8)
    rule = conformal.fit(labels, probabilities, patients)
    assert np.isinf(rule.quantiles).all() and not rule.guaranteed.any()
    assert conformal.sets(rule, probabilities).all()
    assert rule.to_dict()["quantiles"] == [None] * 3


def test_a_rule_survives_json():
    for patients in (8, 90):
        rule = conformal.fit(*clinic(0, patients))
        text = json.dumps(rule.to_dict(), allow_nan=False)
        again = conformal.SetRule.from_dict(json.loads(text))
        assert again.coverage == rule.coverage == 0.9
        for name in ("quantiles", "patients", "guaranteed"):
            one, other = getattr(again, name), getattr(rule, name)
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def test_a_sure_and_right_network_has_sets_of_one():
    labels = np.arange(60) % 3
    rule = conformal.fit(labels, np.eye(3)[labels], np.arange(60))
    assert (rule.quantiles == 0).all()
    assert (conformal.sets(rule, np.full((2, 3), 1 / 3)).sum(1) == 1).all()


def test_measures_count_patients():
    labels = np.array([0, 0, 0, 0, 1, 1])
    patients = np.array(["a", "a", "a", "b", "b", "c"])
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]], bool)
    found = conformal.measure(labels, sets, patients)
    first, second, absent = found.by_class
    assert (first.patients, first.images) == (2, 4)
    assert first.coverage.value == pytest.approx((2 / 3 + 1) / 2)
    assert first.size == pytest.approx((4 / 3 + 3) / 2)
    assert (second.patients, second.images, second.coverage.value) == (2, 2, 0.5)
    assert (absent.patients, absent.images) == (0, 0)
    assert np.isnan([absent.coverage.value, absent.coverage.low, absent.size]).all()
    assert (found.overall.patients, found.overall.images) == (3, 6)
    assert found.overall.coverage.value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.overall.size == pytest.approx((4 / 3 + 2 + 1) / 3)


def test_intervals_of_coverage_hold_the_true_one():
    rule = conformal.fit(*clinic(1, 120))
    labels, new, _ = one_image_each(*clinic(99_999, 12_000))
    true = conformal.measure(labels, conformal.sets(rule, new), np.arange(len(labels)))
    held = []
    for seed in range(60):
        labels, new, patients = clinic(1000 + seed, 60)
        found = conformal.measure(labels, conformal.sets(rule, new), patients)
        for one, other in zip(found.by_class, true.by_class, strict=True):
            held.append(one.coverage.low <= other.coverage.value <= one.coverage.high)
    assert np.mean(held) > 0.92


def test_what_makes_no_sets_is_said():
    labels, probabilities, patients = clinic(0, 20)
    rule = conformal.fit(labels, probabilities, patients)
    for coverage in (0, 1, 90):
        with pytest.raises(ValueError, match=rf"coverage = {coverage} must lie in \(0, 1\)"):
            conformal.fit(labels, probabilities, patients, coverage)
    with pytest.raises(ValueError, match="patients of .* images must be as many"):
        conformal.fit(labels, probabilities, patients[1:])
    with pytest.raises(ValueError, match="scipy.special.softmax"):
        conformal.fit(labels, 3 * probabilities, patients)
    with pytest.raises(ValueError, match="2 classes for a rule of 3"):
        conformal.sets(rule, np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="patients of .* images must be as many"):
        conformal.measure(labels, conformal.sets(rule, probabilities), patients[1:])
    with pytest.raises(ValueError, match=r"prediction sets without \['patients'\]"):
        conformal.SetRule.from_dict({"coverage": 0.9, "quantiles": [], "guaranteed": []})
    with pytest.raises(ValueError, match="of one length"):
        conformal.SetRule.from_dict(rule.to_dict() | {"patients": [1]})
