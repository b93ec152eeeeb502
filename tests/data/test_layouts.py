"""The one door: CSVs and known folders load; everything wrong with files is told together."""

import os
from pathlib import Path

import pytest
from PIL import Image

from dermjax.data import layouts, links, splits
from dermjax.data.manifest import ManifestError
from dermjax.data.work import Work
from tests.data.miniatures import rows_of, write_photos
from tests.data.miniatures import write_photo as _photo

SHARED = Path(os.environ.get("DERMJAX_SHARED", Path(__file__).parents[2] / ".." / "shared"))
NAMES = [f"photos/bild ä {index}.png" for index in range(6)]


def _real(name):
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no data/{name} beside the repository")
    return folder


@pytest.fixture
def clinic(tmp_path):
    """A folder with a correct table of six photos; returns a writer of further rows."""
    folder = tmp_path / "my clinic é"
    rows = [f"{row},,,,," for row in write_photos(folder, NAMES)]

    def write(*more):
        text = "\n".join(["image,label,patient,x,y,w,h,exclude", *rows, *more])
        (folder / "table.csv").write_text(text, encoding="utf-8")
        return folder / "table.csv"

    return write


def _load(source, **options):
    return layouts.load(source, **{"cache_dir": Path(source).parent / ".cache", **options})


def _problems(source, **options):
    with pytest.raises(ManifestError) as caught:
        _load(source, **options)
    return caught.value.problems


def test_csv(clinic):
    told = []
    table = _load(
        clinic(), work=Work(track=lambda items, total, label: told.append(total) or items)
    )
    assert len(table.frame) == 6 and told == [6]
    assert (table.frame["width"] == 12).all() and (table.frame["height"] == 10).all()
    assert table.frame["content"].str.len().eq(64).all() and len(table.fingerprint) == 16
    assert (clinic().parent / ".cache" / "scan.csv").is_file()


def test_file_problems_are_told_with_table_problems(clinic):
    photos = clinic().parent / "photos"
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("no image")
    _photo(photos / "cut.png", 9, (60, 60))
    (photos / "cut.png").write_bytes((photos / "cut.png").read_bytes()[:-4000])
    problems = _problems(
        clinic(
            "photos/gone.jpg,a,p9,,,,,",
            "photos/empty.jpg,a,p9,,,,,",
            "photos/text.jpg,a,p9,,,,,",
            "photos/cut.png,a,p9,,,,,",
            "photos/bild ä 0.png,a,p0,5,5,8,2,",
            "photos/bild ä 1.png,b,p1,0,0,x,2,",
            "photos,a,p9,,,,,",
            "photos/gone2.jpg,z,p9,,,,,",
            "photos/bild ä 2.png,a,p2,-1,0,2,2,",
        )
    )
    assert problems == [
        "row 13: box is not numeric (x='0', y='0', w='x', h='2'): write pixels such as 12 or 12.5 "
        "(in 'photos/bild ä 1.png')",
        "rows 8, 15: file not found: 'photos/gone.jpg', 'photos/gone2.jpg'",
        "row 9: the file is empty (0 bytes): copy it again: 'photos/empty.jpg'",
        "row 10: not an image file that can be read: save it as JPEG: 'photos/text.jpg'",
        problems[4],
        "row 14: is a folder, not a file: 'photos'",
        "rows 12, 16: box outside the image (x=5 y=5 w=8 h=2 in photos/bild ä 0.png of 12 x 10 "
        "px): correct it, counted on the upright photograph (in 'photos/bild ä 0.png', "
        "'photos/bild ä 2.png')",
        "row 15: class 'z' has 1 of the 3 patients it needs, one each for train, validation and "
        "test ('patient:p9'): add patients, merge the class into another or exclude it (in "
        "'photos/gone2.jpg')",
    ]
    assert problems[4].startswith("row 11: truncated or damaged image (")
    assert problems[4].endswith("copy it again: 'photos/cut.png'")


