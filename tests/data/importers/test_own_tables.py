"""Data sets whose tables have columns of their own, each in miniature."""

import pytest

from dermjax.data.importers import derm7pt
from dermjax.data.manifest import ManifestError
from tests.data.importers.folders import load, write
from tests.data.miniatures import write_photo


@pytest.mark.parametrize("scale", ["fitzpatrick_scale", "fitzpatrick"])
def test_fitzpatrick17k_leaves_out_what_could_not_be_fetched(tmp_path, scale):
    folder = tmp_path / "fitz"
    lines = [f"md5hash,{scale},label,nine_partition_label,three_partition_label,qc,url"]
    for index in range(7):
        lines.append(
            f"{index:032x},{(-1, 1, 6)[index % 3]},{('psoriasis', 'acne')[index % 2]},"
            "inflammatory,non-neoplastic,,http://gone/a b.jpg"
        )
        if index < 6:
            write_photo(folder / "images" / f"{index:032x}.jpg", index)
    write(folder / "fitzpatrick17k.csv", *lines)
    table = load(folder)
    assert table.frame["exclude"].tolist() == [""] * 6 + ["all"]
    assert table.frame["skin_type"].tolist() == ["", "1", "6"] * 2 + [""]
    assert table.classes == ("acne", "psoriasis")
    assert "photographs that are not in the folder, left out: 1" in table.notes


def scin(folder, labels):
    """Cases of two photographs each; ids are signed numbers, labels the text of dictionaries."""
    cases = [
        "case_id,age_group,sex_at_birth,fitzpatrick_skin_type,image_1_path,image_2_path,image_3_path"
    ]
    for index in range(len(labels)):
        case = (-1) ** index * (7 + index // 2)
        images = [f"dataset/images/{sign}{case * 10 + index}.png" for sign in ("", "-")]
        images = [name.replace("--", "") for name in images]
        for number, image in enumerate(images):
            write_photo(folder / image, 2 * index + number)
        cases.append(f"{case},AGE_18_TO_29,FEMALE,FST2,{','.join(images)},")
    write(folder / "dataset" / "scin_cases.csv", *cases)
    rows = [
        f'{line.split(",")[0]},"{label}"' for line, label in zip(cases[1:], labels, strict=True)
    ]
    write(
        folder / "dataset" / "scin_labels.csv",
        "case_id,weighted_skin_condition_label",
        *reversed(rows),
    )


def test_scin_labels_are_the_heaviest_and_groups_the_cases(tmp_path):
    folder = tmp_path / "scin"
    eczema, acne = "{'Eczema': 0.67, 'Acne': 0.33}", "{'Acne': 1.0}"
    scin(folder, [eczema, acne] * 3 + ["{'Acne': 0.5, 'Eczema': 0.5}", "{}", ""])
    table = load(folder)
    assert (
        table.frame["label"].tolist()
        == ["Eczema"] * 2 + ["Acne"] * 2 + (["Eczema"] * 2 + ["Acne"] * 2) * 2 + [""] * 6
    )
    assert table.frame["group"].nunique() == 9 and len(table.frame) == 18
    assert table.frame["patient"].tolist()[:4] == ["7", "7", "-7", "-7"]
    assert len(set(table.frame["image"])) == 18
    assert set(table.frame["skin_type"]) == {"FST2"}
    assert any("1 cases with several heaviest" in note for note in table.notes)


def test_a_scin_label_that_is_no_dictionary_is_told(tmp_path):
    folder = tmp_path / "scin"
    scin(folder, ["{'Acne': 1.0}"] * 3 + ["Acne", "{'Acne': 'much'}", "__import__('os')"])
    with pytest.raises(ManifestError, match="rows 2, 3, 4: .* is no dictionary such as"):
        load(folder)


def test_derm7pt_has_two_images_a_case_and_official_sets(tmp_path):
    folder = tmp_path / "derm7pt"
    lines = ["case_num,diagnosis,seven_point_score,location,sex,clinic,derm,case_id,notes"]
    for index in range(6):
        clinic, derm = f"NEL/NEL{index:03}.JPG", f"NEL/Nel{index:03}.jpg"
        lines.append(
            f"{index + 1},{('clark nevus', 'melanoma (in situ)')[index % 2]},3,back,female,"
            f'{clinic},{derm if index else ""},7,"a, b"'
        )
        write_photo(folder / "images" / clinic, 2 * index)
        write_photo(folder / "images" / "NEL" / f"Nel{index:03}.jpg", 2 * index + 1)
    write(folder / "meta" / "meta.csv", *lines)
    write(folder / "meta" / "train_indexes.csv", "indexes", "0", "1", "5")
    write(folder / "meta" / "test_indexes.csv", "indexes", "3")
    table = load(folder)
    assert table.frame["image"].tolist()[:3] == [
        f"images/NEL/{name}" for name in ("NEL000.JPG", "NEL001.JPG", "Nel001.jpg")
    ]
    assert table.frame["group"].nunique() == 6
    assert table.frame["label"].tolist()[:3] == ["nevus", "melanoma", "melanoma"]
    assert set(table.frame["diagnosis"]) == {"clark nevus", "melanoma (in situ)"}
    assert table.frame["modality"].tolist() == ["clinic"] + ["clinic", "derm"] * 5
    sets = table.frame.drop_duplicates("lesion")["official_split"].tolist()
    assert sets == ["train", "train", "", "test", "", "train"]


@pytest.mark.parametrize("place", ["images", "."])
def test_ddi_is_benign_or_malignant_by_skin_tone(tmp_path, place):
    folder = tmp_path / "ddi"
    lines = [",DDI_ID,DDI_file,skin_tone,malignant,disease"]
    for index in range(6):
        lines.append(
            f"{index},{index + 1},{index + 1:06}.png,{(12, 34, 56)[index % 3]},"
            f"{bool(index % 2)},melanocytic-nevi"
        )
        write_photo(folder / place / f"{index + 1:06}.png", index)
    write(folder / "ddi_metadata.csv", *lines)
    frame = load(folder).frame
    assert frame["label"].tolist() == ["benign", "malignant"] * 3
    assert frame["skin_type"].tolist() == ["12", "34", "56"] * 2
    assert frame["group"].nunique() == 6


@pytest.mark.parametrize(
    ("diagnosis", "group"),
    [
        ("reed or spitz nevus", "nevus"),
        ("melanoma metastasis", "melanoma"),
        ("melanosis", "miscellaneous"),
        ("Basal cell carcinoma", "basal cell carcinoma"),
        ("", ""),
    ],
)
def test_derm7pt_diagnoses_fall_into_five_groups(diagnosis, group):
    assert derm7pt._group(diagnosis) == group
