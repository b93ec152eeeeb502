"""A table is read as it is written; what of it training depends on."""

import dataclasses

import numpy as np
import pytest

from dermjax.data import manifest
from dermjax.data.manifest import Manifest
from tests.data.tables import BOXED, GOOD, HEADER, read_rows, write_table


def test_columns_of_a_good_table(tmp_path):
    table, problems = read_rows(tmp_path, "sub\\c 1.jpg,,+007", header=HEADER)
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
    table, _ = manifest.read_csv(write_table(tmp_path, text.format(body), encoding))
    found = table.frame[["image", "label", "patient"]]
    assert [tuple(row) for row in found.itertuples(index=False)] == cells
    assert any("Windows-1252" in note for note in table.notes) == (encoding == "cp1252")


def test_rows_are_lines_of_the_file(tmp_path):
    table, _ = read_rows(tmp_path, 'c.jpg,a,"two', 'lines"', "", ",,", "d.jpg,b,q")
    assert table.frame["row"].tolist()[6:] == [8, 12]


def test_further_columns_are_kept_as_strings(tmp_path):
    table, problems = read_rows(tmp_path, "c.jpg,a,p,007,x", header=HEADER + ",Score,width")
    assert problems == []
    assert table.frame["score"].iloc[-1] == "007" and table.frame["given_width"].iloc[-1] == "x"
    assert "further columns kept: score, given_width" in table.notes


def test_several_boxes_on_one_photo(tmp_path):
    table, problems = read_rows(
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
    table, problems = read_rows(tmp_path, f"c.jpg,c,p,{value}", header=HEADER + ",exclude")
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
    table, problems = read_rows(tmp_path, *rows, header=HEADER + ",split", good=False)
    assert problems == []
    assert table.frame["split"].tolist() == ["train", "validation", "test"] * 2


def _print(tmp_path, change=None, header=BOXED):
    frame = read_rows(tmp_path, "c.jpg,a,p,1,2,3,4", header=header)[0].frame.assign(
        content="0" * 64
    )
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
        table, _ = read_rows(tmp_path, *rows, header="image,label", good=False)
        prints.add(manifest.fingerprint(table.frame.assign(content="0")))
    assert len(prints) == 1


def test_the_order_of_identities_does_not_depend_on_how_a_table_is_sorted(tmp_path):
    rows = [f"{i % 5}.jpg,{'ab'[i % 2]},p{i % 3},{i},2,3,4" for i in range(12)]
    settled = []
    for order in (rows, rows[::-1], sorted(rows, key=lambda row: row[::-1])):
        table, _ = read_rows(tmp_path, *order, header=BOXED, good=False)
        found = manifest.in_order(dataclasses.replace(table, frame=table.frame.assign(content="0")))
        settled.append((found.frame.drop(columns="row"), manifest.fingerprint(found.frame)))
        assert found.frame.index.tolist() == list(range(12))
        lines = dict(zip(table.frame["name"], table.frame["row"], strict=True))
        assert dict(zip(found.frame["name"], found.frame["row"], strict=True)) == lines
    assert all(one.equals(settled[0][0]) and key == settled[0][1] for one, key in settled)