def test_bad_files_can_be_skipped_and_are_listed(clinic):
    photos = clinic().parent / "photos"
    rows = [f"photos/more{index}.png,{'ab'[index % 2]},q{index},,,,," for index in range(20)]
    for index in range(20):
        _photo(photos / f"more{index}.png", 100 + index)
    (photos / "text.jpg").write_text("no image")
    table = clinic(*rows, "photos/text.jpg,a,p9,,,,,", "photos/gone.jpg,b,p9,,,,,")
    assert len(_problems(table)) == 2
    found = _load(table, on_bad_image="skip")
    assert found.frame["exclude"].tolist() == [""] * 26 + ["all"] * 2
    listed = [note for note in found.notes if note.startswith("left out: ")]
    assert len(listed) == 2 and "row 28" in listed[0] and "text.jpg" in listed[0]
    assert listed[1] == "left out: row 29: file not found: 'photos/gone.jpg'"


def test_many_bad_files_are_not_skipped(clinic):
    """A folder that was not mounted must not become a small data set."""
    table = clinic("photos/gone.jpg,a,p9,,,,,")
    assert _problems(table, on_bad_image="skip") == [
        "row 8: file not found: 'photos/gone.jpg' (more than 10% in all: too many to skip)"
    ]
    with pytest.raises(ValueError, match="on_bad_image 'ignore' is unknown: use refuse or skip"):
        _load(table, on_bad_image="ignore")


def test_excluded_rows_need_no_file(clinic):
    table = _load(clinic("photos/gone.jpg,a,p9,0,0,-1,x,yes"))
    last = table.frame.iloc[-1]
    assert (last["width"], last["height"], last["content"], last["exclude"]) == (0, 0, "", "all")


def test_box_refers_to_the_upright_photo(clinic):
    exif = Image.Exif()
    exif[0x0112] = 6
    photos = clinic().parent / "photos"
    Image.new("RGB", (40, 20)).save(photos / "turned.jpg", exif=exif)
    table = _load(clinic("photos/turned.jpg,a,p9,0,20,20,20,"))
    assert table.frame[["width", "height"]].iloc[-1].tolist() == [20, 40]
    assert "of 20 x 40 px" in _problems(clinic("photos/turned.jpg,a,p9,20,0,20,20,"))[0]


def test_copies_of_a_file_are_one_group(clinic):
    photos = clinic().parent / "photos"
    (photos / "copy.png").write_bytes((photos / "bild ä 0.png").read_bytes())
    table = _load(clinic("photos/copy.png,b,p9,,,,,"))
    assert table.frame["group"].iloc[-1] == table.frame["group"].iloc[0] == "patient:p0"
    assert table.notes[-1] == (
        "photographs present under several names: 1, 1 of them with different labels "
        "('photos/bild ä 0.png', 'photos/copy.png'); they stay in one set"
    )


def test_copies_leak_in_a_given_split(clinic, tmp_path):
    clinic()
    photos = tmp_path / "my clinic é" / "photos"
    (photos / "bild ä 2.png").write_bytes((photos / "bild ä 0.png").read_bytes())
    rows = [f"{row},{['train', 'val', 'test'][i // 2]}" for i, row in enumerate(rows_of(NAMES))]
    path = photos.parent / "given.csv"
    path.write_text("\n".join(["image,label,patient,split", *rows]), encoding="utf-8")
    assert _problems(path) == [
        "rows 2, 4: the split leaks: file 'photos/bild ä 0.png' in train and validation: give it "
        "one set, leave the split out, or accept it: "
        "--config.data.allow=\"['file:photos/bild ä 0.png']\" (in 'photos/bild ä 2.png')"
    ]


def test_fingerprint_is_of_the_data_not_of_the_place(clinic, tmp_path):
    first = _load(clinic())
    moved = tmp_path / "moved"
    os.rename(clinic().parent, moved)
    for path in moved.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    second = _load(moved / "table.csv")
    assert second.fingerprint == first.fingerprint
    _photo(moved / "photos" / "bild ä 3.png", 77)
    assert _load(moved / "table.csv").fingerprint != first.fingerprint


