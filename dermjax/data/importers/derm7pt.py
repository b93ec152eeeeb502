"""Derm7pt (Kawahara et al. 2019): a clinical and a dermatoscopic image of each of 1,011 cases."""

from pathlib import Path

import numpy as np
import pandas as pd

from dermjax.data.importers import folders
from dermjax.data.manifest import SETS

_INDEXES = ("train", "valid", "test")  # of meta/*_indexes.csv


def read(folder: Path) -> folders.Raw:
    """meta/meta.csv, meta/*_indexes.csv (the official sets) and images/."""
    frame, notes = folders.table(
        folder, ["meta/meta.csv"], ["case_num", "diagnosis", "clinic", "derm"]
    )
    folders.photos(folder, ["images"])  # raises Absent
    frame = frame.assign(official_split=_official(folder, len(frame)))
    names = {"sex": "sex", "location": "site", "official_split": "official_split"}
    raw = pd.concat(
        [
            pd.DataFrame(
                {
                    "row": frame["row"],
                    # Paths below images/, such as NEL/NEL025.JPG.
                    "image": frame[modality].where(
                        frame[modality] == "", "images/" + frame[modality]
                    ),
                    "label": frame["diagnosis"].map(_group),
                    "diagnosis": frame["diagnosis"],
                    "lesion": frame["case_num"],
                    "modality": modality,
                    **folders.kept(frame, names),
                }
            )[frame[modality] != ""]
            for modality in ("clinic", "derm")
        ]
    ).sort_values("row", kind="stable", ignore_index=True)
    return raw, notes + [
        "Derm7pt has no patient ids: the two images of a case are one group; labels are the five "
        "groups of its authors, the 20 diagnoses stand beside them"
    ]


def _group(diagnosis: str) -> str:
    """Some diagnoses have a single case, so the authors train on five groups of them."""
    lower = diagnosis.lower()
    if "nevus" in lower:
        return "nevus"
    if lower.startswith("melanoma"):
        return "melanoma"
    alone = ("", "basal cell carcinoma", "seborrheic keratosis")
    return lower if lower in alone else "miscellaneous"


def _official(folder: Path, rows: int) -> np.ndarray:
    """The set of each row by the index files that are there; they count from 0."""
    sets = np.full(rows, "", object)
    for name in _INDEXES:
        path = f"meta/{name}_indexes.csv"
        if (folder / path).is_file():
            found, _ = folders.table(folder, [path], ["indexes"])
            index = pd.to_numeric(found["indexes"], errors="coerce").dropna().astype(int)
            sets[index[index.between(0, rows - 1)]] = SETS[name]
    return sets
