"""What must not be seen is read from wherever a clinic keeps it, and nothing of it is lost."""

import pytest

from dermjax.data import layouts, manifest, redactions
from dermjax.data.problems import ManifestError
from tests.data.miniatures import write_photos

HEADER = "image,label,patient"


@pytest.fixture
def clinic(tmp_path):
    """A writer of a table of six photographs of 60 x 40 px."""
    folder = tmp_path / "clinic"
    rows = write_photos(folder, [f"{i}.png" for i in range(6)], (60, 40))

    def write(header="", *cells):
        cells = [*cells, *[header.count(",") * ","] * 6][:6] if header else [""] * 6
        lines = [
            row + ("," + cell if header else "") for row, cell in zip(rows, cells, strict=True)
        ]
        (folder / "t.csv").write_text("\n".join([HEADER + ("," + header) * bool(header), *lines]))
        return folder / "t.csv"

    return write


COLUMNS = ",".join(redactions.COLUMNS)


def load(path, **options):
    return layouts.load(path, cache_dir=path.parent / "cache", **options)


def test_columns(clinic):
    table = load(clinic(COLUMNS, "1,2,30,10.5", "0,0,5,5"))
    assert table.frame["redact"].tolist() == ["1,2,30,10.5", "0,0,5,5", "", "", "", ""]
    assert not set(redactions.COLUMNS) & set(table.frame)
    assert "photographs with redactions: 2 (blacked out before anything is cut)" in table.notes


def test_a_table_of_its_own_beside_the_other_or_elsewhere(clinic, tmp_path):
    path = clinic(COLUMNS, "1,2,30,10")
    beside = path.parent / "t.redact.csv"
    beside.write_text("image;x;y;w;h\n0.png;5;5;3;3\n0.png;50;1;4;4\nsub/../4.png;0;0;60;40\n")
    frame = load(path).frame
    assert frame["redact"].tolist()[0] == "1,2,30,10;5,5,3,3;50,1,4,4"
    assert frame["redact"].tolist()[4] == "0,0,60,40"
    assert redactions.parse(frame["redact"][0])[2] == (50.0, 1.0, 4.0, 4.0)
    other = tmp_path / "other.csv"
    other.write_text("image,x,y,w,h\nclinic/5.png,1,1,2,2\n")
    elsewhere = load(path, redact=str(other)).frame["redact"]
    assert elsewhere.tolist() == ["1,2,30,10", "", "", "", "", "1,1,2,2"]


def test_they_hold_for_every_row_of_the_photograph(clinic):
    path = clinic("x,y,w,h," + COLUMNS, "0,0,20,20,30,30,5,5")
    path.write_text(path.read_text() + "\n0.png,a,p0,20,0,20,20,1,1,5,5\n")
    frame = load(path).frame
    assert frame["redact"][0] == frame["redact"][6] == "1,1,5,5;30,30,5,5"


def test_the_manifest_reads_back_the_same(clinic, tmp_path):
    path = clinic(COLUMNS, "1,2,30,10")
    (path.parent / "t.redact.csv").write_text("image,x,y,w,h\n0.png,5,5,3.25,3\n")
    table, problems = layouts.read(path, cache_dir=tmp_path)
    assert problems == []
    manifest.write_csv(table, tmp_path / "again.csv")
    again, problems = layouts.read(tmp_path / "again.csv", cache_dir=tmp_path)
    assert problems == [] and again.frame["redact"].tolist() == table.frame["redact"].tolist()


def test_they_are_part_of_what_the_data_are(clinic):
    assert load(clinic(COLUMNS, "1,2,3,4")).fingerprint != load(clinic()).fingerprint


@pytest.mark.parametrize(
    "cells, text",
    [
        ("1,2,30,", "row 2: redaction partly blank (redact_x='1', redact_y='2', redact_w='30', "),
        ("1,2,-3,4", "row 2: redaction without area (redact_x='1', "),
        ("a,2,3,4", "row 2: redaction is not numeric (redact_x='a', "),
        ("60,0,5,5", "row 2: redaction outside the image: count it on the upright photograph"),
        ("0,-9,5,8", "row 2: redaction outside the image"),
    ],
)
def test_what_would_hide_nothing_is_told(clinic, cells, text):
    with pytest.raises(ManifestError) as caught:
        load(clinic(COLUMNS, cells))
    (problem,) = caught.value.problems
    assert problem.startswith(text)


@pytest.mark.parametrize("cell", ["1,2,3", "1,2,3,4,5", "nonsense", "1,2,3,4;;x,2,3,4"])
def test_a_cell_of_the_manifest_that_is_no_boxes_is_told(clinic, cell):
    path = clinic("redact", f'"{cell}"')
    with pytest.raises(ManifestError, match="row 2: redaction"):
        load(path)


def test_some_of_the_columns_are_told(clinic):
    with pytest.raises(ManifestError, match="a redaction needs redact_x, .*'redact_h' missing"):
        load(clinic("redact_x,redact_y,redact_w", "1,2,3"))


def test_a_name_that_fits_no_photograph_is_told(clinic):
    path = clinic()
    (path.parent / "t.redact.csv").write_text("image,x,y,w,h\n7.png,5,5,3,3\n1.png,0,0,a,1\n")
    with pytest.raises(ManifestError) as caught:
        load(path)
    assert caught.value.problems == [
        "redactions: row 2: no photograph '7.png' in the table: what it should black out would be "
        "seen",
        "row 3: redactions: redaction is not numeric (redact_x='0', redact_y='0', redact_w='a', "
        "redact_h='1'): write pixels such as 12 or 12.5 (in '1.png')",
    ]
    (path.parent / "t.redact.csv").write_text("photo,x,y\n7.png,5,5\n")
    with pytest.raises(ManifestError, match="redactions needs the columns 'image', 'w', 'h'"):
        load(path)
    with pytest.raises(ManifestError, match="none.csv: 1 problem\n- cannot be read"):
        load(path, redact=str(path.parent / "none.csv"))
