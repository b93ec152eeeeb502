"""Problems and notes: lines of text, some of which know what they say."""

import pickle

import pandas as pd
import pytest

from dermjax.data import manifest
from dermjax.data.problems import Kind, Line, ManifestError, kind_of


def read(tmp_path, **columns):
    path = tmp_path / "photos.csv"
    pd.DataFrame({"image": ["a.jpg", "b.jpg"], **columns}).to_csv(path, index=False)
    return manifest.read_csv(path)


def test_a_line_is_its_text_and_keeps_its_kind_in_an_error_of_another_process():
    line = Line("2 boxes are odd", Kind.BOXES)
    assert line == "2 boxes are odd" and f"- {line}" == "- 2 boxes are odd"
    error = pickle.loads(pickle.dumps(ManifestError("photos.csv", [line, "row 2: odd"])))
    assert error.problems == [line, "row 2: odd"]
    assert list(map(kind_of, error.problems)) == [Kind.BOXES, None]


@pytest.mark.parametrize("patients", [True, False])
def test_what_notes_count_is_counted_anew_and_the_others_stay(tmp_path, patients):
    columns = {"subject": ["1", ""]} if patients else {"site": ["arm", "leg"]}
    found, _ = read(tmp_path, label=["mel", ""], **columns)
    labelled = manifest.with_frame(found, found.frame.assign(label=["mel", "nv"], exclude="test"))
    unlabelled = "unlabelled rows: 1 (used for pretraining only)"
    assert unlabelled in found.notes and unlabelled not in labelled.notes
    assert "rows left out of the test set: 2" in labelled.notes
    first = "column 'subject' read" if patients else "no column 'patient'"
    assert found.notes[0].startswith(first) and labelled.notes[0] == found.notes[0]
    assert len(set(labelled.notes)) == len(labelled.notes) == len(found.notes)


def test_a_missing_column_of_labels_is_known_whatever_the_message_says(tmp_path):
    _, problems = read(tmp_path, diagnosis=["mel", "nv"])
    assert [kind_of(line) for line in problems if "rename 'diagnosis'" in line] == [Kind.NO_LABELS]
    _, problems = read(tmp_path, label=["mel", "mel"])
    assert Kind.NO_LABELS not in map(kind_of, problems)
