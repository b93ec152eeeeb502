"""Tables as programs and public archives write them: read, or refused with what to do."""

import string

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermjax.data import boxes, encodings, layouts, manifest
from dermjax.data.problems import ManifestError
from tests.data.miniatures import rows_of, write_photo


def _table(folder, header, rows, encoding="utf-8", first=""):
    folder.mkdir(exist_ok=True)
    text = "\r\n".join([header, *rows])
    (folder / "photos.csv").write_bytes((first + text).encode(encoding))
    return folder / "photos.csv"


GOOD = rows_of(f"{i}.jpg" for i in range(6))


@pytest.mark.parametrize("first", ["sep=;\r\n", "sep=;\n", '"sep=;"\r\n', "SEP=;\r", "\nsep=;\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_excels_first_line_is_no_header(tmp_path, first, encoding):
    rows = [row.replace(",", ";") for row in [*GOOD, "7.jpg,nan,q"]]
    path = _table(tmp_path, "image;label;patient", rows, encoding, first)
    found, problems = manifest.read_csv(path)
    assert found.frame["label"].tolist()[:2] == ["a", "b"]
    above = first.strip("\r\n") and len(first.splitlines())
    assert found.frame["row"].tolist() == list(range(2 + above, 9 + above))
    (line,) = (line for line in (*problems, *found.notes) if "'nan'" in line)
    assert f"row {8 + above}:" in line and "'7.jpg'" in line


def test_the_delimiter_that_excel_names_is_taken(tmp_path):
    """Even where another one is commoner in the header."""
    path = _table(tmp_path, "image|label|patient|a,b,c,d,e", ["1.jpg|x|p|1"], first="sep=|\n")
    frame, problems, _ = manifest.read_table(path)
    assert not problems and frame["label"].tolist() == ["x"] and frame["row"].tolist() == [3]


WESTERN = ["Ekzem groß", "Rosácea", "Müller", "naïve – alt", "38 °C", "à l’œil", "É"]
OTHERS = {
    "gb18030": ["银屑病", "痤疮"],
    "gbk": ["男", "女"],
    "big5": ["銀屑病"],
    "cp932": ["乾癬", "にきび"],
    "euc_jp": ["湿疹"],
    "cp949": ["건선", "여드름"],
    "cp1251": ["псориаз", "м"],
    "koi8_r": ["псориаз"],
    "cp1250": ["łuszczyca"],
    "cp1253": ["ψωρίαση"],
    "cp1254": ["hastalığı"],
    "cp1255": ["פסוריאזיס"],
    "cp1256": ["صدفية"],
    "cp874": ["โรคสะเก็ดเงิน"],
    "mac_roman": ["Müller groß"],
}


@pytest.mark.parametrize("word", WESTERN)
def test_western_words_of_a_german_windows_are_read_and_told(tmp_path, word):
    path = _table(tmp_path, "image,label,patient", [f"1.jpg,{word},p"], "cp1252")
    frame, _, notes = manifest.read_table(path)
    assert frame["label"].tolist() == [word]
    assert any("Windows-1252" in note for note in notes)


@pytest.mark.parametrize("encoding", OTHERS)
def test_other_encodings_are_refused_with_how_they_would_read(tmp_path, encoding):
    """A wrong guess makes other classes of the same table, without a word."""
    rows = [f"{i}.jpg,{OTHERS[encoding][i % len(OTHERS[encoding])]},p{i}" for i in range(6)]
    path = _table(tmp_path, "image,label,patient", rows, encoding)
    with pytest.raises(ManifestError) as caught:
        manifest.read_csv(path)
    (line,) = caught.value.problems
    assert "CSV UTF-8" in line
    if encoding in ("gb18030", "gbk", "big5", "cp932", "cp949", "cp1251", "cp1250", "cp1254"):
        assert repr(OTHERS[encoding][0]) in line
    table = _table(tmp_path / "again", "image,label,patient", rows)  # as the line asks
    assert manifest.read_csv(table)[0].frame["label"][0] == OTHERS[encoding][0]


def test_classes_of_yolo_are_read_by_the_same_rule(tmp_path):
    for i in range(6):
        write_photo(tmp_path / "y" / "images" / f"{i}.jpg", i, (60, 40))
        (tmp_path / "y" / "labels").mkdir(exist_ok=True)
        (tmp_path / "y" / "labels" / f"{i}.txt").write_text(f"{i % 2} .5 .5 .5 .5")
    (tmp_path / "y" / "classes.txt").write_bytes("痤疮\n湿疹\n".encode("gbk"))
    with pytest.raises(ManifestError, match="classes.txt.*\n.*UTF-8"):
        layouts.read(tmp_path / "y", cache_dir=tmp_path)


CORNERS = [
    *(("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max")),
    *(("left", "top", "right", "bottom"), ("X1", "Y1", "X2", "Y2"), ("x0", "y0", "x1", "y1")),
    *(
        ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax"),
        ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
    ),
]


@pytest.mark.parametrize("names", CORNERS)
def test_corners_are_boxes_and_told(tmp_path, names):
    header = "image,label,patient," + ",".join(names)
    rows = [f"{row},10.5,20,60,70" for row in GOOD[:-1]]
    found, problems = manifest.read_csv(_table(tmp_path, header, [*rows, GOOD[-1] + ",,,,"]))
    assert not problems
    assert found.frame[["x", "y", "w", "h"]].iloc[0].tolist() == [10.5, 20, 49.5, 50]
    assert found.frame["x"].isna().tolist() == [False] * 5 + [True]
    assert any(names[0].lower() in note and "corners" in note for note in found.notes)
    assert not any("further columns" in note for note in found.notes)


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ("10,20,5,70", "without area"),
        ("10,20,10,70", "without area"),
        ("10,20,x,70", "not numeric"),
        ("10,20,,70", "partly blank"),
        ("0.1,0.2,0.6,0.9", "of a pixel or less"),
        ("0,0,1,1", "of a pixel or less"),
    ],
)
def test_corners_that_make_no_box_are_told_by_row_and_file(tmp_path, corners, words):
    rows = [f"{row},10,20,60,70" for row in GOOD[:-1]] + [f"{GOOD[-1]},{corners}"]
    header = "image,label,patient,xmin,ymin,xmax,ymax"
    _, problems = manifest.read_csv(_table(tmp_path, header, rows))
    assert len(problems) == 1 and words in problems[0]
    assert problems[0].startswith("row 7: ") and "'5.jpg'" in problems[0]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("left", "top", "width", "height"), "name them x, y, w, h"),
        (("bbox",), "'bbox' is not read"),
        (("bbox_x", "bbox_y", "bbox_w", "bbox_h"), "read as the boxes' x, y, w, h"),
        (("bbox_x", "bbox_y", "bbox_width", "bbox_height"), "read as the boxes' x, y, w, h"),
    ],
)
def test_other_names_of_boxes_are_read_or_named(tmp_path, names, told):
    header = "image,label,patient," + ",".join(names)
    rows = [row + ",12" * len(names) for row in GOOD]
    found, problems = manifest.read_csv(_table(tmp_path, header, rows))
    assert not problems and any(told in note for note in found.notes)
    assert found.frame["x"].notna().all() == ("read as" in told)