def test_unknown_sources(clinic, tmp_path):
    assert _problems(tmp_path / "none") == ["no such file or folder: check the path"]
    with pytest.raises(ValueError, match="layout 'isic' is unknown: use one of auto, csv, pad"):
        _load(clinic(), layout="isic")
    assert _problems(clinic(), layout="ham10000") == [
        "is a file, but layout 'ham10000' needs its folder"
    ]
    assert _problems(clinic().parent, layout="csv") == [
        "is a folder, but layout 'csv' needs the CSV file itself"
    ]
    assert _problems(clinic().parent) == [
        "is a folder of no known layout (pad_ufes20, ham10000, isic2018, isic2019, isic2020, "
        "fitzpatrick17k, scin, ddi, derm7pt, coco, voc, yolo, class_folders): name a CSV instead "
        "such as 'table.csv' in it, with the columns image, label and patient"
    ]
    assert (
        "nearly pad_ufes20 (no metadata.csv): name"
        in (_problems(clinic().parent, layout="pad_ufes20")[0])
    )


def test_pad_ufes20():
    table = layouts.load(_real("pad_ufes20"), cache_dir=_cache(), layout="pad_ufes20")
    frame = table.frame
    assert len(frame) == 411 and frame["x"].notna().sum() == 403
    assert frame["group"].nunique() == frame["patient"].nunique() == 322
    # 358 lesion ids, some of them at several patients: patient_lesion keeps those apart.
    assert frame["lesion"].str.rsplit("_", n=1).str[-1].nunique() == 358
    assert frame["label"].value_counts().to_dict() == {
        "ACK": 151,
        "BCC": 119,
        "NEV": 50,
        "SEK": 46,
        "SCC": 35,
        "MEL": 10,
    }
    assert {"age", "sex", "skin_type", "site"} <= set(frame)
    assert "images without a box: 8 (used whole)" in table.notes
    sets = splits.split_by_group(frame["label"], frame["group"], seed=0)
    assert (frame.assign(made=sets).groupby("group")["made"].nunique() == 1).all()
    assert len(set(zip(frame["label"], sets, strict=True))) == 18


def test_pad_ufes20_in_its_original_form_is_refused_for_its_size():
    problems = _problems(_real("pad_ufes20_fixture"), cache_dir=_cache())
    assert [line.split(" of the 3")[0] for line in problems] == [
        "rows 12, 13: class 'MEL' has 1",
        "rows 14, 15: class 'NEV' has 1",
        "rows 16, 17: class 'SCC' has 2",
        "rows 18, 19: class 'SEK' has 2",
    ]


@pytest.mark.parametrize(
    "name, images, groups, classes",
    [("ham10000", 4061, 4061, 7), ("ham10000_mel_nv", 1999, 1563, 2)],
)
def test_ham10000(name, images, groups, classes):
    table = layouts.load(_real(name), cache_dir=_cache())
    assert len(table.frame) == images and table.frame["group"].nunique() == groups
    assert len(table.classes) == classes
    assert "HAM10000 has no patient ids: grouped by lesion_id" in table.notes
    assert {"dx_type", "age", "sex", "site"} <= set(table.frame)


def test_a_public_split_of_ham10000_that_leaks_200_lesions_is_refused():
    folder = _real("ham10000_mel_nv")
    first, near = _problems(folder, cache_dir=_cache(), official_split=True)
    assert "(200 lesions): give each one set" in first and "the split leaks: lesion 'HAM" in first
    assert "near duplicate" in near and "--config.data.allow=\"['near_duplicate" in near
    allow = ["lesions", "near_duplicates"]
    allowed = layouts.load(folder, cache_dir=_cache(), official_split=True, allow=allow)
    assert len(links.accepted(allowed.frame, allow)["lesions"]) == 200
    assert any("no validation set: a quarter of the training" in note for note in allowed.notes)
    frame = layouts.load(folder, cache_dir=_cache()).frame
    split = splits.split_by_group(frame["label"], frame["group"], seed=0)
    assert (frame.assign(made=split).groupby("lesion")["made"].nunique() == 1).all()
    both = frame[frame["official_split"] != ""].groupby("lesion")["official_split"].nunique()
    assert (both > 1).sum() == 200  # counted without our groups


