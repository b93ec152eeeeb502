"""Diverse Dermatology Images (Daneshjou et al. 2022): made for evaluation, by skin tone."""

from pathlib import Path

import numpy as np
import pandas as pd

from dermjax.data.importers import folders

_TRUE = ("true", "1", "1.0")


def read(folder: Path) -> folders.Raw:
    """ddi_metadata.csv, and images/ or the photographs beside it."""
    frame, notes = folders.table(folder, ["ddi_metadata.csv"], ["ddi_file", "malignant"])
    photos = folders.photos(folder, ["images", "."])
    malignant = frame["malignant"].str.lower().isin(_TRUE)
    return pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(frame["ddi_file"], photos),
            "label": np.where(malignant, "malignant", "benign"),
            **folders.kept(frame, {"skin_tone": "skin_type", "disease": "disease"}),
        }
    ), notes + [
        "DDI has no patient ids: every photo is its own group; its 656 images are meant for "
        "evaluation"
    ]
