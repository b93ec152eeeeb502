"""A folder for each class, whatever else lies in it."""

import pytest
from PIL import Image

from dermjax.data import layouts
from dermjax.data.manifest import ManifestError
from tests.data.importers.folders import isic2018, load, write
from tests.data.miniatures import write_photo


@pytest.mark.parametrize("sets", [("",), ("train", "test")])
def test_folders_of_classes(tmp_path, sets):
    folder = tmp_path / "dermnet"
    for number, name in enumerate(sets):
        for index in range(6):
            label = ("Acne and Rosacea Photos", "Eczema Photos")[index % 2]
            write_photo(folder / name / label / f"07 é {index}.jpg", 10 * number + index)
    table = load(folder)
    assert table.classes == ("Acne and Rosacea Photos", "Eczema Photos")
    assert table.frame["group"].nunique() == 6 * len(sets)
    if len(sets) > 1:
        assert set(table.frame["official_split"]) == set(sets)
    assert any("no patient ids" in note for note in table.notes)
    assert "folder read as class_folders; --config.data.layout=NAME says otherwise" in table.notes


@pytest.mark.parametrize("layout", ["class_folders", "isic2018"])
def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path, layout):
    folder = tmp_path / "data"
    if layout == "isic2018":
        name, _ = isic2018(folder)
        inner = folder / f"{name}_Input"
    else:
        for index in range(6):
            write_photo(folder / ("acne", "eczema")[index % 2] / f"{index}.jpg", index)
        inner = folder / "acne"
    (inner / "again").symlink_to(folder, target_is_directory=True)
    (inner / "itself").symlink_to(inner / "itself")
    assert len(load(folder, layout=layout).frame) == 6


def test_folders_beside_a_table_are_not_classes(tmp_path):
    """images/ and masks/ would be two fine classes."""
    folder = tmp_path / "clinic"
    for index in range(8):
        write_photo(folder / ("images", "masks")[index % 2] / f"{index}.png", index)
    write(folder / "photos.csv", "image,label,patient", "images/0.png,a,p")
    with pytest.raises(ManifestError, match="no known layout.*such as 'photos.csv' in it"):
        load(folder)
    with pytest.raises(ManifestError, match="photos.csv lies beside.*layout=class_folders"):
        load(folder)
    assert load(folder, layout="class_folders").classes == ("images", "masks")


ENDINGS = {".jpe": "JPEG", ".jfif": "JPEG", ".gif": "GIF", ".webp": "WEBP", ".avif": "AVIF"}


ENDINGS |= {".jp2": "JPEG2000", ".TIF": "TIFF", ".bmp": "BMP", ".ppm": "PPM", ".JPG": "JPEG"}


def test_class_folders_of_every_ending_that_can_be_read(tmp_path):
    """A class whose photographs all end in .jfif must not be lost."""
    folder = tmp_path / "folders"
    for index, (ending, kind) in enumerate(ENDINGS.items()):
        for number, label in enumerate(("acne", "eczema", kind)):
            path = folder / label / f"{index}{ending}"
            write_photo(path.with_suffix(".png"), 3 * index + number, (48, 40))
            Image.open(path.with_suffix(".png")).save(path, kind)
            path.with_suffix(".png").unlink()
    for left in ("._1.jpg", ".hidden/a.jpg", ".ipynb_checkpoints/b.jpg", "Thumbs.db"):
        (folder / "acne" / left).parent.mkdir(exist_ok=True)
        (folder / "acne" / left).write_bytes(b"\0\5\x16\7")
    for left in ("__MACOSX/acne/._1.jpg", ".ipynb_checkpoints/b.jpg", "desktop.ini"):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).write_bytes(b"\0\5\x16\7")
    for other in ("acne/a.dng", "eczema/b.DNG", "eczema/notes.txt", "raw/c.cr2"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(b"II*\0")
    write_photo(folder / "stray.jpg", 99)
    manifest, problems = layouts.examine(folder, cache_dir=tmp_path / "cache", near=0)
    assert manifest.classes == tuple(sorted({"acne", "eczema", *ENDINGS.values()}))
    assert len(manifest.frame) == 3 * len(ENDINGS)
    assert all("of the 3 patients" in line for line in problems)  # of the classes of one photograph
    notes = "\n".join(manifest.notes)
    for told in ("2 .dng", "1 .cr2", "1 .txt", "'raw'", "'stray.jpg'"):
        assert told in notes
    assert ".db" not in notes and "._" not in notes and ".ini" not in notes


def test_a_table_beside_folders_of_classes_does_not_block_the_layout_that_is_named(tmp_path):
    folder = tmp_path / "folders"
    for index in range(8):
        write_photo(folder / ("acne", "eczema")[index % 2] / f"{index}.png", index)
    write(folder / "submission.csv", "image,score", "0.png,.5")
    with pytest.raises(ManifestError, match="submission.csv.*--config.data.layout=class_folders"):
        load(folder)
    assert load(folder, layout="class_folders").classes == ("acne", "eczema")
