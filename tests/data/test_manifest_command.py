"""A folder or a table is written as a manifest, which reads as the same."""

from dermjax.cli import manifest as command
from dermjax.data import layouts, manifest
from tests.data.importers.folders import box_of, isic2018, load, write
from tests.data.miniatures import write_photo


def test_the_papers_own_table_has_photos_and_classes(tmp_path):
    folder = tmp_path / "clinic"
    rows = []
    for index in range(6):
        write_photo(folder / "photos" / f"{index}.jpg", index, (40, 20))
        label = ("rosacea", "acne")[index % 2]
        rows += [f"photos/{index}.jpg;p{index};{label};{left};2;10;10" for left in (0, 20)]
    write(folder / "boxes.csv", "photo;patient_id;class;x;y;w;h", *rows)
    table = load(folder / "boxes.csv")
    assert len(table.frame) == 12 and table.frame["group"].nunique() == 6
    assert box_of(table.frame, "1.jpg") == [("acne", 0, 2, 10, 10), ("acne", 20, 2, 10, 10)]
    assert any("as the paper has it" in note for note in table.notes)


def test_a_layout_can_be_written_as_a_manifest_and_edited(tmp_path, capsys):
    folder, out = tmp_path / "my isic", tmp_path / "elsewhere" / "photos.csv"
    isic2018(folder)
    out.parent.mkdir()
    assert command.main([str(folder), f"--out={out}"]) == 0
    assert "photos.csv: 6 rows, 2 classes, 6 groups" in capsys.readouterr().out
    before, after = load(folder).frame, layouts.load(out, cache_dir=tmp_path / ".cache").frame
    for column in ("path", "label", "official_split", "content"):
        assert before[column].tolist() == after[column].tolist()
    text = out.read_text().replace(",MEL,", ",melanoma,")
    out.write_text(text)
    assert layouts.load(out, cache_dir=tmp_path / ".cache").classes == ("NV", "melanoma")


def test_boxes_and_groups_survive_being_written(tmp_path):
    folder, out = tmp_path / "a", tmp_path / "b.csv"
    rows = [
        f"{index // 2}.png,{'ab'[index // 2 % 2]},p{index // 2},L{index},{index},1.5,3,4,é"
        for index in range(12)
    ]
    for index in range(6):
        write_photo(folder / f"{index}.png", index, (30, 20))
    write(folder / "t.csv", "image,label,patient,lesion,x,y,w,h,site", *rows)
    before = layouts.load(folder / "t.csv", cache_dir=tmp_path / ".cache").frame
    manifest.write_csv(layouts.read(folder / "t.csv", cache_dir=tmp_path)[0], out)
    after = layouts.load(out, cache_dir=tmp_path / ".cache").frame
    for column in ("path", "label", "patient", "lesion", "group", "x", "y", "w", "h", "site"):
        assert before[column].tolist() == after[column].tolist(), column


def test_problems_of_a_table_are_told_and_the_table_written(tmp_path, capsys):
    write(tmp_path / "t.csv", "image,label,patient,split", "a.png,x,p,holdout")
    out = tmp_path / "out.csv"
    assert command.main([str(tmp_path / "t.csv"), f"--out={out}"]) == 1
    assert "to mend: row 2: unknown split 'holdout'" in capsys.readouterr().err and out.exists()
    assert command.main([str(tmp_path / "none"), f"--out={tmp_path / 'no.csv'}"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()
