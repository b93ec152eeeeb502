"""The ISIC challenges of 2018 (task 3), 2019 and 2020: dermatoscopic images."""

from pathlib import Path

import numpy as np
import pandas as pd

from dermjax.data import identity
from dermjax.data.importers import folders
from dermjax.data.manifest import SETS
from dermjax.data.problems import Kind, Line, ManifestError, at_rows

_CLASSES_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_CLASSES_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
_PARTS = ("Training", "Validation", "Test")


def read_2018(folder: Path) -> folders.Raw:
    """ISIC2018_Task3_*_GroundTruth.csv (one-hot), *_LesionGroupings.csv and *_Input/."""
    raw, notes = _challenge(folder, "ISIC2018_Task3", _CLASSES_2018, "LesionGroupings")
    return raw, notes + ["ISIC 2018 task 3 has no patient ids: grouped by lesion_id"]


def read_2019(folder: Path) -> folders.Raw:
    """ISIC_2019_*_GroundTruth.csv (one-hot), *_Metadata.csv and *_Input/."""
    raw, notes = _challenge(folder, "ISIC_2019", _CLASSES_2019, "Metadata")
    return raw, notes + [
        "ISIC 2019 has no patient ids: grouped by lesion_id; it contains HAM10000, so neither "
        "tests what the other has trained"
    ]


def read_2020(folder: Path) -> folders.Raw:
    """train.csv or ISIC_2020_Training_GroundTruth*.csv, and the photographs of the training."""
    name = "ISIC_2020_Training_GroundTruth"
    frame, notes = folders.table(
        folder,
        [f"{name}_v2.csv", f"{name}.csv", "train.csv"],
        ["image_name", "patient_id", "benign_malignant"],
    )
    photos = folders.photos(folder, ["train", "jpeg/train", "ISIC_2020_Training_*"])
    raw = pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(_with_ending(frame["image_name"]), photos),
            "label": frame["benign_malignant"],
            "patient": frame["patient_id"],
            **folders.kept(
                frame,
                {
                    "lesion_id": "lesion",
                    "diagnosis": "diagnosis",
                    "age_approx": "age",
                    "sex": "sex",
                    "anatom_site_general_challenge": "site",
                },
            ),
        }
    )
    pairs = folder / "ISIC_2020_Training_Duplicates.csv"
    if not pairs.is_file():
        text = f"no {pairs.name}: known duplicates (425 pairs) are not left out"
        return raw, [*notes, Line(text, Kind.FILES)]
    found, more = folders.table(folder, [pairs.name], ["image_name_1", "image_name_2"])
    known = set(found["image_name_2"].map(identity.key))
    twice = frame["image_name"].map(identity.key).isin(known)
    raw["exclude"] = np.where(twice, "all", "")
    return raw, [*notes, *more, Line(f"known duplicates left out: {twice.sum()}", Kind.FILES)]


def _challenge(folder: Path, prefix: str, classes, extra: str) -> folders.Raw:
    """The parts that are there, one below the other, with the official set as a column."""
    read: list[pd.DataFrame] = []
    notes: list[str] = []
    absent: list[folders.Absent] = []
    for part in _PARTS:
        try:
            raw, more = _part(folder, f"{prefix}_{part}", classes, extra)
        except folders.Absent as reason:
            absent.append(reason)
            continue
        read.append(raw.assign(official_split=SETS[part.lower()]))
        notes += [note for note in more if note not in notes]
    if not read:
        raise absent[0]
    return pd.concat(read, ignore_index=True).fillna(""), notes


def _part(folder: Path, name: str, classes, extra: str) -> folders.Raw:
    """The training, validation or test images of a challenge."""
    frame, notes = folders.table(
        folder, _places(name, "GroundTruth"), ["image", *(label.lower() for label in classes)]
    )
    photos = folders.photos(folder, [f"{name}_Input"])
    raw = pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(_with_ending(frame["image"]), photos),
            "label": _one_hot(frame, classes, name),
        }
    )
    try:
        found, more = folders.table(folder, _places(name, extra), ["image"])
    except folders.Absent as reason:
        return raw, notes + [f"{reason}: its images have no lesion ids"]
    names = {"lesion_id": "lesion", "age_approx": "age", "sex": "sex"}
    names |= {"anatom_site_general": "site", "diagnosis_confirm_type": "dx_type"}
    for theirs, ours in names.items():
        if theirs in found:
            raw[ours] = folders.looked_up(frame["image"], found, "image", theirs)
    return raw, notes + more


def _places(name: str, what: str) -> list[str]:
    """Archives unpack into a folder of their own name, or not."""
    return [f"{name}_{what}.csv", f"{name}_{what}/{name}_{what}.csv"]


def _with_ending(names: pd.Series) -> pd.Series:
    return names.where(names == "", names + ".jpg")


def _one_hot(frame, classes, name: str) -> np.ndarray:
    """The class of each row; columns are taken by name, mirrors reorder them.

    Raises:
      ManifestError: rows with no class or several.
    """
    chosen = np.stack(
        [pd.to_numeric(frame[label.lower()], errors="coerce") == 1 for label in classes], 1
    )
    wrong = chosen.sum(1) != 1
    if wrong.any():
        raise ManifestError(
            f"{name}_GroundTruth.csv",
            [
                at_rows(
                    frame.loc[wrong, "row"],
                    "not exactly one class is 1: correct the row",
                    frame.loc[wrong, "image"],
                )
            ],
        )
    return np.array(classes, object)[chosen.argmax(1)]
