"""A table is read as it is written, and everything that is wrong with it is told at once."""

import dataclasses
import pickle
import re

import numpy as np
import pytest

from dermjax.data import manifest
from dermjax.data.manifest import Manifest, ManifestError

HEADER = "image,label,patient"
GOOD = [f"{name}{index}.jpg,{name},{name}{index}" for name in "ab" for index in range(3)]


def _write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def _read(tmp_path, *rows, header=HEADER, good=True):
    """Reads six good rows (lines 2 to 7), then the given ones (from line 8)."""
    commas = "," * (header.count(",") - 2)
    lines = [header, *((row + commas for row in GOOD) if good else ()), *rows]
    return manifest.read_csv(_write(tmp_path, "\n".join(lines) + "\n"))


def _same(problems, expected):
    """The lines, apart from the names of photographs, which each line about rows must have."""
    assert [re.sub(r" \(in '[^:]*\)$", "", line) for line in problems] == expected
    for line in problems:
        named = re.search(r"'[^']*\.jpg[^']*'", line) or "no image named" in line
        assert named or not line.startswith("row"), line


def test_columns_of_a_good_table(tmp_path):
    table, problems = _read(tmp_path, "sub\\c 1.jpg,,+007", header=HEADER)
    assert problems == [] and isinstance(table, Manifest)
    assert list(table.frame) == [
        "image",
        "name",
        "path",
        "row",
        "label",
        "patient",
        "lesion",
        "split",
        "exclude",
        "x",
        "y",
        "w",
        "h",
        "redact",
        "group",
    ]
    last = table.frame.iloc[6]
    assert last["image"] == last["name"] == "sub/c 1.jpg" and last["row"] == 8
    assert last["path"] == str(tmp_path / "sub" / "c 1.jpg")
    assert last["patient"] == "+007" and last["group"] == "patient:+007"
    assert np.isnan(last[["x", "y", "w", "h"]].astype(float)).all()
    assert table.classes == ("a", "b") and table.fingerprint == ""
    assert table.frame.index.tolist() == list(range(7))
    assert table.notes == ("unlabelled rows: 1 (used for pretraining only)",)


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("image;label;patient\n{}", "utf-8-sig"),
        ("image\tlabel\tpatient\n{}", "utf-8"),
        (" Image , LABEL,Patient \r\n{}", "utf-8"),
        ('"image","label","patient"\n{}', "utf-8"),
        ("image\tlabel\tpatient\n{}", "utf-16"),
        ("\n\nimage,label,patient\n\n{}", "utf-8"),
        ("image;label;patient\n{}", "cp1252"),
    ],
)
def test_ways_to_write_a_table(tmp_path, text, encoding):
    delimiter = ";" if ";" in text else "\t" if "\t" in text else ","
    end = "\r\n" if "\r" in text else "\n"
    cells = [("a 1.jpg", "Rötung", "01"), ("a2.jpg", "b", "2.0")]
    body = end.join(delimiter.join(f' "{cell}" '.strip() for cell in row) for row in cells)
    table, _ = manifest.read_csv(_write(tmp_path, text.format(body), encoding))
    found = table.frame[["image", "label", "patient"]]
    assert [tuple(row) for row in found.itertuples(index=False)] == cells
    assert any("Windows-1252" in note for note in table.notes) == (encoding == "cp1252")


def test_rows_are_lines_of_the_file(tmp_path):
    table, _ = _read(tmp_path, 'c.jpg,a,"two', 'lines"', "", ",,", "d.jpg,b,q")
    assert table.frame["row"].tolist()[6:] == [8, 12]


def test_further_columns_are_kept_as_strings(tmp_path):
    table, problems = _read(tmp_path, "c.jpg,a,p,007,x", header=HEADER + ",Score,width")
    assert problems == []
    assert table.frame["score"].iloc[-1] == "007" and table.frame["given_width"].iloc[-1] == "x"
    assert "further columns kept: score, given_width" in table.notes


def test_several_boxes_on_one_photo(tmp_path):
    table, problems = _read(
        tmp_path,
        "c.jpg,a,p,160,120,320,240",
        "./c.jpg,a,p,1.5,2,3,4",
        "c.jpg,a,p,,,,",
        header=HEADER + ",x,y,w,h",
    )
    assert problems == []
    assert table.frame["name"].tolist()[6:] == [
        "c.jpg#xywh=160,120,320,240",
        "./c.jpg#xywh=1.5,2,3,4",
        "c.jpg",
    ]
    assert table.frame["path"].nunique() == 7


