"""Labels that people gave come into the table; nobody's label is overwritten, nothing is lost."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dermjax.cli import manifest as command
from dermjax.data import label_merge, layouts, manifest
from dermjax.data.problems import ManifestError
from tests.data.miniatures import write_photo

PHOTOS = """\
image,label,patient,site,x,y,w,h
a.jpg,nevus,p1,arm,,,,
b.jpg,Melanoma,p2,"leg, left",,,,
c.jpg,,p3,arm,,,,
d.jpg,,p4,arm,,,,
e.jpg,,p5,arm,1,2,30,40.5
e.jpg,,p5,arm,50,2,30,40
f.jpg,,p6,arm,5,5,9,9
"""
HEADER = "image,x,y,w,h,label,verdict,labelled_by,labelled_at\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos.csv").write_text(PHOTOS)
    return tmp_path


def write(folder, text, name="labels.csv", encoding="utf-8-sig"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def run(folder, *labels, out="photos2.csv", source="photos.csv", more=()):
    """Exit status and the rows of the written table, if there is one."""
    given = [str(folder / source), *(f"--labels={path}" for path in labels), *more]
    status = command.main([*given, f"--out={folder / out}"])
    path = folder / out
    if not path.exists():
        return status, None
    with path.open(newline="", encoding="utf-8") as file:
        return status, list(csv.DictReader(file))


def labels_of(rows):
    return [row["label"] for row in rows]


def test_blank_labels_are_filled_in_the_tables_own_spelling(folder, capsys):
    labels = write(
        folder,
        HEADER + "c.jpg,,,,,MELANOMA,,Dr A,2026-01-02T10:00:00+01:00\n"
        "a.jpg,,,,,Nevus,,Dr A,\n"
        "e.jpg,50,2,30,40,nevus,,,\n",
    )
    status, rows = run(folder, labels)
    assert status == 0
    assert labels_of(rows) == ["nevus", "Melanoma", "Melanoma", "", "", "nevus", ""]
    assert rows[2]["labelled_by"] == "Dr A"
    assert rows[2]["labelled_at"] == "2026-01-02T10:00:00+01:00"
    assert rows[0]["labelled_by"] == ""  # that label was there before
    assert [row["site"] for row in rows][:2] == ["arm", "leg, left"]
    out, err = capsys.readouterr()
    assert "labels: filled in 2, there already 1, " in out and err == ""
    assert "unlabelled rows: 3 " in out  # of the new table
    table, problems = manifest.read_csv(folder / "photos2.csv")
    assert not [line for line in problems if "patient" not in line]
    assert table.frame["label"].tolist() == labels_of(rows)


def test_a_contradicted_label_stays_is_listed_and_the_rest_is_written(folder, capsys):
    labels = write(folder, HEADER + "a.jpg,,,,,melanoma,,Dr A,\nc.jpg,,,,,nevus,,,\n")
    status, rows = run(folder, labels)
    assert status == 1 and labels_of(rows)[:3] == ["nevus", "Melanoma", "nevus"]
    assert (
        "conflict: row 2, 'a.jpg': 'nevus' in photos.csv, 'Melanoma' in labels.csv (row 2, by "
        "Dr A): 'nevus' stays" in capsys.readouterr().err
    )


def test_two_who_disagree_leave_it_blank_two_who_agree_are_both_named(folder, capsys):
    one = write(folder, HEADER + "c.jpg,,,,,nevus,,Dr A,2026\nd.jpg,,,,,nevus,,Dr A,\n", "1.csv")
    two = write(folder, HEADER + "c.jpg,,,,,Nevus,,Dr B,2027\nd.jpg,,,,,,cannot tell,,\n", "2.csv")
    status, rows = run(folder, one, two)
    assert status == 1 and labels_of(rows)[2:4] == ["nevus", ""]
    assert rows[2]["labelled_by"] == "Dr A; Dr B" and rows[2]["labelled_at"] == "2026; 2027"
    assert rows[3]["verdict"] == rows[3]["labelled_by"] == ""
    assert (
        "'d.jpg': 'nevus' in 1.csv (row 3, by Dr A), 'cannot tell' in 2.csv (row 3): left blank"
        in capsys.readouterr().err
    )


def test_verdicts_are_kept_and_what_is_no_lesion_is_left_out(folder, capsys):
    labels = write(folder, HEADER + "c.jpg,,,,,,Cannot Tell,Dr A,\nd.jpg,,,,,,not a lesion,,\n")
    status, rows = run(folder, labels)
    assert status == 0
    assert [(row["label"], row["verdict"], row["exclude"]) for row in rows[2:4]] == [
        ("", "cannot tell", ""),
        ("", "not a lesion", "all"),
    ]
    assert "rows left out of everything: 1" in capsys.readouterr().out
    # Somebody else can tell; that it is no lesion is for a person to take back.
    more = write(folder, HEADER + "c.jpg,,,,,nevus,,Dr B,\nd.jpg,,,,,nevus,,,\n", "more.csv")
    status, rows = run(folder, more, source="photos2.csv", out="photos3.csv")
    assert status == 1 and "'not a lesion' stays" in capsys.readouterr().err
    assert [(row["label"], row["verdict"], row["labelled_by"]) for row in rows[2:4]] == [
        ("nevus", "", "Dr B"),
        ("", "not a lesion", ""),
    ]


def test_merging_again_changes_nothing(folder):
    labels = write(
        folder,
        HEADER
        + "c.jpg,,,,,nevus,,A,1\nd.jpg,,,,,,cannot tell,A,1\nf.jpg,5,5,9,9,,not a lesion,,\n",
    )
    run(folder, labels)
    status, _ = run(folder, labels, source="photos2.csv", out="photos3.csv")
    assert status == 0
    assert (folder / "photos3.csv").read_bytes() == (folder / "photos2.csv").read_bytes()


def test_photographs_are_named_as_seen_from_the_new_tables_folder(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    labels = write(folder, HEADER + "c.jpg,,,,,nevus,,,\n", "deep/labels.csv")
    _, rows = run(folder, labels, out="deep/er/photos2.csv")
    assert rows[2]["image"] == "../../c.jpg" and rows[2]["label"] == "nevus"


def test_a_table_may_name_photographs_as_seen_from_its_own_folder(folder):
    (folder / "label").mkdir()
    labels = write(folder, HEADER + "../c.jpg,,,,,nevus,,,\n", "label/next.csv")
    status, rows = run(folder, labels)
    assert status == 0 and rows[2]["label"] == "nevus"


EXCEL = [
    ("image;x;y;w;h;label;verdict\r\ne.jpg;1,0;2;30,00;40,5;nevus;\r\n", "utf-8-sig"),
    ("sep=;\r\nimage;x;y;w;h;label;;;\r\ne.jpg;1;2;30;40,5;nevus;;;\r\n;;;;;;;;\r\n", "cp1252"),
    ("image\tlabel\tx\ty\tw\th\tÄrztin\r\ne.jpg\tnevus\t1\t2\t30\t40.5\tÖ\r\n", "utf-16"),
    ("Label,IMAGE,h,w,y,x,why\nnevus,e.jpg,40.50,30.0,2.00,1,uncertain\n", "utf-8"),
    ('label,image\nnevus,"e.jpg#xywh=1,2,30,40.5"\n', "utf-8"),
    ("image;x;y;w;h;label;von\r\ne.jpg;1;2;30;40,5;nevus;Grün\r\n", "cp1252"),
]


@pytest.mark.parametrize("text, encoding", EXCEL)
def test_tables_as_spreadsheets_write_them(folder, text, encoding):
    status, rows = run(folder, write(folder, text, encoding=encoding))
    assert status == 0 and labels_of(rows)[4:6] == ["nevus", ""]


def test_a_filled_list_of_what_to_label_is_read_and_its_blank_rows_counted(folder, capsys):
    text = (
        "image,label,patient,x,y,w,h,site,rank,why\n"
        "e.jpg,nevus,p5,1,2,30,40.5,arm,1,typical\n"
        "e.jpg,cannot tell,p5,50,2,30,40,arm,2,typical\n"
        "c.jpg,,p3,,,,,arm,3,typical\n"
        "d.jpg,unknown,p4,,,,,arm,4,typical\n"
        "f.jpg,nevus,p6,,,,,arm,5,typical\n"  # the only row of its photograph
    )
    status, rows = run(folder, write(folder, text, "next.csv"))
    assert status == 0 and labels_of(rows)[2:] == ["", "", "nevus", "", "nevus"]
    assert rows[5]["verdict"] == "cannot tell"
    assert "rank" not in rows[0] and rows[4]["site"] == "arm"
    out = capsys.readouterr().out
    assert "rows without an answer 2" in out
    assert "row 5: label 'unknown' is no label: not taken" in out


REFUSED = [
    (HEADER + "c.jpg,,,,,nevsu,,,\n", "row 2: unknown class 'nevsu'; did you mean 'nevus'?"),
    (HEADER + "c.jpg,,,,,wart,,,\n", "take it as a new class by --new-classes"),
    (HEADER + "z.jpg,,,,,nevus,,,\n", "row 2: no photograph 'z.jpg' in photos.csv"),
    (HEADER + "e.jpg,,,,,nevus,,,\n", "several rows of 'e.jpg' in photos.csv: fill x, y, w, h"),
    (HEADER + "e.jpg,7,7,7,7,nevus,,,\n", "no such box on 'e.jpg' in photos.csv"),
    (HEADER + "a.jpg,7,7,7,7,nevus,,,\n", "no such box on 'a.jpg' in photos.csv"),
    (HEADER + "e.jpg,1. Feb,2,30,40.5,nevus,,,\n", "row 2: box is not numeric (x='1. Feb'"),
    (HEADER + "e.jpg,1,2,,,nevus,,,\n", "box partly blank"),
    (HEADER + "c.jpg,,,,,nevus,cannot tell,,\n", "row 2: a label and a verdict"),
    (HEADER + "c.jpg,,,,,,perhaps,,\n", "unknown verdict 'perhaps': use 'cannot tell' or"),
    ("photo_id,label\nc.jpg,nevus\n", "no column 'image' (found: photo_id, label): add a column"),
    ("filename,label\nc.jpg,nevus\n", "no column 'image' (found: filename, label): rename"),
    ("image,diagnosis\nc.jpg,nevus\n", "rename 'diagnosis' to 'label'?"),
    ("image,label,x,y\nc.jpg,nevus,,\n", "a box needs the columns x, y, w, h: 'w', 'h' missing"),
    (HEADER, "no rows below its header"),
    ("image,label\nc.jpg,nevus,x\n", "3 cells where the header has 2"),
]


@pytest.mark.parametrize("text, words", REFUSED)
def test_what_cannot_be_read_is_said_and_nothing_is_written(folder, capsys, text, words):
    status, rows = run(folder, write(folder, text))
    assert status == 2 and rows is None
    assert words in capsys.readouterr().err


def test_all_that_is_wrong_is_said_at_once(folder):
    one = write(folder, HEADER + "z.jpg,,,,,nevus,,,\nc.jpg,,,,,wart,,,\n", "1.csv")
    two = write(folder, HEADER + "c.jpg,,,,,wrat,,,\n", "2.csv")
    table, _ = layouts.read(folder / "photos.csv", cache_dir=folder)
    with pytest.raises(ManifestError) as caught:
        label_merge.merge(table, [one, two])
    assert [line.split(": ")[0] for line in caught.value.problems] == ["1.csv", "1.csv", "2.csv"]


def test_new_classes_are_taken_on_request_in_one_spelling(folder):
    one = write(folder, HEADER + "c.jpg,,,,,Wart,,,\n", "1.csv")
    two = write(folder, HEADER + "d.jpg,,,,,wart,,,\n", "2.csv")
    status, rows = run(folder, one, two, more=["--new-classes"])
    assert status == 0 and labels_of(rows)[2:4] == ["Wart", "Wart"]


def test_a_table_without_any_label_gets_its_first_ones(folder, capsys):
    (folder / "bare.csv").write_text("image,patient\nc.jpg,1\nd.jpg,2\n")
    labels = write(folder, HEADER + "c.jpg,,,,,nevus,,,\n")
    status, rows = run(folder, labels, source="bare.csv")
    assert status == 2 and rows is None
    assert "the table has no labels yet" in capsys.readouterr().err
    status, rows = run(folder, labels, source="bare.csv", more=["--new-classes"])
    assert status == 0 and labels_of(rows) == ["nevus", ""]


def test_what_is_read_is_not_overwritten(folder, capsys):
    labels = write(folder, HEADER + "c.jpg,,,,,nevus,,,\n")
    before = (folder / "photos.csv").read_bytes(), labels.read_bytes()
    for out in ("photos.csv", "./photos.csv", "labels.csv"):
        assert run(folder, labels, out=out)[0] == 2
        assert "which is read: name another file" in capsys.readouterr().err
    assert before == ((folder / "photos.csv").read_bytes(), labels.read_bytes())


def test_labels_come_into_a_data_sets_folder_too(tmp_path):
    for number in range(6):
        write_photo(tmp_path / "set" / ("mole", "wart")[number % 2] / f"{number}.png", number)
    table, _ = layouts.read(tmp_path / "set", cache_dir=tmp_path)
    image, label = table.frame.loc[0, ["image", "label"]]
    other = next(name for name in table.classes if name != label)
    labels = write(tmp_path, f"{HEADER}{image},,,,,{other},,,\n")
    status, rows = run(tmp_path, labels, source="set")
    assert status == 1 and len(rows) == len(table.frame) and label in labels_of(rows)


def test_boxes_of_photographs_that_exif_turns_are_known_upright(folder):
    """The page has boxes as they are trained on: upright, where the table's are as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    Image.new("RGB", (40, 20), "pink").save(folder / "t.jpg", exif=exif)
    (folder / "photos.csv").write_text(
        "image,label,x,y,w,h,width,height\nt.jpg,,2,3,10,5,40,20\nt.jpg,,20,3,10,5,40,20\n"
    )
    labels = write(folder, HEADER + "t.jpg,12,2,5,10,nevus,,,\n")
    status, rows = run(folder, labels, more=["--new-classes"])
    assert status == 0 and labels_of(rows) == ["nevus", ""]
    scanned, _ = layouts.examine(folder / "photos.csv", cache_dir=folder / ".cache")
    assert scanned.frame.loc[0, list("xywh")].tolist() == [12, 2, 5, 10]


