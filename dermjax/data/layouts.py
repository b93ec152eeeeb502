"""The one door for data: recognises what a user brings and tells everything that is wrong."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dermjax import stores
from dermjax.data import manifest as tables
from dermjax.data import masks, near_duplicates, redactions, remote, scan, splits
from dermjax.data.importers import LAYOUTS, dermamnist
from dermjax.data.importers.folders import Absent, NoTable
from dermjax.data.manifest import BOX, Manifest
from dermjax.data.problems import ManifestError, at_rows, quoted

POLICIES = ("refuse", "skip")
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
    on_bad_image: str = "refuse",
    near: int = near_duplicates.SURE,
    allow: Sequence[str] = (),
    cache_dir,
    workers: int = 2,
    track: scan.Track = lambda items, total, label: items,
    **of_table,
) -> tuple[Manifest, list[str]]:
    """Reads and checks a data set: the table, every file, boxes, groups and classes.

    Args:
        source: A CSV, or a folder in one of the known layouts; or the gs:// address of one.
        on_bad_image: 'skip' leaves missing and unreadable photographs out and lists them in the
            notes, as long as they are few; 'refuse' makes problems of them.
        near: Bits of 256 by which the perceptual hashes of one photograph may differ: such near
            duplicates stay in one set; 0: they are not looked for.
        allow: Leaks of a given split that are accepted, as `splits.excepted` reads them.
        cache_dir: Folder for the scan's results.
        workers: Processes that open photographs.
        track: Wraps an iterable of known length to show progress: (items, total, label).
        **of_table: layout, official_split and redact, as `read` takes them.

    Returns:
        (manifest, problems): the manifest with `fingerprint` and the columns of the scan. Rows
        left out everywhere are not opened: width = height = 0, the others ''.

    Raises:
        ManifestError: No table can be made of it.
        ValueError: Unknown layout, policy or exception.
    """
    _check_options(on_bad_image, allow)
    manifest, problems = read(source, cache_dir=cache_dir, track=track, **of_table)
    frame, error = _scanned(manifest.frame, cache_dir, workers, track)
    frame, left_out, bad = _bad_files(frame, error, on_bad_image)
    frame, pairs = _near_duplicates(frame, near, cache_dir, track)
    # An excluded row may name a photo that another row keeps.
    frame["group"] = splits.merge_groups(frame)
    problems += bad + _box_problems(frame) + redactions.outside(frame)
    problems += splits.group_problems(frame, allow)
    notes = (*manifest.notes, *left_out, *_copies(frame), *_near(frame), *_unvalidated(frame))
    key = tables.fingerprint(frame)
    manifest = dataclasses.replace(
        manifest, frame=frame, pairs=pairs, allow=tuple(allow), notes=notes, fingerprint=key
    )
    return manifest, problems


def read(
    source,
    *,
    cache_dir,
    layout: str = "auto",
    official_split: bool = False,
    redact: str = "",
    track: scan.Track = lambda items, total, label: items,
) -> tuple[Manifest, list[str]]:
    """The table alone, no photograph is opened.

    Args:
        source: A CSV, or a folder in one of the known layouts; or the gs:// address of one: a
            folder is copied whole, of a CSV the photographs that it names, and their masks.
        cache_dir: Where an archive of images is unpacked, and data of a bucket are copied to.
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
        return _read(Path(source), cache_dir, layout, official_split, redact)
    copies = remote.Copies(cache_dir, track)
    local = copies.of(str(source))
    if redact:
        redact = str(copies.of(redact)) if stores.is_remote(redact) else redact
    elif local.is_file():
        copies.named([redactions.sidecar_of(local)])
    try:
        manifest, problems = _read(local, cache_dir, layout, official_split, redact)
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


def _read(source: Path, cache_dir, layout: str, official_split: bool, redact: str):
    """`read` of a file or folder of this machine."""
    if not source.exists():
        raise ManifestError(source, ["no such file or folder: check the path"])
    if layout == "csv" and source.is_dir():
        raise ManifestError(source, ["is a folder, but layout 'csv' needs the CSV file itself"])
    root, problems = source.parent, []
    if source.is_dir():
        root, (frame, notes) = source, _folder(source, layout, official_split)
    elif source.suffix == ".npz":
        root, (frame, notes) = dermamnist.read(source, Path(cache_dir))
        frame = _officially(frame, source, "dermamnist", official_split)
    else:
        if layout not in ("auto", "csv"):
            raise ManifestError(source, [f"is a file, but layout '{layout}' needs its folder"])
        if official_split:
            raise ManifestError(source, ["is a file: its column 'split' is used as it stands"])
        frame, problems, notes = tables.read_table(source)
    hidden, more, told = _redactions(source, redact)
    manifest, further = tables.build(
        frame, root=root, source=str(source), notes=[*notes, *told], redact=hidden
    )
    return manifest, [*problems, *more, *further]


