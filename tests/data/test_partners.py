"""Whose photographs give each other's positives: as the table says, and never by a label."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermjax.data import links, partners

PEOPLE, LESIONS, SITES = ("", "p1", "p2", "p3"), ("", "a", "b", "c"), ("", "arm", "Arm", "back")
ROW = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(LESIONS), st.sampled_from(SITES), st.integers(0, 9)
)


def table(rows, **columns):
    """A frame as `prepare` leaves it, of (patient, lesion, site, photograph)."""
    patients, lesions, sites, photographs = zip(*rows, strict=True)
    frame = pd.DataFrame(
        {
            "name": [f"{number}.jpg" for number in range(len(rows))],
            "patient": patients,
            "lesion": lesions,
            "site": sites,
            "near": [f"hash {number}" for number in photographs],
            "label": "the same",
        },
        dtype="str",
    )
    frame = frame.assign(**columns)
    frame["group"] = links.merge_groups(frame.assign(image=frame["name"]))
    frame["patient"] = frame["patient"].where(frame["patient"] != "", frame["group"])
    return frame


def people(frame):
    """Of each row a number for its patient: who has an id or a lesion in common is one."""
    patients, lesions = frame["patient"].tolist(), frame["lesion"].tolist()
    known = (frame["patient"] != frame["group"]).tolist()
    names = list(range(len(frame)))
    for _ in names:
        for i, j in itertools.combinations(range(len(frame)), 2):
            same = lesions[i] == lesions[j] != ""
            if same or (known[i] and known[j] and patients[i] == patients[j]):
                names[i] = names[j] = min(names[i], names[j])
    return names


def expected(frame, rows, kind):
    """The partners of each row, by comparing it with every other."""
    person, found = people(frame), {}
    lesion, near = frame["lesion"].tolist(), frame["near"].tolist()
    site = frame["site"].str.lower().tolist()
    for i in rows:
        others = [j for j in rows if near[j] != near[i]]
        own = [j for j in others if lesion[j] == lesion[i] != ""]
        if kind == "patient" and not own:
            own = [j for j in others if person[j] == person[i] and site[i] in ("", site[j])]
        found[i] = set(own)
    return found


def drawn(found, row, count=50):
    """All rows that draws of a row give, and how often."""
    luck = (np.arange(count) + 0.5) / count
    rows, times = np.unique(found.draw(np.full(count, row), luck), return_counts=True)
    return dict(zip(rows.tolist(), times.tolist(), strict=True))


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(ROW, min_size=4, max_size=9),
    kind=st.sampled_from(["lesion", "patient"]),
    data=st.data(),
)
def test_a_partner_is_another_photograph_of_the_same_if_there_is_one(rows, kind, data):
    """Of all training images: every partner can be drawn, nothing else, all equally often."""
    frame = table(rows)
    training = np.array([i for i in range(len(rows)) if data.draw(st.integers(0, 3))], int)
    wanted = expected(frame, training.tolist(), kind)
    known = frame["lesion"] != "" if kind == "lesion" else frame["patient"] != frame["group"]
    person = people(frame)
    subjects = {
        person[i] if kind == "patient" else frame["lesion"][i] or f"image {i}" for i in training
    }
    if not known[training].any() or not any(wanted.values()) or len(subjects) < 2:
        with pytest.raises(ValueError, match="at least 2"):
            partners.find(frame, training, kind)
        return
    found = partners.find(frame, training, kind)
    assert found.paired == sum(map(bool, wanted.values())) > 0
    for row, others in wanted.items():
        times = drawn(found, row)
        assert set(times) == (others or {row})
        assert max(times.values()) - min(times.values()) <= 1


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(ROW, min_size=3, max_size=9))
def test_a_subject_is_the_lesion_or_the_patient_and_unknown_ones_are_alone(rows):
    frame = table([*rows, ("p1", "a", "", 90), ("p1", "a", "", 91), ("p9", "z", "", 92)])
    every = np.arange(len(frame))
    of_lesion = partners.find(frame, every, "lesion").subjects
    of_patient = partners.find(frame, every, "patient").subjects
    person = people(frame)
    lesions = frame["lesion"].tolist()
    for i, j in itertools.combinations(every, 2):
        assert (of_lesion[i] == of_lesion[j]) == (lesions[i] == lesions[j] != "")
        assert (of_patient[i] == of_patient[j]) == (person[i] == person[j])


ONE_PATIENT = [  # two lesions at one site, a third elsewhere, one at an unknown place
    ("p1", "a", "arm", 0),
    ("p1", "a", "arm", 1),
    ("p1", "b", "arm", 2),
    ("p1", "c", "back", 3),
    ("p1", "", "", 4),
    ("p2", "", "arm", 5),
]


@pytest.mark.parametrize(
    ("row", "others"), [(0, {1}), (2, {0, 1}), (3, {3}), (4, {0, 1, 2, 3}), (5, {5})]
)
def test_a_patient_s_partner_is_of_the_lesion_else_of_the_site_else_of_whom_no_site_is_known(
    row, others
):
    found = partners.find(table(ONE_PATIENT), np.arange(6), "patient")
    assert set(drawn(found, row)) == others


def test_without_a_column_of_sites_any_photograph_of_the_patient_will_do():
    found = partners.find(table(ONE_PATIENT).drop(columns="site"), np.arange(6), "patient")
    assert set(drawn(found, 3)) == {0, 1, 2, 4}
    assert set(drawn(found, 2)) == {0, 1, 3, 4}
    assert set(drawn(found, 0)) == {1}


def test_copies_near_duplicates_and_other_boxes_are_no_other_photographs():
    rows = [("p1", "a", "", number) for number in range(5)] + [("p2", "", "", 9)]
    frame = table(rows, near=["x", "x", "", "", "", "q"], content=["1", "2", "3", "3", "4", "9"])
    found = partners.find(frame, np.arange(6), "lesion")
    assert set(drawn(found, 0)) == {2, 3, 4} and set(drawn(found, 2)) == {0, 1, 4}
    frame = frame.drop(columns=["near", "content"]).assign(path=["i", "i", "j", "k", "k", "l"])
    assert set(drawn(partners.find(frame, np.arange(6), "lesion"), 1)) == {2, 3, 4}


def test_labels_change_nothing():
    frame = table(ONE_PATIENT)
    other = frame.assign(label=[f"disease {i}" for i in range(len(frame))])
    for kind in ("lesion", "patient"):
        one, two = (partners.find(one, np.arange(6), kind) for one in (frame, other))
        assert one.key() == two.key()


def test_the_key_tells_other_lesions_and_sites_apart():
    """The fingerprint of the data does not hold them."""
    frame = table(ONE_PATIENT)
    others = [
        frame,
        frame.assign(lesion=["a", "a", "a", "c", "", ""]),
        frame.assign(site=["arm", "arm", "arm", "arm", "", "arm"]),
    ]
    keys = {partners.find(one, np.arange(6), "patient").key() for one in others}
    keys |= {partners.find(frame, np.arange(6), "lesion").key()}
    assert len(keys) == 4


def refused(rows, kind, **columns):
    frame = table(rows, **columns)
    with pytest.raises(ValueError) as error:
        partners.find(frame, np.arange(len(frame)), kind)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_the_data_do_not_have_is_refused_in_one_line():
    unknown = [("", "", "", number) for number in range(4)]
    said = refused(unknown, "lesion")
    assert "positives = 'lesion' needs at least 2 of the 4 training images to have a lesion" in said
    assert "0 have one" in said and "column 'lesion'" in said and "positives=image" in said
    assert "positives=lesion" not in refused(unknown, "patient")
    lesions = [("", "a", "", 0), ("", "a", "", 1), ("", "b", "", 2)]
    assert refused(lesions, "patient").endswith("or --config.pretrain.positives=lesion")
    apart = [("p1", "a", "", 0), ("p2", "b", "", 1), ("p3", "c", "", 2)]
    for kind in ("lesion", "patient"):
        said = refused(apart, kind)
        assert f"another photograph of the same {kind}, and 0 of 3 have one" in said
    said = refused([("p1", "a", "", number) for number in range(3)], "patient")
    assert "at least 2 patients" in said and "all 3 are of 1" in said


def test_only_training_images_count():
    rows = [("p1", "a", "", 0), ("p1", "a", "", 1), ("p2", "b", "", 2), ("p2", "b", "", 3)]
    frame = table(rows)
    found = partners.find(frame, np.array([0, 2, 3]), "lesion")
    assert (found.images, found.paired) == (3, 2)
    assert set(drawn(found, 0)) == {0} and set(drawn(found, 2)) == {3}
    with pytest.raises(ValueError, match="0 of 2 have one"):
        partners.find(frame, np.array([0, 2]), "lesion")


def test_a_hundred_thousand_photographs_take_seconds():
    """Groups of all sizes: no list of pairs is made, whose length grows with their squares."""
    count = 100_000
    rng = np.random.default_rng(0)
    lesion = np.where(rng.random(count) < 0.5, 0, rng.integers(1, count, count)).astype(str)
    frame = pd.DataFrame({"name": np.arange(count).astype(str), "lesion": lesion}, dtype="str")
    frame = frame.assign(patient=frame["name"], group=frame["name"])
    found = partners.find(frame, np.arange(count), "lesion")
    assert len(found.members) == count
    chosen = found.draw(np.arange(count), rng.random(count))
    assert (lesion[chosen] == lesion).all()
    assert ((chosen != np.arange(count)) == (found.choices > 0)).all()
