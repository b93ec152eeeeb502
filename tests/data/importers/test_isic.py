"""The ISIC challenges in miniature, with the names and the quirks of the original."""

import numpy as np
import pytest
from PIL import Image

from dermjax.data.manifest import ManifestError
from tests.data.importers.folders import isic2018, load, voc, write
from tests.data.miniatures import write_photo


@pytest.mark.parametrize("order", ["MEL,NV,BCC,AKIEC,BKL,DF,VASC", "VASC,NV,DF,MEL,BKL,AKIEC,BCC"])
def test_isic_2018_has_one_hot_columns_in_any_order(tmp_path, order):
    folder = tmp_path / "isic"
    name, images = isic2018(folder, order)
    rows = [f"{image},HAM_{index % 3},histopathology" for index, image in enumerate(images)]
    write(folder / f"{name}_LesionGroupings.csv", "image,lesion_id,diagnosis_confirm_type", *rows)
    table = load(folder)
    assert table.frame["label"].tolist() == ["MEL", "NV"] * 3
    assert table.frame["lesion"].tolist() == ["HAM_0", "HAM_1", "HAM_2"] * 2
    assert table.frame["group"].nunique() == 3
    assert (table.frame["official_split"] == "train").all()
    assert (table.frame["dx_type"] == "histopathology").all()
    assert "ISIC 2018 task 3 has no patient ids: grouped by lesion_id" in table.notes


def test_isic_2018_parts_stand_below_each_other(tmp_path):
    folder = tmp_path / "isic"
    isic2018(folder)
    isic2018(folder, part="Test")
    table = load(folder)
    assert table.frame["official_split"].tolist() == ["train"] * 6 + ["test"] * 6
    assert table.frame["group"].nunique() == 12
    assert any("no ISIC2018_Task3_Test_LesionGroupings.csv" in note for note in table.notes)


def test_official_sets_are_taken_on_request_and_checked(tmp_path):
    folder = tmp_path / "dermnet"
    for number, name in enumerate(("train", "val", "test")):
        for index in range(2):
            photo = folder / name / ("acne", "eczema")[index] / f"{index}.jpg"
            write_photo(photo, 10 * number + index)
    frame = load(folder, official_split=True).frame
    assert frame["split"].tolist() == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2
    assert set(load(folder, layout="class_folders").frame["split"]) == {""}
    write_photo(folder / "test" / "acne" / "copy.jpg", 0)  # a photograph of train
    with pytest.raises(ManifestError, match="the split leaks: file '.* in train and test"):
        load(folder, official_split=True)


def test_official_sets_that_are_not_there_are_told(tmp_path):
    folder = tmp_path / "voc"
    voc(folder)
    with pytest.raises(ManifestError, match="layout voc comes with no split here"):
        load(folder, official_split=True)
    table = folder / "t.csv"
    write(table, "image,label,patient", "a.jpg,x,p")
    with pytest.raises(ManifestError, match="is a file: its column 'split' is used"):
        load(table, official_split=True)


def test_a_row_of_two_classes_or_none_is_told(tmp_path):
    folder = tmp_path / "isic"
    name, _ = isic2018(folder)
    truth = folder / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv"
    lines = truth.read_text().splitlines()
    lines[2], lines[4] = "ISIC_002Tr1,1,1,0,0,0,0,0", "ISIC_002Tr3,0,0,0,0,0,0,0"
    write(truth, *lines)
    with pytest.raises(ManifestError, match="rows 3, 5: not exactly one class is 1"):
        load(folder)


def test_isic_2019_joins_its_metadata_and_knows_lesions_without_id(tmp_path):
    folder = tmp_path / "isic"
    classes = "MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK".split(",")
    truth, metadata = (
        [f"image,{','.join(classes)}"],
        ["image,age_approx,anatom_site_general,lesion_id,sex"],
    )
    for index in range(10):
        image, label = f"ISIC_{index:07}_downsampled", ("SCC", "AK")[index % 2]
        truth.append(",".join([image, *("1.0" if c == label else "0.0" for c in classes)]))
        photos = folder / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input"
        write_photo(photos / f"{image}.jpg", index)
        metadata.insert(1, f"{image},55.0,anterior torso,{'BCN_1' if index < 3 else ''},female")
    write(folder / "ISIC_2019_Training_GroundTruth.csv", *truth)
    write(folder / "ISIC_2019_Training_Metadata.csv", *metadata)
    frame = load(folder).frame
    assert frame["label"].tolist() == ["SCC", "AK"] * 5
    assert frame["lesion"].tolist() == ["BCN_1"] * 3 + [""] * 7 and frame["group"].nunique() == 8
    assert set(frame["site"]) == {"anterior torso"} and set(frame["age"]) == {"55.0"}


@pytest.mark.parametrize("pairs", [True, False])
def test_isic_2020_is_grouped_by_patient_and_leaves_known_duplicates_out(tmp_path, pairs):
    folder = tmp_path / "isic"
    lines = [
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
        "benign_malignant,target"
    ]
    for index in range(8):
        malignant = index % 2
        lines.append(
            f"ISIC_{index},IP_{index // 2},male,45.0,torso,unknown,"
            f"{'malignant' if malignant else 'benign'},{malignant}"
        )
        write_photo(folder / "jpeg" / "train" / f"ISIC_{index}.jpg", index)
    write(folder / "train.csv", *lines)
    if pairs:
        text = "image_name_1,image_name_2", "ISIC_0,ISIC_7"
        write(folder / "ISIC_2020_Training_Duplicates.csv", *text)
    table = load(folder)
    frame = table.frame
    assert frame["label"].tolist() == ["benign", "malignant"] * 4
    assert frame["group"].nunique() == 4 and frame["patient"][7] == "IP_3"
    assert frame["exclude"].tolist() == [""] * 7 + ["all" if pairs else ""]
    told = "known duplicates left out: 1" if pairs else "no ISIC_2020_Training_Duplicates.csv"
    assert any(note.startswith(told) for note in table.notes)


def test_photographs_behind_a_link_are_found(tmp_path):
    """Large data lie on another disk."""
    folder, disk = tmp_path / "isic", tmp_path / "disk"
    name, _ = isic2018(folder)
    (folder / f"{name}_Input").rename(disk)
    (folder / f"{name}_Input").symlink_to(disk, target_is_directory=True)
    assert len(load(folder).frame) == 6


def test_a_layout_can_be_demanded(tmp_path):
    folder = tmp_path / "isic"
    isic2018(folder)
    with pytest.raises(ManifestError, match="nearly isic2019 .no ISIC_2019_Training_GroundTruth"):
        load(folder, layout="isic2019")
    assert len(load(folder, layout="isic2018").frame) == 6
    assert np.all(load(folder).frame["width"] == 12)


def test_a_preview_beside_a_photograph_is_not_taken_for_it(tmp_path):
    folder = tmp_path / "isic"
    name, images = isic2018(folder)
    for image in images:
        Image.new("P", (4, 4)).save(folder / f"{name}_Input" / f"{image}.gif")
    assert load(folder).frame["image"].str.endswith(".jpg").all()
