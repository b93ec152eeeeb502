"""The one door for data: recognises what a user brings and tells everything that is wrong."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dermjax.data import manifest as tables
from dermjax.data import scan, splits
from dermjax.data.manifest import BOX, Manifest
from dermjax.data.problems import ManifestError, at_rows, quoted

_Raw = tuple[pd.DataFrame, list[str]]
_PHOTOS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


class _Absent(Exception):
    """Why a folder is not of a layout."""


def load(
    source,
    *,
    layout: str = "auto",
    cache_dir,
    workers: int = 2,
    track: scan.Track = lambda items, total, label: items,
) -> Manifest:
    """Reads and checks a data set: the table, every file, boxes, groups and classes.

    Args:
        source: A CSV, or a folder in one of the known layouts.
        layout: 'auto', 'csv' or a name in LAYOUTS.
        cache_dir: Folder for the scan's results.
        workers: Threads that open photographs.
        track: Wraps an iterable of known length to show progress: (items, total, label).

    Returns:
        The manifest with `fingerprint` and the columns width, height and content. Rows left out
        everywhere are not opened: width = height = 0, content ''.

    Raises:
        ManifestError: All problems together.
        ValueError: Unknown layout.
    """
    manifest, problems = _read(Path(source), layout)
    frame = manifest.frame
    kept = frame["exclude"] != "all"
    found = scan.scan(
        frame.loc[kept & (frame["image"] != ""), "path"],
        cache_file=Path(cache_dir) / "scan.csv",
        workers=workers,
        track=track,
    )
    found = found.set_index("path").reindex(frame["path"])
    error = found["error"].fillna("").to_numpy(object)
    frame = frame.assign(
        width=found["width"].fillna(0).to_numpy(int),
        height=found["height"].fillna(0).to_numpy(int),
        content=found["content"].fillna("").to_numpy(),
    )
    frame["content"] = frame["content"].astype("str")
    # An excluded row may name a photo that another row keeps.
    frame["group"] = splits.merge_groups(frame)
    problems += _file_problems(frame, error)
    problems += _box_problems(frame) + splits.group_problems(frame)
    if problems:
        raise ManifestError(source, problems)
    return dataclasses.replace(
        manifest,
        frame=frame,
        fingerprint=tables.fingerprint(frame),
        notes=manifest.notes + tuple(_copies(frame)),
    )


def _read(source: Path, layout) -> tuple[Manifest, list[str]]:
    """Chooses the layout; a file is a CSV."""
    names = ["auto", "csv", *LAYOUTS]
    if layout not in names:
        raise ValueError(f"layout {layout!r} is unknown: use one of {', '.join(names)}")
    if not source.exists():
        raise ManifestError(source, ["no such file or folder: check the path"])
    if layout == "csv" and source.is_dir():
        raise ManifestError(source, ["is a folder, but layout 'csv' needs the CSV file itself"])
    if not source.is_dir():
        if layout not in ("auto", "csv"):
            raise ManifestError(source, [f"is a file, but layout '{layout}' needs its folder"])
        frame, problems, notes = tables.read_table(source)
        manifest, more = tables.build(frame, root=source.parent, source=str(source), notes=notes)
        return manifest, problems + more
    tried = []
    for name in LAYOUTS if layout == "auto" else [layout]:
        try:
            frame, notes = LAYOUTS[name](source)
        except _Absent as reason:
            tried.append(f"{name} ({reason})")
            continue
        return tables.build(frame, root=source, source=str(source), notes=notes)
    own = sorted(path.name for path in source.glob("*.csv"))[:5]
    hint = f" such as {quoted(own)} in it" if own else ""
    raise ManifestError(
        source,
        [
            f"is a folder of no known layout; tried {'; '.join(tried)}: name a CSV instead{hint}, "
            "with "
            "the columns image, label and patient"
        ],
    )


def _file_problems(frame, error) -> list[str]:
    """One line per reason: missing and unreadable photographs."""
    problems = []
    for reason, part in frame.groupby(error, sort=False):
        if reason and (part := part[part["image"] != ""]).size:
            problems.append(at_rows(part["row"], f"{reason}: {quoted(part['image'])}"))
    return problems


def _box_problems(frame) -> list[str]:
    """Boxes that leave their photograph by more than rounding."""
    slack = 0.5
    outside = (
        (frame["width"] > 0)
        & frame["x"].notna()
        & (
            (frame["x"] < -slack)
            | (frame["y"] < -slack)
            | (frame["x"] + frame["w"] > frame["width"] + slack)
            | (frame["y"] + frame["h"] > frame["height"] + slack)
        )
    )
    if not outside.any():
        return []
    first = frame[outside].iloc[0]
    box = " ".join(f"{side}={first[side]:g}" for side in BOX)
    return [
        at_rows(
            frame.loc[outside, "row"],
            f"box outside the image ({box} in {first['image']} of {first['width']} x "
            f"{first['height']} px): correct it, counted on the upright photograph",
        )
    ]


def _copies(frame) -> list[str]:
    """Identical files under several names, which is usually a mistake worth a look."""
    files = frame[frame["content"] != ""].drop_duplicates("path")
    copies = files[files["content"].duplicated(keep=False)]
    if copies.empty:
        return []
    labels = copies[copies["label"] != ""].groupby("content")["label"].nunique()
    differ = f", {(labels > 1).sum()} of them with different labels" if (labels > 1).any() else ""
    return [
        f"photographs present under several names: {copies['content'].nunique()}{differ} "
        f"({quoted(copies['image'])}); the copies stay in one set"
    ]


def _table(folder: Path, names, columns) -> tuple[pd.DataFrame, list[str]]:
    """The first of the named tables that is there and has the columns; else _Absent."""
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise _Absent(f"no {' or '.join(names)}")
    frame, problems, notes = tables.read_table(path)
    missing = [column for column in columns if column not in frame]
    if missing:
        raise _Absent(f"{path.name} has no column {', '.join(missing)}")
    if problems:
        raise ManifestError(path, problems)
    return frame, notes


def _photos(folder: Path, roots) -> dict[str, str]:
    """File stem -> path relative to the folder, of the photographs under the given folders."""
    found = {}
    present = [name for root in roots for name in sorted(folder.glob(root)) if name.is_dir()]
    if not present:
        raise _Absent(f"no folder {' or '.join(roots)}")
    for root in present:
        for place, _, files in sorted(os.walk(root)):
            for file in sorted(files):
                stem, ending = os.path.splitext(file)
                if ending.lower() in _PHOTOS:
                    found.setdefault(stem, Path(place, file).relative_to(folder).as_posix())
    return found


def _located(ids, photos) -> list[str]:
    """Where each id's photograph is; an absent one keeps its usual place, for the message."""
    stems = [os.path.splitext(name)[0] if name.lower().endswith(_PHOTOS) else name for name in ids]
    return [
        photos.get(stem, f"images/{name}" if name else "")
        for stem, name in zip(stems, ids, strict=True)
    ]


