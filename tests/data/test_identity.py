"""Names that a person reads as the same are one patient and never two classes; nobody is nobody."""

import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermjax.data import identity, manifest, splits

SAME = [
    ("1", "001"),
    ("12", "12.0"),
    ("12", "12,00"),
    ("012", " 12"),
    ("1234", "1,234"),
    ("1234567", "1.234.567"),
    ("1234", "1 234"),
    ("123456789012", "1.23456789012E+11"),
    ("12", "１２"),
    ("12", "١٢"),
    ("7", "'007"),
    ("7", '="007"'),
    ("P1", "p1"),
    ("P1", "P001"),
    ("P1", "P-1"),
    ("P1", "P 1"),
    ("P1", "P_01"),
    ("P1", "Р1"),  # a Cyrillic letter
    ("P1", "P\u200b1"),
    ("P1", "\ufeffP1"),
    ("P1", "P1\u00ad"),
    ("P1", "P1\u200e"),
    ("P1", "P1\ufe0f"),
    ("P 1", "P\u00a01"),
    ("P-1", "P\u20131"),
    ("1-2", "1\u20122"),
    ("-5", "\u22125"),
    ("Anna Maria", "anna  maria"),
    ("Anna-Maria", "Anna\u2010Maria"),
    ("Crohn's", "Crohn\u2019s"),
    ("Müller", unicodedata.normalize("NFD", "Müller")),
    ("ﬁbroma", "fibroma"),
    ("basal cell", "Basal_Cell"),
    ("Straße", "STRASSE"),
]
DIFFERENT = [
    ("1", "2"),
    ("1", "10"),
    ("1-1", "11"),
    ("1 1", "11"),
    ("-5", "5"),
    ("1.5", "15"),
    ("1.10", "1.11"),
    ("1.01", "1.1"),
    ("C44.01", "C44.1"),
    ("L40.0", "L40"),
    ("C44.1", "C441"),
    ("P1", "P11"),
    ("P1", "Q1"),
    ("Müller", "Muller"),
    ("HER2", "HER2-"),
    ("her2-", "her2+"),
    ("AB C", "ABC"),
    ("HAM_0000118", "HAM_0001180"),
    ("PAT_46_881", "PAT_468_81"),
    ("type I", "type II"),
    ("0", "O"),
]
NOBODY = (
    "None|none|NULL|nan|NaN|NA|n/a|N.A.|<NA>|NaT|unknown|Unknown |UNKNOWN|unbekannt|k.A.|k. A.|"
    "keine Angabe|missing|(none)|[unknown]|'None'|-|--|–|—|?|??|…|...|/|*|#REF!|#N/A|#VALUE!|"
    "#DIV/0!|#NAME?|#NULL!|#NV|#BEZUG!|#WERT!|####|\u200b|not known|not-available|anonymous|"
    "No patient|неизвестно|未知|u\u200bnknown|Ｎｏｎｅ"
).split("|")
SOMEBODY = "0|1|-1|00|x|P?|#1|+|++|KA|NV|nv|no|other|normal|healthy|Nana|nan1|AK/SCC".split("|")


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_a_person_reads_as_the_same_is_the_same(one, other):
    assert identity.key(one) == identity.key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_a_person_tells_apart_is_not(one, other):
    assert identity.key(one) != identity.key(other)


def test_words_for_nobody():
    assert [word for word in NOBODY if not identity.is_nobody(word)] == []
    assert [word for word in SOMEBODY if identity.is_nobody(word)] == []


def test_numbers_that_a_program_has_shortened():
    lost = ["1.23457E+11", "1E+15", "1,2E+12", "1.5e+20", "123456789012345000000"]
    assert [one for one in lost if not identity.is_destroyed(one)] == []
    whole = ["1.23456789012E+11", "1E5", "12E3", "E+", "P1.2E+12", "123456789012345", "+12"]
    assert [one for one in whole if identity.is_destroyed(one)] == []


names = st.text(st.sampled_from("aBß P01.,-_é\u0301\u200bİ１'\"#+E/"), max_size=8) | st.text(
    max_size=5
)


@given(names)
def test_the_key_does_not_depend_on_form_case_or_space(name):
    key = identity.key(name)
    for form in ("NFC", "NFD"):
        assert identity.key(unicodedata.normalize(form, name)) == key
    assert identity.key(f"\u00a0{name} ") == key == identity.key(f"\ufeff{name}\u200b")
    assert identity.is_nobody(name) == identity.is_nobody(f" {name}\u200b")


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["", "P", "HAM_", "a-", "1-"]))
def test_numbers_are_the_same_if_and_only_if_they_are_equal(one, other, prefix):
    found = identity.key(f"{prefix}{one:06}"), identity.key(f"{prefix}{other}")
    assert (found[0] == found[1]) == (one == other)
    assert identity.key(f"{one:,}") == identity.key(f"{one}.0") == identity.key(f"{one:012}")


def _read(tmp_path, rows, header="image,label,patient,lesion"):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return manifest.read_csv(path)


SPELLINGS = {
    "leading zeros": (lambda i: f"{i}", lambda i: f"{i:03}"),
    "floats": (lambda i: f"{i}", lambda i: f"{i}.0"),
    "case": (lambda i: f"P{i}", lambda i: f"p{i}"),
    "normal forms": (lambda i: f"Mü{i}", lambda i: f"Mu\u0308{i}"),
    "zero-width": (lambda i: f"x{i}", lambda i: f"x{i}\u200b"),
    "both": (lambda i: f"P {i}", lambda i: f"p\u00a00{i}"),
}