@pytest.mark.parametrize(
    "value, meaning",
    [
        ("", ""),
        ("0", ""),
        ("No", ""),
        ("FALSE", ""),
        ("test", "test"),
        ("1", "all"),
        ("True", "all"),
        ("yes", "all"),
        ("all", "all"),
    ],
)
def test_words_of_exclude(tmp_path, value, meaning):
    table, problems = _read(tmp_path, f"c.jpg,c,p,{value}", header=HEADER + ",exclude")
    assert table.frame["exclude"].iloc[-1] == meaning
    assert ("c" in table.classes) == (meaning != "all")
    # A class of one patient is a problem only while it counts.
    assert bool(problems) == (meaning != "all")
    noted = {
        "": False,
        "test": "rows left out of the test set: 1",
        "all": "rows left out of everything: 1",
    }[meaning]
    assert not noted or noted in table.notes


def test_words_of_split(tmp_path):
    words = ["train", "Val", "test", "training", "valid", "TEST"]
    rows = [f"{row},{word}" for row, word in zip(GOOD, words, strict=True)]
    table, problems = _read(tmp_path, *rows, header=HEADER + ",split", good=False)
    assert problems == []
    assert table.frame["split"].tolist() == ["train", "validation", "test"] * 2


BOXED = HEADER + ",x,y,w,h"
GIVEN = HEADER + ",split"
PROBLEMS = {
    "blank image": (HEADER, [",a,p"], ["row 8: no image named: fill the cell"]),
    "ragged": (
        HEADER,
        ["c.jpg,a", "d.jpg,a,p,,"],
        ["row 8: 2 cells where the header has 3 (first of them): check the delimiters and quotes"],
    ),
    "text in a box": (
        BOXED,
        ["c.jpg,a,p,1,2,x,4"],
        ["row 8: box is not numeric (x='1', y='2', w='x', h='4'): write pixels such as 12 or 12.5"],
    ),
    "infinite box": (
        BOXED,
        ["c.jpg,a,p,1,2,inf,4"],
        [
            "row 8: box is not numeric (x='1', y='2', w='inf', h='4'): write pixels such as 12 or "
            "12.5"
        ],
    ),
    "empty box": (
        BOXED,
        ["c.jpg,a,p,1,2,0,4", "c.jpg,a,p,1,2,3,-4"],
        ["rows 8, 9: box without area (x='1', y='2', w='0', h='4'): w and h must be positive"],
    ),
    "relative box": (
        BOXED,
        ["c.jpg,a,p,0.1,0.2,0.5,0.4"],
        [
            "row 8: box of a pixel or less (x='0.1', y='0.2', w='0.5', h='0.4'): write pixels, not "
            "shares of the photograph"
        ],
    ),
    "partly blank box": (
        BOXED,
        ["c.jpg,a,p,1,2,,4"],
        ["row 8: box partly blank (x='1', y='2', w='', h='4'): fill all of x, y, w, h or none"],
    ),
    "box columns": (
        HEADER + ",x,y",
        ["c.jpg,a,p,1,2"],
        ["a box needs the columns x, y, w, h: 'w', 'h' missing"],
    ),
    "duplicate": (
        BOXED,
        ["c.jpg,a,p,1,2,3,4", "./c.jpg,a,p,1.0,2,3,4", "a0.jpg,a,a0,,,,"],
        [
            "rows 2, 8, 9, 10: the same image and box more than once ('a0.jpg', "
            "'c.jpg#xywh=1,2,3,4', './c.jpg#xywh=1,2,3,4'): keep one row"
        ],
    ),
    "unknown split": (
        GIVEN,
        ["c.jpg,a,p,tset", "d.jpg,a,q,hold-out"],
        [
            "rows 8, 9: unknown split 'tset', 'hold-out': use train, validation or test, or "
            "leave the column out"
        ],
    ),
    "unknown exclude": (
        HEADER + ",exclude",
        ["c.jpg,a,p,maybe"],
        [
            "row 8: unknown exclude 'maybe': use 'test', 'all' (or 1, true, yes) or blank (or 0, "
            "false, no)"
        ],
    ),
    "few patients": (
        HEADER,
        ["c.jpg,c,p", "d.jpg,c,q", "e.jpg,c,q"],
        [
            "rows 8, 9, 10: class 'c' has 2 of the 3 patients it needs, one each for train, "
            "validation and test ('patient:p', 'patient:q'): add patients, merge the class into "
            "another or exclude it"
        ],
    ),
    "spelling": (
        HEADER,
        [f"c{i}.jpg,A ,p{i}" for i in range(3)],
        [
            "rows 2, 3, 4: labels 'A' (3), 'a' (3) read the same and would be 2 classes: write "
            "them the same"
        ],
    ),
    "untestable": (
        HEADER + ",exclude",
        [f"c{i}.jpg,c,p{i},test" for i in range(3)],
        [
            "rows 8, 9, 10: class 'c' has no image that may be tested: clear 'exclude' on one "
            "patient at least"
        ],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_each_problem_has_its_line(tmp_path, case):
    header, rows, expected = PROBLEMS[case]
    _same(_read(tmp_path, *rows, header=header)[1], expected)


def test_all_problems_are_told_together(tmp_path):
    header = HEADER + ",x,y,w,h,exclude"
    _, problems = _read(
        tmp_path,
        ",a,p,,,,,",
        "c.jpg,a,p,1,2,x,4,",
        "d.jpg,a,p,1,2,,4,",
        "e.jpg,a,p,,,,,maybe",
        "a0.jpg,a,p,,,,,",
        "f.jpg,z,p,,,,,",
        header=header,
    )
    assert [line.split(" (")[0] for line in problems] == [
        "row 8: no image named: fill the cell",
        "row 11: unknown exclude 'maybe': use 'test', 'all'",
        "row 10: box partly blank",
        "row 9: box is not numeric",
        "rows 2, 12: the same image and box more than once",
        "row 13: class 'z' has 1 of the 3 patients it needs, one each for train, validation and "
        "test",
    ]


def test_many_rows_are_one_line(tmp_path):
    _, problems = _read(tmp_path, *[f"c{i}.jpg,a,p,1,2,x,4" for i in range(25)], header=BOXED)
    assert len(problems) == 1
    assert problems[0].startswith(
        "rows 8, 9, 10, 11, 12, 13, 14, 15, 16, 17 and 15 more (25 rows): box is not numeric ("
    )


@pytest.mark.parametrize(
    "label, text",
    [
        ("a", "the table has only the class 'a': at least two classes are needed"),
        ("", "the table has no label at all: at least two classes are needed"),
    ],
)
def test_one_class_only(tmp_path, label, text):
    rows = [f"{i}.jpg,{label},{i}" for i in range(4)]
    assert _read(tmp_path, *rows, good=False)[1] == [text]


def test_given_split_is_checked(tmp_path):
    rows = [
        "1.jpg,a,p,train",
        "2.jpg,a,p,test",
        "3.jpg,a,q,val",
        "4.jpg,b,r,train",
        "5.jpg,b,s,test",
        "6.jpg,b,t,",
    ]
    problems = _read(tmp_path, *rows, header=GIVEN, good=False)[1]
    expected = [
        "row 7: split is blank here but filled on other rows: fill it everywhere or leave the "
        "column out",
        "rows 2, 3: the split leaks: patient 'p' in train and test: give it one set, leave the "
        "split out, or accept it: --config.data.allow=\"['patient:p']\"",
        "the given split has no validation image of 'b': move a patient there or leave the "
        "column out",
    ]
    _same(problems, expected)


def test_rows_left_out_of_the_test_set_do_not_count_there(tmp_path):
    rows = [f"{row},{word}," for row, word in zip(GOOD, ["train", "val", "test"] * 2, strict=True)]
    rows[2] += "test"
    rows.append("a0b.jpg,a,a0,test,test")  # not used in the test set, so it leaks nothing
    assert _read(tmp_path, *rows, header=GIVEN + ",exclude", good=False)[1] == [
        "the given split has no test image of 'a': move a patient there or leave the column out"
    ]


@pytest.mark.parametrize(
    "header, text",
    [
        ("photo,label", "no column 'image' (found: photo, label): rename 'photo' to 'image'?"),
        ("imge,label", "no column 'image' (found: imge, label): rename 'imge' to 'image'?"),
        ("zzz,label", "no column 'image' (found: zzz, label): add a column 'image'"),
    ],
)
def test_no_image_column(tmp_path, header, text):
    with pytest.raises(ManifestError) as caught:
        manifest.read_csv(_write(tmp_path, header + "\na,b\n"))
    assert caught.value.problems == [text]


@pytest.mark.parametrize(
    "header, hint",
    [
        ("image,Diagnosis,patient", "rename 'diagnosis' to 'label'?"),
        ("image,lable,patient", "rename 'lable' to 'label'?"),
        ("image,q,patient", "add a column 'label'"),
    ],
)
def test_no_label_column(tmp_path, header, hint):
    problems = _read(tmp_path, header=header)[1]
    found = header.lower().replace(",", ", ")
    assert problems[0] == f"no column 'label' (found: {found}): {hint}"


def test_no_patient_column(tmp_path):
    rows = [f"{i}.jpg,{'ab'[i % 2]}" for i in range(6)]
    table, problems = _read(tmp_path, *rows, header="image,label", good=False)
    assert problems == [] and table.frame["group"].nunique() == 6
    assert table.notes[0].startswith("no column 'patient': sets are kept apart by photo")
    rows = [f"{i}.jpg,{'ab'[i % 2]},L{i % 6}" for i in range(12)]
    table, problems = _read(tmp_path, *rows, header="image,label,lesion_id", good=False)
    assert problems == [] and table.frame["group"].nunique() == 6
    assert table.notes[:2] == (
        "column 'lesion_id' read as 'lesion'",
        "no column 'patient': sets are kept apart by "
        "lesion, so a patient with several lesions may be in two sets",
    )


def test_patient_under_another_name_is_not_lost(tmp_path):
    table, _ = _read(tmp_path, header="image,label,Patient ID")
    assert table.frame["group"].str.startswith("patient:").all()
    assert table.notes == ("column 'patient id' read as 'patient'",)


def test_blank_patients_are_alone(tmp_path):
    table, problems = _read(tmp_path, "c.jpg,a,", "d.jpg,a,")
    assert problems == [] and table.frame["group"].tolist()[6:] == ["photo:c.jpg", "photo:d.jpg"]
    assert table.notes == ("rows without a patient: 2 (each photo counts as its own patient)",)


def test_lesions_numbered_within_patients_are_told(tmp_path):
    rows = [f"{i}.jpg,{'ab'[i % 2]},p{i // 2},{i % 2}" for i in range(40)]
    problems = _read(tmp_path, *rows, header=HEADER + ",lesion", good=False)[1]
    # Odd and even rows share lesions 0 and 1, and each patient has both.
    assert problems[0] == (
        "shared lesions or identical files join 20 of 20 patients into one group: write lesion "
        "ids that are unique over all patients, such as patient_lesion"
    )


@pytest.mark.parametrize(
    "content, text",
    [
        (b"", "no rows below its header"),
        (b"image,label\n", "no rows below its header"),
        (b"\x89PNG\0\0", "is not a text file"),
        (b"image,label,label\n1,2,3\n", "columns named twice"),
    ],
)
def test_files_that_are_no_table(tmp_path, content, text):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=text):
        manifest.read_csv(tmp_path / "t.csv")


def test_absent_file(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read"):
        manifest.read_csv(tmp_path / "none.csv")


def test_error_is_headed_capped_and_survives_pickling():
    error = ManifestError("t.csv", [f"row {i}: bad" for i in range(60)])
    lines = str(error).splitlines()
    assert lines[:2] == ["t.csv: 60 problems", "- row 0: bad"]
    assert len(lines) == 52 and lines[-1] == "... and 10 more"
    assert len(error.problems) == 60 and isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(ManifestError("t.csv", ["x"])) == "t.csv: 1 problem\n- x"


def _print(tmp_path, change=None, header=BOXED):
    frame = _read(tmp_path, "c.jpg,a,p,1,2,3,4", header=header)[0].frame.assign(content="0" * 64)
    if change:
        frame.loc[6, change[0]] = change[1]
    return manifest.fingerprint(frame)


def test_fingerprint(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    plain = _print(tmp_path)
    assert len(plain) == 16 and plain == _print(tmp_path / "elsewhere")
    changes = [
        ("content", "1" * 64),
        ("label", "b"),
        ("group", "patient:q"),
        ("x", 1.5),
        ("split", "test"),
        ("exclude", "all"),
        ("name", "d.jpg"),
    ]
    assert len({plain, *(_print(tmp_path, change) for change in changes)}) == len(changes) + 1
    assert _print(tmp_path, ("path", "/other/c.jpg")) == plain


def test_fingerprint_forgets_absolute_paths(tmp_path):
    prints = set()
    for place in ("one", "two"):
        rows = [f"/{place}/{i}.jpg,{'ab'[i % 2]}" for i in range(6)]
        table, _ = _read(tmp_path, *rows, header="image,label", good=False)
        prints.add(manifest.fingerprint(table.frame.assign(content="0")))
    assert len(prints) == 1


def test_the_order_of_identities_does_not_depend_on_how_a_table_is_sorted(tmp_path):
    rows = [f"{i % 5}.jpg,{'ab'[i % 2]},p{i % 3},{i},2,3,4" for i in range(12)]
    settled = []
    for order in (rows, rows[::-1], sorted(rows, key=lambda row: row[::-1])):
        table, _ = _read(tmp_path, *order, header=BOXED, good=False)
        found = manifest.in_order(dataclasses.replace(table, frame=table.frame.assign(content="0")))
        settled.append((found.frame.drop(columns="row"), manifest.fingerprint(found.frame)))
        assert found.frame.index.tolist() == list(range(12))
        lines = dict(zip(table.frame["name"], table.frame["row"], strict=True))
        assert dict(zip(found.frame["name"], found.frame["row"], strict=True)) == lines
    assert all(one.equals(settled[0][0]) and key == settled[0][1] for one, key in settled)
