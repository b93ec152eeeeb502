"""HAM10000 (Tschandl et al. 2018): dermatoscopic images of seven diagnoses."""

from pathlib import Path

import pandas as pd

from dermjax.data.importers import folders

# Harvard Dataverse gives it as `HAM10000_metadata`, and as `.tab`; mirrors as `.csv`.
_TABLES = ["HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab", "index.csv"]


def read(folder: Path) -> folders.Raw:
    """HAM10000_metadata or index.csv, and images/ or HAM10000_images_part_*/."""
    frame, notes = folders.table(folder, _TABLES, ["image_id", "dx"])
    photos = folders.photos(folder, ["images", "HAM10000_images_part_*"])
    if "lesion_id" in frame:
        notes.append("HAM10000 has no patient ids: grouped by lesion_id")
    else:
        notes.append(
            "this copy of HAM10000 has no lesion_id: every photo is its own group, and "
            "photos of one lesion may be in two sets"
        )
    named = frame["image_id"].where(frame["image_id"] == "", frame["image_id"] + ".jpg")
    return pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(named, photos),
            "label": frame["dx"],
            **folders.kept(
                frame,
                {
                    "lesion_id": "lesion",
                    "dx_type": "dx_type",
                    "age": "age",
                    "sex": "sex",
                    "localization": "site",
                    "repo_split": "official_split",  # of some public copies
                },
            ),
        }
    ), notes