@pytest.mark.parametrize("column", ["patient", "lesion"])
@pytest.mark.parametrize("case", SPELLINGS)
def test_one_patient_under_two_spellings_is_in_one_set(tmp_path, case, column):
    first, second = SPELLINGS[case]
    rows = []
    for i in range(12):
        for number, spelling in enumerate((first(i), second(i))):
            ids = f"{spelling}," if column == "patient" else f",{spelling}"
            rows.append(f"{i}-{number}.jpg,{'abc'[i % 3]},{ids}")
    table, problems = _read(tmp_path, rows)
    assert problems == []
    frame = table.frame
    assert frame["group"].nunique() == frame[column].nunique() == 12
    split = splits.split_by_group(frame["label"], frame["group"], seed=0)
    assert (frame.assign(split=split).groupby(frame.index // 2)["split"].nunique() == 1).all()
    (told,) = [note for note in table.notes if "count as one" in note]
    assert "rows 2, 3, 4" in told and "24 rows" in told and "9 more" in told


def test_the_spelling_that_is_kept_does_not_depend_on_the_order_of_the_rows(tmp_path):
    rows = [f"{i}.jpg,a,{patient}" for i, patient in enumerate(["p1", "P1", "P1", "P1\u200b", "2"])]
    for order in (rows, rows[::-1]):
        table, _ = _read(tmp_path, order, "image,label,patient")
        assert sorted(table.frame["patient"]) == ["2", "P1", "P1", "P1", "P1"]


@pytest.mark.parametrize("words", [("None", "unknown", "-"), ("?", "#N/A", "k.A."), ("nan",) * 3])
def test_nobody_is_no_patient_no_lesion_and_no_class(tmp_path, words):
    rows = [f"{n}{i}.jpg,{n},{n}{i},{n}{i}" for n in "ab" for i in range(3)]
    rows += [f"c{i}.jpg,a,{word},{word}" for i, word in enumerate(words)]
    rows += [f"d{i}.jpg,{word},q{i},q{i}" for i, word in enumerate(words)]
    table, problems = _read(tmp_path, rows)
    frame = table.frame
    assert problems == [] and table.classes == ("a", "b")
    assert frame["group"].tolist()[6:9] == [f"photo:c{i}.jpg" for i in range(3)]
    for name, first in (("patient", 8), ("lesion", 8), ("label", 11)):
        (told,) = [note for note in table.notes if f"is no {name}" in note]
        assert told.startswith(f"rows {first}, {first + 1}, {first + 2}: ") and words[0] in told
        assert "3 rows" in told
    assert any(note.startswith("unlabelled rows: 3") for note in table.notes)
    assert any(note.startswith("rows without a patient: 3") for note in table.notes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("psoriasis", "psoriasis\u200b"),
        ("ekzém", "ekze\u0301m"),
        ("0", "0.0"),
        ("nv", "NV"),
        ("basal cell", "basal_cell"),
        ("lichen planus", "lichen\u00a0planus"),
        ("grade 1", "grade 01"),
    ],
)
def test_labels_that_read_the_same_are_refused_with_their_rows(tmp_path, one, other):
    rows = [f"{i}.jpg,{one},{i}," for i in range(4)] + [f"x{i}.jpg,zz,x{i}," for i in range(3)]
    _, problems = _read(tmp_path, [*rows, f"9.jpg,{other},9,"])
    told = problems[0]
    assert told.startswith("row 9: labels ") and "(4)" in told and "(1)" in told
    assert told.isascii()  # what cannot be seen is escaped


def test_ids_that_a_program_has_shortened_are_refused(tmp_path):
    rows = [f"{n}{i}.jpg,{n},{n}{i}," for n in "ab" for i in range(3)]
    _, problems = _read(tmp_path, [*rows, "c.jpg,a,1.23457E+11,", "d.jpg,b,1.23457E+11,9E+15"])
    assert [line.partition(":")[0] for line in problems] == ["rows 8, 9", "row 9"]
    assert "'1.23457E+11'" in problems[0] and "'9E+15'" in problems[1]


def test_a_point_that_may_mean_two_things_is_asked_about(tmp_path):
    rows = [f"{n}{i}.jpg,{n},{n}{i}," for n in "ab" for i in range(3)]
    _, problems = _read(tmp_path, [*rows, "c.jpg,a,12,", "d.jpg,b,12.000,"])
    (told,) = problems
    assert told.startswith("row 9: ") and "'12.000'" in told and "12000" in told
    assert _read(tmp_path, [*rows, "c.jpg,a,13,", "d.jpg,b,12.000,"])[1] == []


def test_a_clean_table_stays_as_it_is():
    names = [f"PAT_{i}" for i in (1, 10, 100)] + ["HAM_0000118", "-123", "123", "1.5", ""]
    frame = pd.DataFrame({"label": ["a"] * 8, "patient": names, "lesion": names[::-1]}, dtype="str")
    frame = frame.assign(exclude="", image="a.jpg", row=range(2, 10))
    found, problems, notes = identity.settle(frame)
    assert found.equals(frame) and problems == [] and notes == []


def test_headers_and_words_with_invisible_characters_are_read(tmp_path):
    rows = [
        f"{i}.jpg,{'ab'[i % 2]},p{i // 2},{s}\u200b" for i, s in enumerate(["train", "test"] * 9)
    ]
    table, _ = _read(tmp_path, rows, "image,label,\u200bpatient\u00a0,split")
    assert table.frame["patient"].nunique() == 9
    assert set(table.frame["split"]) == {"train", "test"}
