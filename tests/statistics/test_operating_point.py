"""Thresholds for a wished sensitivity: on new patients, against trying all, and what has none."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermjax.statistics import classification, operating_point
from tests.statistics.simulated_patients import clinic, one_image_each


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_a_threshold_is_the_largest_that_is_sensitive_enough(seed, patients, sensitivity):
    """Sensitive enough with one more patient, all of whose images would be missed."""
    labels, probabilities, of = clinic(seed, patients)
    points = operating_point.fit(labels, probabilities, of, sensitivity)
    for c, threshold in enumerate(points.thresholds):
        own = labels == c
        people = np.unique(of[own])
        assert points.patients[c] == len(people)

        def found(limit, own=own, people=people, c=c):
            hits = [(probabilities[own & (of == who), c] >= limit).mean() for who in people]
            return sum(hits) / (len(people) + 1) >= sensitivity - 1e-9

        enough = [limit for limit in probabilities[own, c] if found(limit)]
        if enough:
            assert threshold == max(enough)
        else:
            assert math.isnan(threshold)


@pytest.mark.parametrize(("patients", "easier"), [(45, 0.0), (45, 1.5), (200, 1.5)])
def test_new_patients_are_found_as_often_as_wished(patients, easier):
    """The quantile of images alone finds .81 where patients with many images are easier."""
    labels, new, _ = one_image_each(*clinic(99_999, 12_000, easier=easier))
    ours, images_only = [], []
    for seed in range(120):
        known = clinic(seed, patients, easier=easier)
        points = operating_point.fit(*known, 0.9)
        alone = operating_point.fit(known[0], known[1], np.arange(len(known[0])), 0.9)
        there = np.flatnonzero(np.isfinite(points.thresholds))
        for one, found in ((points, ours), (alone, images_only)):
            positive = operating_point.positive(one, new)
            found.extend(positive[labels == c, c].mean() for c in there)
    assert 0.9 - 2 * stats.sem(ours) < np.mean(ours) < 0.9 + 6 / patients
    assert np.mean(images_only) < 0.88


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_more_sensitivity_takes_lower_thresholds(seed, one, other):
    known = clinic(seed, 60)
    low, high = (operating_point.fit(*known, of).thresholds for of in sorted((one, other)))
    both = np.isfinite(low) & np.isfinite(high)
    assert (low >= high)[both].all()


def test_measures_with_one_image_each_are_the_usual_ones():
    labels, probabilities, of = one_image_each(*clinic(0, 400))
    points = operating_point.fit(*clinic(1, 200))
    found = operating_point.measure(points, labels, probabilities, of)
    for c, one in enumerate(found):
        truth, answer = (
            (labels == c).astype(int),
            (probabilities[:, c] >= one.threshold).astype(int),
        )
        for name in ("sensitivity", "specificity"):
            wanted = classification.by_class(name, truth, answer, of, 2).of(1).networks()
            shown = getattr(one, name)
            assert (shown.value, shown.low, shown.high) == pytest.approx(
                (wanted.value, wanted.low, wanted.high)
            )
        assert (one.patients, one.images) == (truth.sum(), truth.sum())
        assert one.other_patients == one.other_images == 400 - truth.sum()


def test_measures_count_patients():
    points = operating_point.OperatingPoints(0.9, np.array([0.5, np.nan]), np.array([9, 0]))
    p = np.array([0.9, 0.1, 0.2, 0.6, 0.6, 0.4])
    labels, patients = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2])
    first, second = operating_point.measure(points, labels, np.stack([p, 1 - p], 1), patients)
    assert first.sensitivity.value == pytest.approx((1 / 3 + 1) / 2)
    assert first.specificity.value == pytest.approx((0 + 1) / 2)
    assert (first.patients, first.images) == (2, 4)
    assert (first.other_patients, first.other_images) == (2, 2)
    assert math.isnan(second.sensitivity.value) and math.isnan(second.specificity.value)
    assert (second.patients, second.images) == (2, 2)


def test_a_class_of_few_patients_has_no_threshold():
    """Eight patients with 20 images each are eight; a class may have no image at all."""
    labels, patients = np.repeat([0, 1], 160), np.append(np.arange(160), np.arange(160) // 20)
    probabilities = np.tile([0.5, 0.3, 0.2], (320, 1))
    points = operating_point.fit(labels, probabilities, patients)
    np.testing.assert_array_equal(points.thresholds, [0.5, np.nan, np.nan])
    assert points.patients.tolist() == [160, 8, 0]
    assert not operating_point.positive(points, probabilities)[:, 1:].any()
    absent = operating_point.measure(points, labels * 0 + 1, probabilities, patients)[0]
    assert np.isnan([absent.sensitivity.value, absent.sensitivity.low]).all()
    assert absent.specificity.value == 0 and absent.images == 0


def test_thresholds_survive_json():
    points = operating_point.fit(*clinic(0, 30), 0.9)
    assert np.isnan(points.thresholds).any() and not np.isnan(points.thresholds).all()
    again = operating_point.OperatingPoints.from_dict(
        json.loads(json.dumps(points.to_dict(), allow_nan=False))
    )
    assert again.sensitivity == 0.9
    for name in ("thresholds", "patients"):
        np.testing.assert_array_equal(getattr(again, name), getattr(points, name))
        assert getattr(again, name).dtype == getattr(points, name).dtype


def test_what_has_no_threshold_is_said():
    labels, probabilities, patients = clinic(0, 20)
    points = operating_point.fit(labels, probabilities, patients)
    for wished in (0, 1, 90):
        with pytest.raises(ValueError, match=rf"sensitivity = {wished} must lie in \(0, 1\)"):
            operating_point.fit(labels, probabilities, patients, wished)
    for wrong in (operating_point.fit, lambda *of: operating_point.measure(points, *of)):
        with pytest.raises(ValueError, match="patients of .* images must be as many"):
            wrong(labels, probabilities, patients[1:])
        with pytest.raises(ValueError, match="scipy.special.softmax"):
            wrong(labels, 3 * probabilities, patients)
    with pytest.raises(ValueError, match="2 classes for thresholds of 3"):
        operating_point.positive(points, np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match=r"operating points without \['thresholds'\]"):
        operating_point.OperatingPoints.from_dict({"sensitivity": 0.9, "patients": []})
    with pytest.raises(ValueError, match="one length, not .*'thresholds': 3, 'patients': 1"):
        operating_point.OperatingPoints.from_dict(points.to_dict() | {"patients": [1]})
