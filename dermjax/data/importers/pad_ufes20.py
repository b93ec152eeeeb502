"""PAD-UFES-20 (Pacheco et al. 2020): clinical photographs of six diagnoses."""

from pathlib import Path

import pandas as pd

from dermjax.data import identity
from dermjax.data.importers import folders
from dermjax.data.manifest import BOX
from dermjax.data.problems import Kind, Line


def read(folder: Path) -> folders.Raw:
    """PAD-UFES-20: metadata.csv, images/ (with or without parts), boxes.csv if there is one."""
    frame, notes = folders.table(folder, ["metadata.csv"], ["img_id", "diagnostic", "patient_id"])
    photos = folders.photos(folder, ["images", "imgs_part_*"])
    lesion = frame.get("lesion_id", pd.Series("", index=frame.index))
    raw = pd.DataFrame(
        {
            "row": frame["row"],
            "image": folders.located(frame["img_id"], photos),
            "label": frame["diagnostic"],
            "patient": frame["patient_id"],
            # Numbered over all patients in the original; joined, so that a mirror's renumbering
            # cannot merge two patients.
            "lesion": (frame["patient_id"] + "_" + lesion).where(lesion != "", ""),
            **folders.kept(
                frame, {"age": "age", "gender": "sex", "fitspatrick": "skin_type", "region": "site"}
            ),
        }
    )
    if not (folder / "boxes.csv").is_file():
        return raw, [*notes, Line("no boxes.csv: whole images are used", Kind.BOXES)]
    boxes, more = folders.table(folder, ["boxes.csv"], ["img_id", *BOX])
    # As the two tables read: one may write .PNG, or another form of Unicode.
    boxes = boxes.assign(key=boxes["img_id"].map(identity.key))
    keys = frame["img_id"].map(identity.key)
    lost = int((~boxes["key"].isin(keys)).sum())
    bare = int((~keys.isin(boxes["key"])).sum())
    notes += more
    if bare:
        notes.append(Line(f"images without a box: {bare} (used whole)", Kind.BOXES))
    if lost:
        text = f"rows of boxes.csv that match no img_id of metadata.csv: {lost}"
        notes.append(Line(text, Kind.BOXES))
    raw = raw.assign(key=keys).merge(boxes[["key", *BOX]], on="key", how="left").drop(columns="key")
    return raw.fillna(dict.fromkeys(BOX, "")), notes
