"""The audit's page: everything that was found is on it, and nothing comes from elsewhere."""

import functools
import html
import re

import numpy as np
import pytest
from etils import epath
from PIL import Image

from dermjax.audit import report
from dermjax.cli import audit as command
from dermjax.experiment import lookalikes
from tests.data.miniatures import rows_of, write_photo


@pytest.fixture
def clinic(tmp_path):
    """Twelve patients with two photographs each; one file twice, under another label."""
    folder = tmp_path / "my clinic <b>"
    rows = []
    for index in range(24):
        write_photo(folder / f"{index}.png", index, (400, 200))
        label = ("acne", "rosacea & more")[index // 2 % 2]
        rows.append(f"{index}.png,{label},p{index // 2},100,40,200,100,{('f', '')[index % 2]}")
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    rows.append("copy.png,acne,q,,,,,f")
    (folder / "t.csv").write_text("\n".join(["image,label,patient,x,y,w,h,sex", *rows]))
    return folder / "t.csv"


def words(text):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.split("<body>")[1])))


def test_the_page_says_what_was_found(clinic, tmp_path):
    found = report.run(str(clinic), epath.Path(tmp_path) / "audit")
    text = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    said = words(text)
    assert "Nothing to refuse" in said and found["problems"] == []
    assert "identical files of two labels 1 (3.png, copy.png) 5, 26" in said
    assert "rows without a box 1 of 25 26" in said
    assert "rosacea & more" in said and "rosacea & more" not in text.split("<body>")[1]
    assert "(unknown) 12" in said and "alpha 0.1" in said
    for name in ("script", "link", "iframe"):
        assert f"<{name}" not in text
    sources = re.findall(r'src="([^"]{5})', text)
    assert set(sources) == {"data:"} and len(sources) == 2 + 2 * 6  # the copies, six a class


def test_leaks_stand_at_the_top(clinic, tmp_path):
    lines = clinic.read_text().splitlines()
    sets = ["split", *(("train", "validation", "test")[i // 4 % 3] for i in range(24)), "test"]
    sets[2] = "test"
    clinic.write_text("\n".join(f"{line},{name}" for line, name in zip(lines, sets, strict=True)))
    report.run(str(clinic), epath.Path(tmp_path) / "audit")
    said = words((tmp_path / "audit" / "audit.html").read_text(encoding="utf-8"))
    assert "Nothing to refuse" not in said
    assert "patient 'p0' in train and test" in said and "file '3.png' in train and test" in said
    assert said.index("patient 'p0' in") < said.index("Findings") < said.index("Classes")


def test_photographs_without_any_table_or_label_are_audited_when_asked(tmp_path, capsys):
    for index in range(6):
        write_photo(tmp_path / "flat" / f"{index}.png", index, (40, 30))
    words_of = [f"data={tmp_path / 'flat'}", f"--out={tmp_path / 'audit'}"]
    assert command.main(words_of) == 2
    assert "--unlabelled of an audit" in capsys.readouterr().err
    assert command.main([*words_of, "--unlabelled"]) == 0
    assert "rows without a label: 6 of 6" in capsys.readouterr().out
    assert (tmp_path / "audit" / "audit.html").exists()


def test_boxes_are_drawn_where_they_are(tmp_path):
    folder = tmp_path / "clinic"
    folder.mkdir()
    for index in range(6):
        Image.new("RGB", (720, 400), (index, 0, 0)).save(folder / f"{index}.png")
    rows = [f"{row},100,40,200,100" for row in rows_of(f"{index}.png" for index in range(6))]
    (folder / "t.csv").write_text("\n".join(["image,label,patient,x,y,w,h", *rows]))
    frame = report.layouts.load(folder / "t.csv", cache_dir=tmp_path).frame.assign(split="train")
    shown = report._Photographs(frame)(frame.iloc[0])
    assert shown.pixels.shape == (200, 360, 3) and shown.note == "train, p0"
    rows, columns = np.nonzero((shown.pixels == 255).all(-1))  # the white outline, at half size
    assert (columns.min(), columns.max()) == (50, 150) and (rows.min(), rows.max()) == (20, 70)


def test_near_duplicates_are_shown_in_pairs(clinic, tmp_path):
    coarse = np.random.default_rng(0).integers(0, 255, (21, 28, 3), np.uint8)
    image = Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)
    image.save(clinic.parent / "one.png")
    image.save(clinic.parent / "two.jpg", quality=60)
    clinic.write_text(
        clinic.read_text() + "\none.png,acne,q1,,,,,f\ntwo.jpg,rosacea & more,q2,,,,,f\n"
    )
    found = report.run(str(clinic), epath.Path(tmp_path) / "audit")
    said = words((tmp_path / "audit" / "audit.html").read_text(encoding="utf-8"))
    part = said[said.rindex("Near duplicates Different files") : said.index("Contact sheet")]
    assert "one.png" in part and "two.jpg" in part and "Photographs that look alike" not in part
    assert f"{found['alike'][0]['bits']} of 256 bits" in part


def test_what_is_redacted_is_black_on_the_page(tmp_path):
    folder = tmp_path / "clinic"
    folder.mkdir()
    for index in range(6):
        Image.new("RGB", (720, 400), (200, 180, 160 + index)).save(folder / f"{index}.png")
    rows = rows_of(f"{index}.png" for index in range(6))
    (folder / "t.csv").write_text("\n".join(["image,label,patient", *rows]))
    (folder / "t.redact.csv").write_text("image,x,y,w,h\n3.png,100,40,200,100\n")
    frame = report.layouts.load(folder / "t.csv", cache_dir=tmp_path).frame.assign(split="train")
    shown = report._Photographs(frame)(frame.iloc[3])
    assert (shown.pixels[22:68, 52:148] == 0).all()  # at half size, but for its soft edge
    assert (shown.pixels[:18] > 100).all() and (shown.pixels[:, 152:] > 100).all()
    first = report._sheet(frame, report._Photographs(frame))
    assert [photo.name for photo in first if photo.label == "b"][0] == "3.png"


def test_an_encoder_shows_its_own_pairs(base, tmp_path):
    folder = epath.Path(tmp_path) / "audit"
    nearest = functools.partial(lookalikes.nearest_pairs, run=str(base / "runs" / "ss"))
    report.run(str(base / "photos.csv"), folder, nearest=nearest)
    said = words((folder / "audit.html").read_text())
    part = said[said.index("Alike to the encoder") : said.index("Contact sheet")]
    assert len(re.findall(r"cosine 0\.\d{3}|cosine 1\.000", part)) == 18
    shown = re.findall(r"photos/\S+\.png", part)
    assert len(shown) == len(set(shown)) == 36  # each photograph once
    with pytest.raises(ValueError, match="is not the folder of a run"):
        nearest = functools.partial(lookalikes.nearest_pairs, run=str(tmp_path))
        report.run(str(base / "photos.csv"), folder, nearest=nearest)


def test_the_audit_again_changes_nothing(clinic, tmp_path):
    pages = []
    for _ in range(2):
        report.run(str(clinic), epath.Path(tmp_path) / "audit")
        pages.append((tmp_path / "audit" / "audit.html").read_bytes())
    assert pages[0] == pages[1]
