"""Subgroups against the measures of their own images alone."""

import numpy as np
import pytest

from dermjax.data import subgroup_values
from dermjax.statistics import classification, measures, subgroups


def clinic(seed=0, images=300, patients=100):
    """Labels, predictions that are worse for skin type VI, skin types, patients."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, images)
    skin = np.array(["II", "IV", "VI", ""])[patient % 4]
    labels = rng.integers(0, 3, images)
    share = np.where(skin == "VI", 0.4, 0.9)
    wrong = (labels + rng.integers(1, 3, (2, images))) % 3
    predicted = np.where(rng.random((2, images)) < share, labels, wrong)
    return labels, predicted, skin, patient


def by(values, labels, predicted, patients, classes, **given):
    """The breakdown by a column's values, as a report has it."""
    grouped = subgroup_values.group(values)
    return subgroups.break_down(
        grouped.names, grouped.order, labels, predicted, patients, classes, **given
    )


def test_the_worst_subgroup_is_found_and_measured():
    labels, predicted, skin, patients = clinic()
    found = by(skin, labels, predicted, patients, 3)
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
        shown = group.accuracy.networks()
        assert shown.low < group.accuracy.value < shown.high
    assert found.gap() == pytest.approx(max(by_hand.values()) - by_hand["VI"])
    assert 0.3 < found.gap("accuracy") < 0.7


def test_a_subgroup_has_the_intervals_of_its_images_alone():
    labels, predicted, skin, patients = clinic()
    rows = skin == "VI"
    group = by(skin, labels, predicted, patients, 3).subgroups[2]
    own = np.unique(patients[rows], return_inverse=True)[1]
    assert group.patients == own.max() + 1
    for name in ("accuracy", "macro_sensitivity"):
        alone = classification.overall(name, labels[rows], predicted[:, rows], own, 3)
        found = getattr(group, name)
        for one, other in (
            (found.networks(), alone.networks()),
            (found.strategy(), alone.strategy()),
        ):
            assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_a_class_that_the_subgroup_lacks_stays_out_of_its_mean():
    labels, _, skin, patients = clinic()
    labels = np.where(skin == "II", 0, labels)
    found = by(skin, labels, labels, patients, 3)
    shown = found.subgroups[0].macro_sensitivity.networks()
    exact = 0.025 ** (1 / found.subgroups[0].patients)
    assert (shown.value, shown.low, shown.high) == (1, pytest.approx(exact), 1)


def test_patients_may_have_any_names():
    labels, predicted, skin, patients = clinic()
    named = np.array([f"patient {n}" for n in patients])
    one, other = (by(skin, labels, predicted, who, 3).subgroups[0] for who in (patients, named))
    shown = one.accuracy.networks(), other.accuracy.networks()
    assert one.patients == other.patients
    assert (shown[0].low, shown[0].high) == pytest.approx((shown[1].low, shown[1].high))


def test_small_subgroups_are_not_shown():
    """Nor ranked: the two below are wrong everywhere and would be the worst."""
    labels, predicted, _, _ = clinic()
    few, one = np.arange(300) < 19, np.arange(300) >= 260
    predicted[:, few | one] = (labels[few | one] + 1) % 3
    skin = np.select([few, one, labels == 0], ["I", "V", "II"], "IV")
    patients = np.where(one, 260, np.arange(300))

    found = by(skin, labels, predicted, patients, 3)
    reasons = {group.value: group.suppressed for group in found.subgroups}
    assert reasons == {"I": "19 images, fewer than 20", "V": "1 patient", "II": "", "IV": ""}
    for group in found.subgroups:
        shown = [group.accuracy is not None, group.macro_sensitivity is not None]
        assert shown == [not group.suppressed] * 2
    assert found.worst("accuracy").value in ("II", "IV") and found.gap("accuracy") < 0.5
    assert (found.subgroups[0].n, found.subgroups[0].patients) == (19, 19)

    lenient = by(skin, labels, predicted, patients, 3, minimum=19)
    assert lenient.worst("accuracy").value == "I" and lenient.subgroups[0].accuracy.value == 0
    alone = by([""] * 300, labels, predicted, patients, 3)
    assert alone.worst() is None and alone.gap() is None


def test_one_odd_age_among_many_makes_no_suppressed_subgroups():
    ages = [str(age) for age in np.random.default_rng(0).integers(18, 90, 599)]
    labels, patients = np.zeros(600, int), np.arange(600)
    for odd in ("unknown", "90+", "?"):
        found = by([*ages, odd], labels, labels, patients, 1)
        assert len(found.subgroups) <= 10
        assert len([group for group in found.subgroups if group.suppressed]) <= 2
        assert sum(group.n for group in found.subgroups) == 600


def test_what_cannot_be_broken_down_is_said():
    labels, predicted, skin, patients = clinic()
    with pytest.raises(ValueError, match="299 subgroups of 300 images"):
        by(skin[1:], labels, predicted, patients, 3)
    with pytest.raises(ValueError, match="minimum = 0"):
        by(skin, labels, predicted, patients, 3, minimum=0)