def _folder(source: Path, layout: str, official_split: bool):
    """(table, notes) of the layout that is named, or else of the first that fits."""
    tried = []
    for name in LAYOUTS if layout == "auto" else [layout]:
        try:
            frame, notes = LAYOUTS[name](source)
        except Absent as reason:
            if layout == name or not isinstance(reason, NoTable):
                tried.append(f"{name} ({reason})")
            continue
        if layout == "auto":
            notes = [*notes, f"folder read as {name}; --config.data.layout=NAME says otherwise"]
        return _officially(frame, source, name, official_split), notes
    own = sorted(path.name for path in source.glob("*.csv"))[:5]
    hint = f" such as {quoted(own)} in it" if own else ""
    nearly = f"; nearly {'; '.join(tried)}" if tried else ""
    raise ManifestError(
        source,
        [
            f"is a folder of no known layout ({', '.join(LAYOUTS)}){nearly}: name a CSV "
            f"instead{hint}, with the columns image, label and patient"
        ],
    )


def _redactions(source: Path, redact: str):
    """(table or None, problems, notes) of the redactions that are named or lie beside."""
    path = Path(redact) if redact else redactions.sidecar_of(source)
    if not redact and not path.is_file():
        return None, [], []
    table, problems, notes = tables.read_table(path)
    notes = [*notes, f"redactions read from {path.name}: {len(table)}"]
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
    splits.check_allow(allow)
    if on_bad_image not in POLICIES:
        raise ValueError(f"on_bad_image {on_bad_image!r} is unknown: use {' or '.join(POLICIES)}")


def _scanned(frame, cache_dir, workers: int, track: scan.Track):
    """The frame with the columns of the scan, and what is wrong with each row's file, or ''."""
    found = scan.scan(
        frame.loc[(frame["exclude"] != "all") & (frame["image"] != ""), "path"],
        cache_file=Path(cache_dir) / "scan.csv",
        workers=workers,
        track=track,
    )
    found = found.set_index("path").reindex(frame["path"])
    sizes = {name: found[name].fillna(0).to_numpy(int) for name in ("width", "height")}
    words = {
        name: pd.Series(found[name].fillna("").to_numpy(), frame.index, dtype="str")
        for name in ("content", "mode", "hash")
    }
    return frame.assign(**sizes, **words), found["error"].fillna("").to_numpy(object)


def _bad_files(frame, error, on_bad_image: str):
    """The frame without missing and unreadable photographs where they may be skipped; then they
    are notes, else problems, one line per reason."""
    bad = []
    for reason, part in frame.groupby(error, sort=False):
        if reason and (part := part[part["image"] != ""]).size:
            bad.append(at_rows(part["row"], f"{reason}: {quoted(part['image'])}"))
    if on_bad_image == "refuse":
        return frame, [], bad
    if (error != "").sum() > _FEW * (frame["exclude"] != "all").sum():
        many = f" (more than {_FEW:.0%} in all: too many to skip)"
        return frame, [], [line + many for line in bad]
    kept = frame.assign(exclude=frame["exclude"].mask(error != "", "all"))
    return kept, [f"left out: {line}" for line in bad], []


def _near_duplicates(frame, near: int, cache_dir, track: scan.Track):
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


def _near(frame) -> list[str]:
    """Photographs that are nearly the same file."""
    files = frame[frame["near"] != ""].drop_duplicates("content")
    copies = files[files["near"].duplicated(keep=False)]
    if copies.empty:
        return []
    return [
        f"near duplicates: {copies['near'].nunique()} photographs are there more than once, saved "
        f"or cut anew ({quoted(copies['image'])}); they stay in one set"
    ]


def _unvalidated(frame) -> list[str]:
    """A split into training and test images only."""
    given = set(frame.loc[frame["exclude"] != "all", "split"]) - {""}
    if not given or "validation" in given:
        return []
    return ["the given split has no validation set: a quarter of the training patients is taken"]
