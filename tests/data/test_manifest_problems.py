"""Everything that is wrong with a table is told at once, a line each."""

import pickle
import re

import pytest

from dermjax.data import manifest
from dermjax.data.manifest import ManifestError
from tests.data.tables import BOXED, GIVEN, GOOD, HEADER, read_rows, write_table


def _same(problems, expected):
    """The lines, apart from the names of photographs, which each line about rows must have."""
    assert [re.sub(r" \(in '[^:]*\)$", "", line) for line in problems] == expected
    for line in problems:
        named = re.search(r"'[^']*\.jpg[^']*'", line) or "no image named" in line
        assert named or not line.startswith("row"), line


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
    _same(read_rows(tmp_path, *rows, header=header)[1], expected)


def test_all_problems_are_told_together(tmp_path):
    header = HEADER + ",x,y,w,h,exclude"
    _, problems = read_rows(
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
    _, problems = read_rows(tmp_path, *[f"c{i}.jpg,a,p,1,2,x,4" for i in range(25)], header=BOXED)
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
    assert read_rows(tmp_path, *rows, good=False)[1] == [text]


def test_given_split_is_checked(tmp_path):
    rows = [
        "1.jpg,a,p,train",
        "2.jpg,a,p,test",
        "3.jpg,a,q,val",
        "4.jpg,b,r,train",
        "5.jpg,b,s,test",
        "6.jpg,b,t,",
    ]
    problems = read_rows(tmp_path, *rows, header=GIVEN, good=False)[1]
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
    assert read_rows(tmp_path, *rows, header=GIVEN + ",exclude", good=False)[1] == [
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
        manifest.read_csv(write_table(tmp_path, header + "\na,b\n"))
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
    problems = read_rows(tmp_path, header=header)[1]
    found = header.lower().replace(",", ", ")
    assert problems[0] == f"no column 'label' (found: {found}): {hint}"


def test_no_patient_column(tmp_path):
    rows = [f"{i}.jpg,{'ab'[i % 2]}" for i in range(6)]
    table, problems = read_rows(tmp_path, *rows, header="image,label", good=False)
    assert problems == [] and table.frame["group"].nunique() == 6
    assert table.notes[0].startswith("no column 'patient': sets are kept apart by photo")
    rows = [f"{i}.jpg,{'ab'[i % 2]},L{i % 6}" for i in range(12)]
    table, problems = read_rows(tmp_path, *rows, header="image,label,lesion_id", good=False)
    assert problems == [] and table.frame["group"].nunique() == 6
    assert table.notes[:2] == (
        "column 'lesion_id' read as 'lesion'",
        "no column 'patient': sets are kept apart by "
        "lesion, so a patient with several lesions may be in two sets",
    )


def test_patient_under_another_name_is_not_lost(tmp_path):
    table, _ = read_rows(tmp_path, header="image,label,Patient ID")
    assert table.frame["group"].str.startswith("patient:").all()
    assert table.notes == ("column 'patient id' read as 'patient'",)


def test_blank_patients_are_alone(tmp_path):
    table, problems = read_rows(tmp_path, "c.jpg,a,", "d.jpg,a,")
    assert problems == [] and table.frame["group"].tolist()[6:] == ["photo:c.jpg", "photo:d.jpg"]
    assert table.notes == ("rows without a patient: 2 (each photo counts as its own patient)",)


def test_lesions_numbered_within_patients_are_told(tmp_path):
    rows = [f"{i}.jpg,{'ab'[i % 2]},p{i // 2},{i % 2}" for i in range(40)]
    problems = read_rows(tmp_path, *rows, header=HEADER + ",lesion", good=False)[1]
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
