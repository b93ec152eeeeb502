"""Sets that miss their shares because of one patient are told with the numbers and the patient."""

import numpy as np
import pandas as pd

from dermjax.data import balance, splits


def table(patients, labels, split=""):
    frame = pd.DataFrame({"label": labels, "group": [f"patient:{p}" for p in patients]})
    return frame.assign(split=split, exclude="", row=range(2, len(frame) + 2))


def drawn(frame):
    return splits.split_by_group(frame["label"], frame["group"], seed=0)


def test_one_patient_with_most_images_is_told():
    patients = ["p0"] * 48 + [f"p{i}" for i in range(1, 13)]
    frame = table(patients, list("abc") * 20)
    sets = drawn(frame)
    found = balance.uneven(frame, sets)
    counts = pd.Series(sets).value_counts()
    for name in splits.SETS:
        assert f"{counts[name]} for {name}" in found[0].text
    assert "patient:p0 has 48 of 60 labelled images (80%)" in found[0].text
    assert found[0].rows["row"].tolist() == list(range(2, 50))
    assert len(found) == 4 and all("patient:p0 alone has 16 of its 20" in f.text for f in found[1:])


def test_one_patient_with_most_images_of_one_class_is_told():
    patients = ["x"] * 9 + [f"x{i}" for i in range(3)] + [f"p{i}" for i in range(200)]
    frame = table(patients, ["rare"] * 12 + ["a", "b"] * 100)
    (found,) = balance.uneven(frame, drawn(frame))
    assert "'rare'" in found.text and "patient:x alone has 9 of its 12" in found.text


def test_even_sets_and_given_ones_are_not_told():
    patients = [f"p{i // 2}" for i in range(120)]
    frame = table(patients, list("abc") * 40)
    assert balance.uneven(frame, drawn(frame)) == []
    lopsided = np.array((["train"] * 10 + ["validation", "test"]) * 10, object)
    assert balance.uneven(frame.assign(split=lopsided), lopsided) == []
    assert balance.uneven(frame.assign(label=""), lopsided) == []


def test_the_validation_set_of_a_given_split_is_looked_at():
    patients = ["p0"] * 90 + [f"p{i}" for i in range(10)] + [f"t{i}" for i in range(20)]
    given = np.array(["train"] * 100 + ["test"] * 20, object)
    frame = table(patients, ["a", "b"] * 60, given)
    sets = splits.add_validation(given, frame["label"], frame["group"], seed=0)
    assert "patient:p0 has 91 of 100" in balance.uneven(frame, sets)[0].text
    frame = table([f"p{i}" for i in range(120)], ["a", "b"] * 60, given)
    sets = splits.add_validation(given, frame["label"], frame["group"], seed=0)
    assert balance.uneven(frame, sets) == []
