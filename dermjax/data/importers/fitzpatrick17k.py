"""Fitzpatrick17k (Groh et al. 2021): clinical photographs of 114 conditions, with skin types."""

from pathlib import Path

import numpy as np
import pandas as pd

from dermjax.data.importers import folders
from dermjax.data.problems import Kind, Line


def read(folder: Path) -> folders.Raw:
    """fitzpatrick17k.csv, and the photographs, fetched by the user, as <md5hash>.jpg."""
    frame, notes = folders.table(folder, ["fitzpatrick17k.csv"], ["md5hash", "label"])
    photos = folders.photos(folder, ["images", "finalfitz17k", "data/finalfitz17k"])
    names = {
        "nine_partition_label": "nine_partition_label",
        "three_partition_label": "three_partition_label",
        "qc": "qc",
        "fitzpatrick_scale": "skin_type",
        "fitzpatrick": "skin_type",  # of some mirrors
    }
    raw = pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(frame["md5hash"] + ".jpg", photos),
            "label": frame["label"],
            **folders.kept(frame, names),
        }
    )
    if "skin_type" in raw:
        raw["skin_type"] = raw["skin_type"].where(~raw["skin_type"].isin(["-1", "-1.0"]), "")
    gone = ~raw["image"].isin(set(photos.values()))
    raw["exclude"] = np.where(gone, "all", "")
    if gone.any():
        text = f"photographs that are not in the folder, left out: {gone.sum()}"
        notes.append(Line(text, Kind.FILES))
    return raw, notes + [
        "Fitzpatrick17k has no patient ids and many near duplicates: every photo is its own group"
    ]