def _kept(frame, names) -> dict[str, pd.Series]:
    """The columns that are there, under our names."""
    return {ours: frame[theirs] for theirs, ours in names.items() if theirs in frame}


def _pad_ufes20(folder: Path) -> _Raw:
    """PAD-UFES-20: metadata.csv, images/ (with or without parts), boxes.csv if there is one."""
    frame, notes = _table(folder, ["metadata.csv"], ["img_id", "diagnostic", "patient_id"])
    photos = _photos(folder, ["images", "imgs_part_*"])
    lesion = frame.get("lesion_id", pd.Series("", index=frame.index))
    raw = pd.DataFrame(
        {
            "row": frame["row"],
            "image": _located(frame["img_id"], photos),
            "label": frame["diagnostic"],
            "patient": frame["patient_id"],
            # Numbered over all patients in the original; joined, so that a mirror's renumbering
            # cannot merge two patients.
            "lesion": (frame["patient_id"] + "_" + lesion).where(lesion != "", ""),
            **_kept(
                frame, {"age": "age", "gender": "sex", "fitspatrick": "skin_type", "region": "site"}
            ),
        }
    )
    if not (folder / "boxes.csv").is_file():
        return raw, notes + ["no boxes.csv: whole images are used"]
    boxes, more = _table(folder, ["boxes.csv"], ["img_id", *BOX])
    lost = int((~boxes["img_id"].isin(frame["img_id"])).sum())
    bare = int((~frame["img_id"].isin(boxes["img_id"])).sum())
    notes += more + ([f"images without a box: {bare} (used whole)"] if bare else [])
    notes += [f"rows of boxes.csv that match no img_id of metadata.csv: {lost}"] if lost else []
    raw = (
        raw.assign(img_id=frame["img_id"])
        .merge(boxes[["img_id", *BOX]], on="img_id", how="left")
        .drop(columns="img_id")
    )
    return raw.fillna(dict.fromkeys(BOX, "")), notes


def _ham10000(folder: Path) -> _Raw:
    """HAM10000: HAM10000_metadata.csv or index.csv, images/ or HAM10000_images_part_*/."""
    frame, notes = _table(folder, ["HAM10000_metadata.csv", "index.csv"], ["image_id", "dx"])
    photos = _photos(folder, ["images", "HAM10000_images_part_*"])
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
            "image": _located(named, photos),
            "label": frame["dx"],
            **_kept(
                frame,
                {
                    "lesion_id": "lesion",
                    "dx_type": "dx_type",
                    "age": "age",
                    "sex": "sex",
                    "localization": "site",
                },
            ),
        }
    ), notes


# A further layout is one function: a folder to a table under the manifest's headers (plus `row`)
# and its notes; it raises _Absent with what is missing.
LAYOUTS: dict[str, Callable[[Path], _Raw]] = {"pad_ufes20": _pad_ufes20, "ham10000": _ham10000}
