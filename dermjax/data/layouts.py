"""Loads the data: recognises what a user brings and reports everything that is wrong with it."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dermjax import stores
from dermjax.data import (
    boxes,
    file_names,
    links,
    masks,
    near_duplicates,
    orientation,
    redactions,
    remote,
    scan,
    splits,
)
from dermjax.data import manifest as tables
from dermjax.data.importers import LAYOUTS, dermamnist, recognise
from dermjax.data.importers.folders import check_names
from dermjax.data.manifest import BOX, Manifest
from dermjax.data.problems import Kind, Line, ManifestError, at_rows, quoted
from dermjax.data.work import WORK, Track, Work, untracked

POLICIES = ("refuse", "skip", "use")
_NAMED = 5  # missing files whose neighbours are looked for
_LATER = "not needed to pretrain, but to fine-tune, in a probe and in a study"
_FEW = 0.1  # of the photographs; where more are bad, a folder is missing or the paths are wrong


def load(source, **options) -> Manifest:
    """The data set that `examine` finds nothing wrong with.

    Args:
        source: A CSV, or a folder in one of the known layouts.
        **options: Of `examine`.

    Raises:
        ManifestError: All problems together.
        ValueError: Unknown layout or policy.
    """
    manifest, problems = examine(source, **options)
    if problems:
        raise ManifestError(source, problems)
    return manifest


def examine(
    source,
    *,
    labelled: bool = True,
    on_bad_image: str = "refuse",
    near: int = near_duplicates.SURE,
    allow: Sequence[str] = (),
    cache_dir,
    work: Work = WORK,
    few: float = _FEW,
    **of_table,
) -> tuple[Manifest, list[str]]:
    """Reads and checks a data set: the table, every file, boxes, groups and classes.

    Args:
        source: A CSV, or a folder in one of the known layouts; or the gs:// address of one.
        labelled: Labels are needed. Where they are not, as in pretraining alone, what is wrong
            with them stands in the notes.
        on_bad_image: 'refuse' makes problems of photographs that are missing, unreadable or
            damaged; 'skip' leaves them out and lists them in the notes, as long as they are few;
            'use' takes damaged ones as they can be read, lists them, and refuses the others.
        near: Bits of 256 by which the perceptual hashes of one photograph may differ: such near
            duplicates stay in one set; 0: they are not looked for.
        allow: Leaks of a given split that are accepted, as `links.excepted` reads them.
        cache_dir: Folder for the scan's results.
        work: By how many processes, and who shows the progress.
        few: Share of the photographs, of which more are too many to skip.
        **of_table: layout, official_split and redact, as `read` takes them.

    Returns:
        (manifest, problems): the manifest with `fingerprint` and the columns of the scan. Rows
        left out everywhere are not opened: width = height = 0, the others ''.

    Raises:
        ManifestError: No table can be made of it.
        ValueError: Unknown layout, policy or exception.
    """
    _check_options(on_bad_image, allow)
    manifest, problems = read(
        source, labelled=labelled, cache_dir=cache_dir, track=work.track, **of_table
    )
    frame, seen = _scanned(manifest.frame, cache_dir, work)
    frame, seen, more, renamed = _spelled_otherwise(frame, seen, cache_dir, work)
    frame, left_out, bad = _bad_files(frame, seen, on_bad_image, few)
    seen = seen.loc[frame.index]
    frame, undrawn, turned = orientation.turn_boxes(frame, seen["orientation"].to_numpy(int))
    frame["name"] = tables.names(frame)
    frame, pairs = _near_duplicates(frame, near, cache_dir, work.track)
    # An excluded row may name a photo that another row keeps.
    frame["group"] = links.merge_groups(frame)
    problems += bad + more + undrawn + _box_problems(frame) + redactions.outside(frame)
    of_groups = splits.group_problems(frame, allow, labelled=labelled)
    of_labels = [] if labelled else splits.group_problems(frame, allow)
    problems += of_groups
    later = [f"{_LATER}: {line}" for line in of_labels if line not in of_groups]
    notes = (
        *manifest.notes,
        *later,
        *renamed,
        *left_out,
        *turned,
        *boxes.small(frame),
        *_frames(frame, seen),
        *_copies(frame),
        *_near(frame),
        *_unvalidated(frame),
    )
    key = tables.fingerprint(frame)
    manifest = dataclasses.replace(
        manifest, frame=frame, pairs=pairs, allow=tuple(allow), notes=notes, fingerprint=key
    )
    return manifest, problems


def read(
    source,
    *,
    cache_dir,
    labelled: bool = True,
    layout: str = "auto",
    official_split: bool = False,
    redact: str = "",
    track: Track = untracked,
) -> tuple[Manifest, list[str]]:
    """The table alone, no photograph is opened.

    Args:
        source: A CSV, or a folder in one of the known layouts; or the gs:// address of one: a
            folder is copied whole, of a CSV the photographs that it names, and their masks.
        cache_dir: Where an archive of images is unpacked, and data of a bucket are copied to.
        labelled: Labels are needed.
        layout: 'auto', 'csv' or a name in LAYOUTS.
        official_split: Take the sets that the layout comes with; checked as any given ones.
        redact: A table of redactions; by default the one beside the source, if there is one.
        track: Wraps an iterable of known length to show progress: (items, total, label).

    Returns:
        (manifest, problems that the table can show).

    Raises:
        ManifestError: No table can be made of it.
        ValueError: Unknown layout, or a bucket that cannot be read.
    """
    names = ["auto", "csv", *LAYOUTS]
    if layout not in names:
        raise ValueError(f"layout {layout!r} is unknown: use one of {', '.join(names)}")
    source, redact = stores.expanded(source), stores.expanded(redact)
    if not stores.is_remote(source):
        return _read(Path(source), cache_dir, layout, official_split, redact, labelled)
    copies = remote.Copies(cache_dir, track)
    local = copies.of(str(source))
    if redact:
        redact = str(copies.of(redact)) if stores.is_remote(redact) else redact
    elif local.is_file():
        copies.named([redactions.sidecar_of(local)])
    try:
        manifest, problems = _read(local, cache_dir, layout, official_split, redact, labelled)
    except ManifestError as error:
        raise ManifestError(source, error.problems) from None
    if local.is_file():
        copies.named(_files(manifest))
    return dataclasses.replace(manifest, source=str(source)), problems


def _files(manifest: Manifest) -> list[str]:
    """The photographs that a table names, and where their masks may be."""
    frame = manifest.frame
    frame = frame[(frame["exclude"] != "all") & (frame["image"] != "")]
    if "mask" in frame:
        drawn = filter(None, masks.locate(frame, manifest.folder))
    else:
        drawn = (place for path in frame["path"] for place in masks.places(path))
    return [*frame["path"], *drawn]


def _read(source: Path, cache_dir, layout: str, official_split: bool, redact: str, labelled: bool):
    """`read` of a file or folder of this machine."""
    check_names(source, [Path(os.path.abspath(source))])
    if not source.exists():
        raise ManifestError(source, ["no such file or folder: check the path"])
    if layout == "csv" and source.is_dir():
        raise ManifestError(source, ["is a folder, but layout 'csv' needs the CSV file itself"])
    root = source.parent
    problems: list[str] = []
    if source.is_dir():
        root, (name, frame, notes) = source, recognise.recognise(source, layout, labelled)
        frame = _officially(frame, source, name, official_split)
    elif source.suffix == ".npz":
        root, (frame, notes) = dermamnist.read(source, Path(cache_dir))
        frame = _officially(frame, source, "dermamnist", official_split)
    else:
        if layout not in ("auto", "csv"):
            raise ManifestError(source, [f"is a file, but layout '{layout}' needs its folder"])
        if official_split:
            raise ManifestError(source, ["is a file: its column 'split' is used as it stands"])
        frame, problems, notes = tables.read_table(source)
    hidden, more, redaction_notes = _redactions(source, redact)
    manifest, further = tables.build(
        frame,
        root=root,
        source=str(source),
        notes=[*notes, *redaction_notes],
        redact=hidden,
        labelled=labelled,
    )
    return manifest, [*problems, *more, *further]


def _redactions(source: Path, redact: str):
    """(table or None, problems, notes) of the redactions that are named or lie beside."""
    path = Path(redact) if redact else redactions.sidecar_of(source)
    if not redact and not path.is_file():
        return None, [], []
    table, problems, notes = tables.read_table(path)
    found = Line(f"redactions read from {path.name}: {len(table)}", Kind.REDACTIONS)
    notes = [*notes, found]
    return redactions.located(table, path), [f"{path.name}: {line}" for line in problems], notes


def _officially(frame, source: Path, name: str, wanted: bool):
    """The table, with the layout's own sets where they are wanted.

    Raises:
        ManifestError: It comes with none.
    """
    if not wanted:
        return frame
    if "official_split" not in frame:
        message = f"layout {name} comes with no split here: leave data.official_split out"
        raise ManifestError(source, [message])
    return frame.rename(columns={"official_split": "split"})


def _check_options(on_bad_image: str, allow: Sequence[str]) -> None:
    """Before a photograph is opened."""
    links.check_allow(allow)
    if on_bad_image not in POLICIES:
        raise ValueError(f"on_bad_image {on_bad_image!r} is unknown: use {' or '.join(POLICIES)}")


def _scanned(frame, cache_dir, work: Work):
    """The frame with the columns of the scan, and what else was seen of each row's file.

    That is error and damage ('' for none), orientation and frames.
    """
    found = scan.scan(
        frame.loc[(frame["exclude"] != "all") & (frame["image"] != ""), "path"],
        cache_file=Path(cache_dir) / "scan.csv",
        workers=work.workers,
        track=work.track,
    )
    found = found.set_index("path").reindex(frame["path"])
    sizes = {name: found[name].fillna(0).to_numpy(int) for name in ("width", "height")}
    words = {
        name: pd.Series(found[name].fillna("").to_numpy(), frame.index, dtype="str")
        for name in ("content", "mode", "hash")
    }
    seen = {name: found[name].fillna("").to_numpy(object) for name in ("error", "damage")}
    seen |= {name: found[name].fillna(1).to_numpy(int) for name in ("orientation", "frames")}
    return frame.assign(**sizes, **words), pd.DataFrame(seen, frame.index)


def _spelled_otherwise(frame, seen, cache_dir, work: Work):
    """Files whose names the disk has in another form: (frame, seen, problems, notes)."""
    found = file_names.find(frame.loc[(seen["error"] == scan.NOT_FOUND).to_numpy(), "path"])
    if not found:
        return frame, seen, [], []
    rows = frame["path"].isin(list(found))
    own = frame[rows].assign(path=frame.loc[rows, "path"].map(found))
    own, seen_anew = _scanned(own, cache_dir, work)
    frame = pd.concat([frame[~rows], own]).sort_index()
    seen = pd.concat([seen[~rows], seen_anew]).sort_index()
    # Two rows of a table may have named one file in two ways.
    problems = tables.duplicates(frame[frame["path"].isin(own["path"])])
    text = (
        "files found under another form of their names, as the disk has them: "
        f"{quoted(map(os.path.basename, own['path']))}"
    )
    return frame, seen, problems, [Line(at_rows(own["row"], text), Kind.FILES)]


def _neighbours(paths) -> str:
    """What a person may have meant by files that are not there."""
    near = [name for path in paths[:_NAMED] for name in file_names.neighbours(path)]
    return f" (in their folders there are {quoted(near)}: is that meant?)" if near else ""


def _bad_files(frame, seen: pd.DataFrame, on_bad_image: str, few: float):
    """The frame without missing, unreadable and damaged photographs where they may be skipped; then
    they are notes, else problems, one line per reason."""
    damaged = (seen["damage"] != "").to_numpy()
    words = "cut short or damaged, so that a part of it is grey ("
    damage = np.where(damaged, words + seen["damage"].astype(str) + ")", "")
    remedy = "copy it again, or --config.data.on_bad_image=skip (leave it out) or use (as it is)"
    error = np.where(damaged & (on_bad_image == "refuse"), damage + ": " + remedy, damage)
    error = np.where(seen["error"] != "", seen["error"], error).astype(object)
    bad: list[str] = []
    used: list[str] = []
    for reason, part in frame.groupby(error, sort=False):
        if reason and (part := part[part["image"] != ""]).size:
            is_used = on_bad_image == "use" and damaged[frame.index.get_indexer(part.index)].all()
            near = _neighbours(part["path"].tolist()) if reason == scan.NOT_FOUND else ""
            line = at_rows(part["row"], f"{reason}: {quoted(part['image'])}{near}")
            (used if is_used else bad).append(line)
    if on_bad_image != "skip":
        return frame, [Line(f"used all the same: {line}", Kind.FILES) for line in used], bad
    if (error != "").sum() > few * (frame["exclude"] != "all").sum():
        many = f" (more than {few:.0%} in all: too many to skip)"
        return frame, [], [line + many for line in bad]
    kept = frame.assign(exclude=frame["exclude"].mask(error != "", "all"))
    return kept, [Line(f"left out: {line}", Kind.FILES) for line in bad], []


def _frames(frame, seen: pd.DataFrame) -> list[str]:
    """Animated GIFs, and TIFFs of several pages."""
    several = frame[(seen["frames"] > 1) & (frame["width"] > 0)].drop_duplicates("path")
    if several.empty:
        return []
    names = quoted(several["image"])
    text = f"files of several frames or pages, of which the first is taken: {names}"
    return [Line(text, Kind.FILES)]


def _near_duplicates(frame, near: int, cache_dir, track: Track):
    """The frame with the column `near`, and the pairs of photographs that look alike."""
    if not near:
        return frame.assign(near=""), None
    within = max(near, near_duplicates.LIKELY)
    pairs = near_duplicates.find(frame["hash"], within=within, cache_dir=cache_dir, track=track)
    return frame.assign(near=near_duplicates.joined(frame["hash"], pairs, near)), pairs


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
            frame.loc[outside, "image"],
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
        f"({quoted(copies['image'])}); {_kept(frame)}"
    ]


def _near(frame) -> list[str]:
    """Photographs that are nearly the same file."""
    files = frame[frame["near"] != ""].drop_duplicates("content")
    copies = files[files["near"].duplicated(keep=False)]
    if copies.empty:
        return []
    return [
        f"near duplicates: {copies['near'].nunique()} photographs are there more than once, saved "
        f"or cut anew ({quoted(copies['image'])}); {_kept(frame)}"
    ]


def _kept(frame) -> str:
    """What becomes of copies, which only a given split can tear apart."""
    if (frame.loc[frame["exclude"] != "all", "split"] != "").any():
        return "the given split may tear none of them without leave"
    return "they stay in one set"


def _unvalidated(frame) -> list[str]:
    """A split into training and test images only."""
    given = set(frame.loc[frame["exclude"] != "all", "split"]) - {""}
    if not given or "validation" in given:
        return []
    return ["the given split has no validation set: a quarter of the training patients is taken"]