@settings(deadline=None)
@given(
    left=st.integers(0, 500),
    top=st.integers(0, 500),
    width=st.integers(2, 500),
    height=st.integers(2, 500),
)
def test_corners_and_sides_are_the_same_box(left, top, width, height):
    corners = [left, top, left + width, top + height]
    frame = pd.DataFrame([corners], columns=["x1", "y1", "x2", "y2"], dtype="str")
    found, _ = boxes.from_corners(frame)
    read, problems = boxes.read(found[list(boxes.SIDES)], pd.Series([2]), "box", pd.Series(["a"]))
    assert not problems and read.iloc[0].tolist() == [left, top, width, height]


def _photographs(folder, box):
    rows = []
    for index, row in enumerate(GOOD):
        write_photo(folder / f"{index}.jpg", index, (80, 60))
        rows.append(f"{row},{box(index)}")
    return _table(folder, "image,label,patient,x,y,w,h", rows)


@pytest.mark.parametrize("box", ["0,0,1,1", "0.0,0.0,1.0,1.0", ".2,.1,.5,1", "5,5,1,1"])
def test_shares_of_the_photograph_are_not_taken_for_pixels(tmp_path, box):
    path = _photographs(tmp_path, lambda index: box)
    _, problems = layouts.examine(path, cache_dir=tmp_path / "c", near=0)
    assert len(problems) == 1 and "write pixels, not shares" in problems[0]
    assert "'0.jpg'" in problems[0] and "rows 2, 3" in problems[0]