def test_a_quote_before_a_sign_is_a_spreadsheets_unless_a_class_begins_with_it(folder):
    table = (folder / "photos.csv").read_text().replace("nevus", "'@'").replace("Melanoma", "+5")
    (folder / "photos.csv").write_text(table)
    labels = write(folder, HEADER + "c.jpg,,,,,'@',,,\nd.jpg,,,,,''@',,,\nf.jpg,,,,,'+5,,,\n")
    status, rows = run(folder, labels)
    assert status == 0
    assert labels_of(rows) == ["'@'", "+5", "'@'", "'@'", "", "", "+5"]


key = manifest.identity.key
CELL = st.text(st.sampled_from("ab \"',;=+-@Äß黑ش.7"), min_size=1, max_size=8)
NAME = CELL.map(manifest.identity.visible).filter(lambda text: text.strip())
CLASS = NAME.filter(
    lambda text: not manifest.identity.is_nobody(text) and manifest.identity.key(text)
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(NAME, min_size=1, max_size=8, unique_by=lambda text: text.strip().lower()),
    classes=st.lists(CLASS, min_size=1, max_size=4, unique_by=key).filter(
        lambda found: not {key(name[1:]) for name in found if name[0] == "'"} & {*map(key, found)}
    ),
    order=st.randoms(use_true_random=False),
    dialect=st.sampled_from(
        [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "utf-16")]
    ),
    boxed=st.booleans(),
)
def test_any_names_survive_being_written_by_any_spreadsheet(
    tmp_path_factory, names, classes, order, dialect, boxed
):
    """Each row's label, in any order of rows and any dialect, comes to its own row."""
    folder = tmp_path_factory.mktemp("trip")
    delimiter, encoding = dialect
    images = [f"p/{n}{name}.jpg" for n, name in enumerate(names)]
    wanted = {image: order.choice(classes) for image in images}
    known = [[f"known{n}.jpg", name, *[""] * 4] for n, name in enumerate(classes)]
    box = ["1.5", "2.25", "30", "40"] if boxed else [""] * 4

    def table(name, header, rows, delimiter, encoding):
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
        return write(folder, file.getvalue(), name, encoding)

    header = ["image", "label", *"xywh"]
    table("photos.csv", header, [*([i, "", *box] for i in images), *known], ",", "utf-8")
    decimals = [side.replace(".", ",") for side in box] if delimiter == ";" else box
    rows = [[image, wanted[image], *decimals] for image in images]
    order.shuffle(rows)
    labels = table("labels.csv", header, rows, delimiter, encoding)
    made, _ = layouts.read(folder / "photos.csv", cache_dir=folder)
    merged = label_merge.merge(made, [labels])
    manifest.write_csv(merged.manifest, folder / "photos2.csv")
    again, _ = layouts.read(folder / "photos2.csv", cache_dir=folder)
    assert merged.conflicts == ()
    found = dict(zip(again.frame["image"], again.frame["label"], strict=True))
    assert {image: found[image] for image in images} == wanted
