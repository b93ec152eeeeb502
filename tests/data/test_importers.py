"""Each public layout in miniature, with the names and the quirks of the original."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermjax.cli import manifest as command
from dermjax.data import layouts, manifest
from dermjax.data.importers import derm7pt
from dermjax.data.manifest import ManifestError
from tests.data.miniatures import write_photo


def load(folder, **options):
    return layouts.load(folder, cache_dir=folder.parent / ".cache", **options)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def isic2018(folder, order="MEL,NV,BCC,AKIEC,BKL,DF,VASC", part="Training"):
    """Six images of three lesions, melanomas and nevi; archives in folders of their own names."""
    name = f"ISIC2018_Task3_{part}"
    lines = [f"image,{order}"]
    for index in range(6):
        image = f"ISIC_002{part[:2]}{index}"
        write_photo(folder / f"{name}_Input" / f"{image}.jpg", 10 * len(part) + index)
        label = ("MEL", "NV")[index % 2]
        lines.append(",".join([image, *("1.0" if c == label else "0.0" for c in order.split(","))]))
    write(folder / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv", *lines)
    return name, [line.split(",")[0] for line in lines[1:]]


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


def test_photographs_behind_a_link_are_found(tmp_path):
    """Large data lie on another disk."""
    folder, disk = tmp_path / "isic", tmp_path / "disk"
    name, _ = isic2018(folder)
    (folder / f"{name}_Input").rename(disk)
    (folder / f"{name}_Input").symlink_to(disk, target_is_directory=True)
    assert len(load(folder).frame) == 6


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


def dermamnist(path, **changes):
    """Classes in turn, images of 28 px, labels in a column of their own, as MedMNIST has it."""
    arrays = {}
    for seed, (name, count) in enumerate({"train": 12, "val": 7, "test": 7}.items()):
        draw = np.random.default_rng(seed)
        arrays[f"{name}_images"] = draw.integers(0, 256, (count, 28, 28, 3), np.uint8)
        arrays[f"{name}_labels"] = (np.arange(count) % 7).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays |= changes
    np.savez(path, **arrays)
    return arrays


def test_dermamnist_is_unpacked_once_and_keeps_its_pixels(tmp_path):
    file = tmp_path / "my data" / "dermamnist_28.npz"
    arrays = dermamnist(file)
    table = load(file)
    assert table.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert (
        table.frame["official_split"].tolist() == ["train"] * 12 + ["validation"] * 7 + ["test"] * 7
    )
    row = table.frame.iloc[12 + 4]
    assert row["label"] == "mel"
    np.testing.assert_array_equal(np.asarray(Image.open(row["path"])), arrays["val_images"][4])
    times = [Path(path).stat().st_mtime_ns for path in table.frame["path"]]
    assert [Path(path).stat().st_mtime_ns for path in load(file).frame["path"]] == times
    official = load(file, official_split=True).frame
    assert (official["split"] == table.frame["official_split"]).all()
    assert any("images of one lesion are in two of its sets" in note for note in table.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": np.full((7, 1), 7)}, "val_labels are not 0 to 6"),
        (
            {"test_images": np.zeros((7, 28, 28), np.uint8)},
            "test_images are uint8 .7, 28, 28., not",
        ),
        (
            {"train_labels": np.zeros((5, 1), int)},
            "train_labels are not one whole number per image",
        ),
        ({"train_images": np.array(["a", {}], object)}, "is not DermaMNIST's .npz"),
    ],
)
def test_another_npz_is_refused_and_leaves_nothing(tmp_path, changes, message):
    file = tmp_path / "x" / "dermamnist.npz"
    dermamnist(file, **changes)
    with pytest.raises(ManifestError, match=message):
        load(file)
    assert not list((tmp_path / "x").glob("*-*"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 half"])
def test_a_broken_npz_is_told(tmp_path, content):
    file = tmp_path / "x" / "dermamnist.npz"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ManifestError, match="is not DermaMNIST's .npz"):
        load(file)


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


def box_of(frame, name):
    """`label, x, y, w, h` of each row of a photograph."""
    rows = frame[frame["image"].str.endswith(name)]
    return [(row.label, row.x, row.y, row.w, row.h) for row in rows.itertuples()]


def coco(folder, **changes):
    """Six photographs of 40 x 20 px in two folders with equal names; the last has no box."""
    pictures, boxes = [], []
    for index in range(7):
        name = f"{'ab'[index % 2]}/{index // 2}.jpg"
        write_photo(folder / "images" / name, index, (40, 20))
        pictures.append({"id": 100 + index, "file_name": name, "width": 40, "height": 20})
        if index < 6:
            boxes.append(
                {"id": index, "image_id": 100 + index, "category_id": 5 + index % 2}
                | {"bbox": [index, 0.5, 10, 8.25], "iscrowd": 0}
            )
    boxes.append({"id": 9, "image_id": 100, "category_id": 6, "bbox": [20, 2, 5, 5]})
    content = {
        "images": pictures,
        "annotations": boxes,
        "categories": [{"id": 5, "name": "acne"}, {"id": 6, "name": "rosacea"}],
    }
    write(folder / "annotations" / "instances.json", json.dumps(content | changes))


def test_coco_boxes_count_from_zero(tmp_path):
    folder = tmp_path / "coco"
    coco(folder)
    table = load(folder)
    assert box_of(table.frame, "a/0.jpg") == [("acne", 0, 0.5, 10, 8.25), ("rosacea", 20, 2, 5, 5)]
    assert box_of(table.frame, "b/1.jpg") == [("rosacea", 3, 0.5, 10, 8.25)]
    assert box_of(table.frame, "a/3.jpg")[0][0] == "" and np.isnan(
        box_of(table.frame, "a/3.jpg")[0][1]
    )
    assert table.frame["group"].nunique() == 7
    assert any(note.startswith("COCO has no patient ids") for note in table.notes)


def test_coco_with_patients_is_grouped_by_them(tmp_path):
    folder = tmp_path / "coco"
    coco(folder)
    path = folder / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    for index, picture in enumerate(content["images"]):
        picture["patient_id"] = -index if index < 6 else -5
    path.write_text(json.dumps(content))
    assert load(folder).frame["group"].nunique() == 6


@pytest.mark.parametrize(
    "broken",
    [
        {"image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 5]},
        {"image_id": 100, "category_id": 9, "bbox": [0, 0, 5, 5]},
        {"image_id": 100, "category_id": 5, "bbox": [0, 0, 5]},
        {"image_id": 100, "category_id": 5},
    ],
)
def test_a_coco_annotation_that_points_nowhere_is_told(tmp_path, broken):
    folder = tmp_path / "coco"
    coco(folder, annotations=[broken])
    with pytest.raises(ManifestError, match="annotation 1 is not COCO's"):
        load(folder)


def voc(folder, corners=(1, 1, 40, 20)):
    sides = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, corners, strict=True))
    for index in range(6):
        write_photo(folder / "JPEGImages" / f"{index}.jpg", index, (40, 20))
        name = ("acne", "rosacea")[index % 2]
        write(
            folder / "Annotations" / f"{index}.xml",
            f"<annotation><filename>{index}.jpg</filename><size><width>40</width></size>"
            f"<object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>",
        )


def test_voc_corners_count_from_one_and_belong_to_the_box(tmp_path):
    folder = tmp_path / "voc"
    voc(folder)
    write_photo(folder / "JPEGImages" / "6.jpg", 6)
    write(folder / "Annotations" / "6.xml", "<annotation><filename>6.jpg</filename></annotation>")
    frame = load(folder).frame
    assert box_of(frame, "JPEGImages/1.jpg") == [("rosacea", 0, 0, 40, 20)]
    assert frame["label"].tolist()[-1] == "" and np.isnan(frame["x"].tolist()[-1])


@pytest.mark.parametrize(
    "text", ["no xml", "<annotation><object><name>a</name></object></annotation>"]
)
def test_a_voc_file_that_is_none_is_told(tmp_path, text):
    folder = tmp_path / "voc"
    voc(folder)
    write(folder / "Annotations" / "3.xml", text)
    with pytest.raises(ManifestError, match="3.xml: 1 problem\n- is not Pascal VOC"):
        load(folder)


def yolo(folder, names="data.yaml", text="names: [acne, rosacea]"):
    for index in range(6):
        write_photo(folder / "images" / "train" / f"{index}.jpg", index, (40, 20))
        write(folder / "labels" / "train" / f"{index}.txt", f"{index % 2} 0.5 0.25 0.25 0.5", "")
    write(folder / names, text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("data.yaml", "names: [acne, rosacea]"),
        ("data.yaml", "names:\n  1: rosacea\n  0: acne"),
        ("classes.txt", "acne\nrosacea\n"),
        ("labels/classes.txt", "acne\nrosacea"),
    ],
)
def test_yolo_boxes_are_centres_relative_to_the_photograph(tmp_path, names, text):
    folder = tmp_path / "yolo"
    yolo(folder, names, text)
    write_photo(folder / "images" / "train" / "6.jpg", 6)
    write(folder / "labels" / "train" / "99.txt", "0 0.5 0.5 1 1")
    table = load(folder)
    assert box_of(table.frame, "train/0.jpg") == [("acne", 15, 0, 10, 10)]
    assert box_of(table.frame, "train/1.jpg") == [("rosacea", 15, 0, 10, 10)]
    assert table.frame["label"].tolist()[-1] == ""
    assert "files of labels that match no photograph: 1" in table.notes


def test_yolo_boxes_are_of_the_upright_photograph(tmp_path):
    """A phone held upright: 20 x 40 px to the eye, stored lying."""
    folder = tmp_path / "yolo"
    yolo(folder)
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "images" / "train" / "0.jpg", exif=exif)
    assert box_of(load(folder).frame, "train/0.jpg") == [("acne", 7.5, 0, 5, 20)]


@pytest.mark.parametrize("line", ["2 .5 .5 .1 .1", "0 .5 .5 .1", "acne .5 .5 .1 .1"])
def test_a_yolo_line_that_is_none_is_told(tmp_path, line):
    folder = tmp_path / "yolo"
    yolo(folder)
    write(folder / "labels" / "train" / "3.txt", "", line)
    with pytest.raises(ManifestError, match="3.txt: 1 problem\n- line 2 is not a class below 2"):
        load(folder)


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


def test_a_layout_can_be_demanded(tmp_path):
    folder = tmp_path / "isic"
    isic2018(folder)
    with pytest.raises(ManifestError, match="nearly isic2019 .no ISIC_2019_Training_GroundTruth"):
        load(folder, layout="isic2019")
    assert len(load(folder, layout="isic2018").frame) == 6
    assert np.all(load(folder).frame["width"] == 12)


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


def test_a_preview_beside_a_photograph_is_not_taken_for_it(tmp_path):
    folder = tmp_path / "isic"
    name, images = isic2018(folder)
    for image in images:
        Image.new("P", (4, 4)).save(folder / f"{name}_Input" / f"{image}.gif")
    assert load(folder).frame["image"].str.endswith(".jpg").all()
