"""Subgroups against a bootstrap of their own images."""

import numpy as np
import pytest

from dermjax.analysis import bootstrap, measures, subgroups


def clinic(seed=0, images=300, patients=100):
    """Labels, predictions that are worse for skin type VI, skin types, patients."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, images)
    skin = np.array(["II", "IV", "VI", ""])[patient % 4]
    labels = rng.integers(0, 3, images)
    share = np.where(skin == "VI", 0.4, 0.9)
    wrong = (labels + rng.integers(1, 3, (2, images))) % 3
    predicted = np.where(rng.random((2, images)) < share, labels, wrong)
    return labels, predicted, skin, bootstrap.patient_weights(patient, 400)


def test_the_worst_subgroup_is_found_and_measured():
    labels, predicted, skin, weights = clinic()
    found = subgroups.break_down(skin, labels, predicted, weights, 3)
    assert [group.value for group in found.subgroups] == ["II", "IV", "VI", "(unknown)"]
    assert sum(group.n for group in found.subgroups) == 300
    assert found.worst().value == found.worst("accuracy").value == "VI"
    by_hand = {
        group.value: np.mean(
            [measures.measure(labels[rows], run[rows], 3).macro_sensitivity for run in predicted]
        )
        for group in found.subgroups
        for rows in [skin == group.value.replace("(unknown)", "")]
    }
    for group in found.subgroups:
        assert group.macro_sensitivity.value == pytest.approx(by_hand[group.value])
        assert group.accuracy.low < group.accuracy.value < group.accuracy.high
    assert found.gap() == pytest.approx(max(by_hand.values()) - by_hand["VI"])
    assert 0.3 < found.gap("accuracy") < 0.7


def test_intervals_are_as_wide_as_those_of_the_subgroup_alone():
    labels, predicted, skin, weights = clinic()
    rows = skin == "VI"
    group = subgroups.break_down(skin, labels, predicted, weights, 3).subgroups[2]
    own = bootstrap.patient_weights(weights.inverse[rows], 2000, seed=9)
    alone = bootstrap.resample(labels[rows], predicted[:, rows], own, 3).estimate("accuracy")
    assert group.patients == len(np.unique(weights.inverse[rows]))
    width = group.accuracy.high - group.accuracy.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.15)


def test_a_class_that_the_subgroup_lacks_stays_out_of_its_mean():
    labels, _, skin, weights = clinic()
    labels = np.where(skin == "II", 0, labels)
    found = subgroups.break_down(skin, labels, labels, weights, 3)
    assert found.subgroups[0].macro_sensitivity == bootstrap.Estimate(1, 1, 1)


def test_small_subgroups_are_not_shown():
    """Nor ranked: the two below are wrong everywhere and would be the worst."""
    labels, predicted, _, _ = clinic()
    few, one = np.arange(300) < 19, np.arange(300) >= 260
    predicted[:, few | one] = (labels[few | one] + 1) % 3
    skin = np.select([few, one, labels == 0], ["I", "V", "II"], "IV")
    weights = bootstrap.patient_weights(np.where(one, 260, np.arange(300)), 50)

    found = subgroups.break_down(skin, labels, predicted, weights, 3)
    reasons = {group.value: group.suppressed for group in found.subgroups}
    assert reasons == {"I": "19 images, fewer than 20", "V": "1 patient", "II": "", "IV": ""}
    for group in found.subgroups:
        shown = [group.accuracy is not None, group.macro_sensitivity is not None]
        assert shown == [not group.suppressed] * 2
    assert found.worst("accuracy").value in ("II", "IV") and found.gap("accuracy") < 0.5
    assert (found.subgroups[0].n, found.subgroups[0].patients) == (19, 19)

    lenient = subgroups.break_down(skin, labels, predicted, weights, 3, minimum=19)
    assert lenient.worst("accuracy").value == "I" and lenient.subgroups[0].accuracy.value == 0
    alone = subgroups.break_down([""] * 300, labels, predicted, weights, 3)
    assert alone.worst() is None and alone.gap() is None


def test_one_odd_age_among_many_makes_no_suppressed_subgroups():
    ages = [str(age) for age in np.random.default_rng(0).integers(18, 90, 599)]
    labels, weights = np.zeros(600, int), bootstrap.patient_weights(np.arange(600), 10)
    for odd in ("unknown", "90+", "?"):
        found = subgroups.break_down([*ages, odd], labels, labels, weights, 1)
        assert len(found.subgroups) <= 10
        assert len([group for group in found.subgroups if group.suppressed]) <= 2
        assert sum(group.n for group in found.subgroups) == 600


def test_what_cannot_be_broken_down_is_said():
    labels, predicted, skin, weights = clinic()
    with pytest.raises(ValueError, match="299 values of 300 images"):
        subgroups.break_down(skin[1:], labels, predicted, weights, 3)
    with pytest.raises(ValueError, match="minimum = 0"):
        subgroups.break_down(skin, labels, predicted, weights, 3, minimum=0)