def test_ham10000_as_a_csv(tmp_path):
    folder = _real("ham10000")
    lines = (folder / "index.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:301]]
    text = ["image,label,lesion,dx_type"] + [
        f"{folder.resolve().as_posix()}/images/{row[0]}.jpg,{row[2]},{row[1]},{row[3]}"
        for row in rows
        if row[2] in ("nv", "bkl", "mel")
    ]
    (tmp_path / "ham.csv").write_text("\n".join(text))
    table = _load(tmp_path / "ham.csv")
    assert len(table.frame) == len(text) - 1 and set(table.classes) <= {"nv", "bkl", "mel"}


_CACHE = []


@pytest.fixture(autouse=True)
def _one_cache(tmp_path_factory):
    if not _CACHE:
        _CACHE.append(tmp_path_factory.mktemp("cache"))


def _cache():
    return _CACHE[0]


def test_original_folders_are_found_in_parts(tmp_path):
    ham = tmp_path / "ham"
    lines = ["lesion_id;image_id;dx;dx_type;age;sex;localization"]
    for index in range(6):
        _photo(ham / f"HAM10000_images_part_{index % 2 + 1}" / f"ISIC_{index}.jpg", index)
        lines.append(f"HAM_{index};ISIC_{index};{'nv' if index % 2 else 'mel'};x;1;m;back")
    (ham / "HAM10000_metadata.csv").write_text("\n".join(lines))
    table = _load(ham)
    assert table.frame["image"][1] == "HAM10000_images_part_2/ISIC_1.jpg"
    text = "\n".join(line.split(";", 1)[1] for line in lines)
    (ham / "HAM10000_metadata.csv").write_text(text + "\nISIC_9;nv;x;1;m;back")
    assert _problems(ham) == ["row 8: file not found: 'images/ISIC_9.jpg'"]

    pad = tmp_path / "pad"
    lines = ["img_id,diagnostic,patient_id,lesion_id,gender"]
    for index in range(6):
        name = f"PAT_{index}_1_2.png"
        _photo(pad / "images" / f"imgs_part_{index % 3 + 1}" / name, index)
        lines.append(f"{name},{'NEV' if index % 2 else 'MEL'},PAT_{index},1,F")
    (pad / "metadata.csv").write_text("\n".join(lines))
    table = _load(pad)
    assert table.frame["image"][1] == "images/imgs_part_2/PAT_1_1_2.png"
    assert table.frame["lesion"][1] == "PAT_1_1" and (table.frame["sex"] == "F").all()
    assert table.frame["group"].nunique() == 6
    (pad / "boxes.csv").write_text(
        "img_id,x,y,w,h\nPAT_0_1_2.png,0,0,5,5\nPAT_0_1_2.png,2,2,9,5\nother.png,1,1,1,1\n"
    )
    table = _load(pad)
    assert table.frame["name"].tolist()[:2] == [
        f"images/imgs_part_1/PAT_0_1_2.png#xywh={box}" for box in ("0,0,5,5", "2,2,9,5")
    ]
    assert table.frame["row"].tolist() == [2, 2, 3, 4, 5, 6, 7]
    assert table.notes[:2] == (
        "images without a box: 5 (used whole)",
        "rows of boxes.csv that match no img_id of metadata.csv: 1",
    )


def test_a_table_without_its_columns_is_not_of_the_layout(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "metadata.csv").write_text("img_id,patient_id\na,b\n")
    (tmp_path / "index.csv").write_text("image_id,dx\na,b\n")
    os.rmdir(tmp_path / "images")
    problem = _problems(tmp_path, cache_dir=tmp_path)[0]
    assert "pad_ufes20 (metadata.csv has no column diagnostic)" in problem
    assert "ham10000 (no folder images or HAM10000_images_part_*)" in problem