def test_tiny_boxes_and_one_box_for_all_are_told(tmp_path):
    path = _photographs(tmp_path, lambda index: "3,3,20,5" if index == 4 else f"{index},2,20,30")
    notes = layouts.examine(path, cache_dir=tmp_path / "c", near=0)[0].notes
    assert any("less than 8 px: 1 ('4.jpg')" in note for note in notes)
    path = _photographs(tmp_path, lambda index: "0,0,40,40")
    notes = layouts.examine(path, cache_dir=tmp_path / "c", near=0)[0].notes
    assert any("every box is x=0, y=0, w=40, h=40" in note for note in notes)
    path = _photographs(tmp_path, lambda index: "0,0,80,60")  # the whole photograph is no surprise
    assert not any(
        "box" in n for n in layouts.examine(path, cache_dir=tmp_path / "c", near=0)[0].notes
    )


@pytest.mark.parametrize(
    ("name", "mark"),
    [("HAM10000_metadata", ","), ("HAM10000_metadata.tab", "\t"), ("HAM10000_metadata.csv", ",")],
)
def test_ham10000_as_the_dataverse_names_it(tmp_path, name, mark):
    folder, rows = tmp_path / "ham", []
    for index in range(8):
        part = folder / f"HAM10000_images_part_{1 + index % 2}"
        write_photo(part / f"ISIC_{index:07}.jpg", index)
        cells = [f"HAM_{index // 2}", f"ISIC_{index:07}", ("nv", "mel")[index // 4], "histo"]
        rows.append(mark.join(f'"{cell}"' for cell in cells))
    header = mark.join(["lesion_id", "image_id", "dx", "dx_type"])
    (folder / name).write_text("\n".join([header, *rows]))
    found, _ = layouts.examine(folder, cache_dir=tmp_path / "c", near=0)
    assert len(found.frame) == 8 and (found.frame["width"] > 0).all()
    assert found.classes == ("mel", "nv") and found.frame["group"].nunique() == 4


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=string.ascii_letters + "äöüßéèàçñøå", min_size=1, max_size=12))
def test_utf8_is_never_a_guess(tmp_path_factory, word):
    path = tmp_path_factory.getbasetemp() / "t.txt"
    path.write_bytes(word.encode())
    assert encodings.read_text(path) == (word, [])


@pytest.mark.parametrize("place", ["file", "folder", "above"])
def test_names_that_are_not_utf8_are_refused_in_words(tmp_path, place):
    """As archives of another system unpack: no table can hold them."""
    folder = tmp_path / ("above\udce4" if place == "above" else "data")
    for index in range(6):
        label = ("acne", "eczema\udce4" if place == "folder" else "eczema")[index % 2]
        name = f"{index}\udcfc.jpg" if place == "file" else f"{index}.jpg"
        write_photo(folder / label / "x.jpg", index)
        (folder / label / "x.jpg").rename(folder / label / name)
    with pytest.raises(ManifestError, match=r"not UTF-8.*\\x.*rename"):
        layouts.examine(folder, cache_dir=tmp_path / "c")


def test_every_line_about_rows_names_the_photographs(tmp_path):
    """Of a table with something wrong in every way."""
    header = "image,label,patient,lesion,split,exclude,x,y,w,h,redact_x,redact_y,redact_w,redact_h"
    rows = [f"{i}.jpg,{'ab'[i % 2]},p{i},,{('train', 'test')[i % 2]}," + "," * 7 for i in range(6)]
    rows += [
        "6.jpg,A,p6,,train,,,,,,,,,",
        "7.jpg,a,1.2E+11,,train,,,,,,,,,",
        "8.jpg,a,p8,,hold-out,,,,,,,,,",
        "9.jpg,a,p9,,train,perhaps,,,,,,,,",
        "10.jpg,a,p10,,train,,1,1,0,5,,,,",
        "11.jpg,a,p11,,train,,1,1,,5,,,,",
        "12.jpg,a,p12,,train,,1,1,x,5,,,,",
        "13.jpg,a,p13,,train,,0,0,1,1,,,,",
        "14.jpg,a,p14,,train,,,,,,1,1,0,1",
        "15.jpg,a,p15,,,,,,,,,,,",
        "16.jpg,a,p0,,test,,,,,,,,,",
        "17.jpg,unknown,None,,train,,,,,,,,,",
        "gs://b/18.jpg,a,p18,,train,,,,,,,,,",
        "19.jpg,a",
        "19.jpg,a,p19,,train,,,,,,,,,",
        "20.jpg,rare,p20,,train,,,,,,,,,",
    ]
    manifest_, problems = manifest.read_csv(_table(tmp_path, header, rows))
    lines = [line for line in (*problems, *manifest_.notes) if line.startswith("row")]
    assert len(problems) >= 11
    for line in lines:
        assert ".jpg'" in line or line.startswith("rows without"), line
    for index in (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19):
        assert any(f"{index}.jpg'" in line for line in lines), index
