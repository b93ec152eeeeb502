"""A file that the table writes in another form is found, or its neighbour is named."""

import csv
import unicodedata

import pytest

from dermjax.data import file_names, layouts, masks
from dermjax.data.importers import folders
from dermjax.data.manifest import ManifestError
from tests.data.miniatures import write_photo


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfd(text):
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def clinic(tmp_path):
    """A writer of photographs, and of a table that names them as it likes."""

    def write(on_disk, in_table):
        rows = []
        for i, (there, named) in enumerate(zip(on_disk, in_table, strict=True)):
            if there:
                write_photo(tmp_path / there, i)
            rows.append([named, "ab"[i % 2], f"p{i}"])
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["image", "label", "patient"], *rows])
        return tmp_path / "t.csv"

    return write


def load(table):
    return layouts.load(table, cache_dir=table.parent / ".cache")


NAMES = [f"Müller é{i}.png" for i in range(6)]
FORMS = {
    "composed in the table": ([nfd(n) for n in NAMES], [nfc(n) for n in NAMES]),
    "composed on the disk": ([nfc(n) for n in NAMES], [nfd(n) for n in NAMES]),
    "case of the ending": ([n.replace(".png", ".PNG") for n in NAMES], NAMES),
    "both, and a folder": ([nfd(f"ä/{n}") for n in NAMES], [f"ä/{n[:-3]}PnG" for n in NAMES]),
    "zero-width space": (NAMES, [f"{n[:-4]}\u200b.png" for n in NAMES]),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_a_name_are_found_and_told(clinic, form):
    on_disk, in_table = FORMS[form]
    plain = load(clinic(in_table, in_table)) if form == "case of the ending" else None
    for file in (clinic([None] * 6, in_table).parent).rglob("*.png"):
        file.unlink()
    found = load(clinic(on_disk, in_table))
    assert (found.frame["width"] > 0).all() and set(found.frame["image"]) == set(in_table)
    (told,) = [note for note in found.notes if "another form" in note]
    assert told.startswith("rows 2, 3, 4, 5, 6, 7: ")
    # The name is the table's: the same data have the same fingerprint on every disk.
    assert plain is None or found.fingerprint == plain.fingerprint


def test_names_as_they_are_written_come_first(clinic):
    """Two photographs whose names differ in the case of their endings alone."""
    names = ["a.png", "a.PNG", "b.png", "c.png", "d.png", "e.png"]
    table = clinic(names, names)
    found = load(table)
    assert found.frame["content"].nunique() == 6 and not found.notes


def test_one_file_under_two_names_is_told(clinic):
    on_disk = ["a.png", None, "b.png", "c.png", "d.png", "e.png", "f.png"]
    table = clinic(on_disk, ["a.png", "a.PNG", "b.png", "c.png", "d.png", "e.png", "f.png"])
    with pytest.raises(ManifestError, match="rows 2, 3: the same image and box more than once"):
        load(table)


@pytest.mark.parametrize(
    ("there", "named"),
    [("IMG_7.png", "img_7.png"), ("P7.jpeg", "P7.jpg"), ("P007.png", "P7.png")],
)
def test_the_neighbour_of_a_missing_file_is_named(clinic, there, named):
    on_disk = ["b0.png", "b1.png", "b2.png", "b3.png", "b4.png", "b5.png", there]
    with pytest.raises(ManifestError) as caught:
        load(clinic(on_disk, [*on_disk[:6], named]))
    (told,) = [line for line in caught.value.problems if "not found" in line]
    assert told.startswith("row 8: ") and repr(named) in told and repr(there) in told


def test_several_that_fit_are_not_guessed_among(tmp_path):
    for name in ("a.PNG", "a.Png"):
        (tmp_path / name).write_text("")
    assert file_names.find([str(tmp_path / "a.png")]) == {}
    assert file_names.find([str(tmp_path / "none" / "a.png"), "/"]) == {}


def test_redactions_and_masks_find_the_photograph(clinic):
    table = clinic(NAMES, NAMES)
    (table.parent / "t.redact.csv").write_text(
        "image,x,y,w,h\n" + "\n".join(f"{nfd(name)[:-3]}PNG,0,0,2,2" for name in NAMES)
    )
    frame = load(table).frame
    assert (frame["redact"] == "0,0,2,2").all()
    write_photo(table.parent / "masks" / f"{nfd(NAMES[0])[:-4]}.PNG", 0)
    found = masks.locate(frame, str(table.parent))
    assert found[0].endswith(".PNG") and found[1:] == [""] * 5


def test_importers_join_ids_and_files_that_read_the_same():
    photos = {nfd("é1"): "images/e.jpg", "ISIC_2": "images/2.jpg", "X": "1.jpg", "x": "2.jpg"}
    ids = [nfc("é1"), "isic_2", "X", "ISIC_3", ""]
    places = ["images/e.jpg", "images/2.jpg", "1.jpg", "images/ISIC_3", ""]
    assert folders.located(ids, photos) == places
