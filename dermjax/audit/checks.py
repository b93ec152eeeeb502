"""What a data set holds, and what in it would make results wrong."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dermjax.data import balance, links, splits, subgroup_values
from dermjax.data.manifest import KNOWN, OURS, Manifest
from dermjax.data.near_duplicates import BITS

SEVERITIES = ("refuse", "allowed", "warn", "info")  # `allowed`: refused but for the user's leave
ALPHAS = (0.1, 0.2, 0.5, 1.0)
_MOST_ROWS = 1000
_MOST_VALUES = 50  # of a column that is counted; ids and free text have more


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of thing that was found."""

    severity: str  # of SEVERITIES; `refuse`: training would measure what it has seen
    kind: str
    text: str
    count: int
    rows: list[int]  # lines of the user's table, the first thousand

    def __str__(self):
        return f"{self.severity:6} {self.kind}: {self.text}"


def audit(manifest: Manifest, split: np.ndarray, pairs: pd.DataFrame) -> dict:
    """Everything that can be counted, and the findings.

    Args:
        manifest: As `layouts.examine` returns it.
        split: `[N]` set of each row; '' where it has none.
        pairs: Of the manifest, as `alike` returns them.

    Returns:
        A dict for JSON: findings, images, alike, classes, columns, merged (spellings that were
        counted together), labelled.
    """
    uneven = balance.uneven(manifest.frame, split)
    manifest = dataclasses.replace(manifest, frame=manifest.frame.assign(split=split))
    frame = manifest.frame
    kept = frame[frame["exclude"] != "all"]
    further = _further(kept)
    return {
        "source": manifest.source,
        "fingerprint": manifest.fingerprint,
        "notes": list(manifest.notes),
        "near_duplicates_looked_for": manifest.pairs is not None,
        "findings": [dataclasses.asdict(found) for found in findings(manifest, pairs, uneven)],
        "images": _images(frame, kept),
        "alike": _named(frame, pairs),
        "classes": _classes(kept),
        "columns": _columns(further),
        "merged": {name: list(one.notes) for name, one in further.items() if one.notes},
        "labelled": _labelled(kept),
    }


def findings(
    manifest: Manifest, pairs: pd.DataFrame, uneven: Sequence[balance.Uneven] = ()
) -> list[Finding]:
    """What is wrong or worth a look, the gravest first.

    Args:
        manifest: With the sets in the column `split`.
        pairs: Of the manifest, as `alike` returns them.
        uneven: Of the sets, as `balance.uneven` returns them.
    """
    frame = manifest.frame
    kept = frame[frame["exclude"] != "all"]
    found = [
        *_torn(frame, manifest.allow),
        *_contradictions(kept),
        *_near(kept),
        *_alike(frame, pairs),
        *(Finding("warn", "uneven sets", u.text, len(u.rows), _rows(u.rows)) for u in uneven),
        *_gaps(frame),
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _torn(frame, allow) -> Iterator[Finding]:
    """What lies in two sets."""
    for name, rows in links.split_apart(frame).items():
        excepted = links.excepted(name, rows, allow)
        for severity, part in (("refuse", rows[~excepted]), ("allowed", rows[excepted])):
            if len(part):
                kind = f"{name.replace('_', ' ')} in two sets"
                yield _finding(severity, kind, part, "shared")


def _near(frame) -> Iterator[Finding]:
    """Photographs that are taken for one although their files differ."""
    files = frame[frame["near"] != ""].drop_duplicates(["path", "label", "patient"])
    for severity, kind, column in (
        ("warn", "near duplicates of two labels", "label"),
        ("warn", "near duplicates of two patients", "patient"),
        ("info", "near duplicates", "content"),
    ):
        rows = _several(files[files[column] != ""], "near", column)
        # What identical files show has been told.
        rows = rows[rows.groupby("near")["content"].transform("nunique") > 1]
        if len(rows):
            yield _finding(severity, kind, rows, "near")


def _alike(frame, pairs: pd.DataFrame) -> Iterator[Finding]:
    """Photographs that are hardly the same, but worth a look."""
    pairs = pairs[~pairs["sure"]]
    if len(pairs):
        rows = frame.loc[sorted({*pairs["first"], *pairs["second"]})]
        text = f"{len(pairs)} pairs, nearest {pairs['distance'].min()} of {BITS} bits apart"
        yield Finding("info", "photographs that look alike", text, len(pairs), _rows(rows))


def alike(manifest: Manifest) -> pd.DataFrame:
    """Pairs of photographs whose perceptual hashes are near each other.

    Args:
        manifest: As `layouts.examine` returns it.

    Returns:
        One row per pair, the nearest first: first, second (index of the table), distance (bits of
        256), sure (they are taken for one, and kept in one set).
    """
    frame, pairs = manifest.frame, manifest.pairs
    files = frame[(frame["hash"] != "") & (frame["exclude"] != "all")].drop_duplicates("content")
    place = pd.Series(files.index, index=files["hash"]).groupby(level=0).first()
    if pairs is None or files.empty:
        whole = dict.fromkeys(("first", "second", "distance"), int)
        return pd.DataFrame({**whole, "sure": bool}, index=[]).astype({**whole, "sure": bool})
    pairs = pairs[pairs["first"].isin(place.index) & pairs["second"].isin(place.index)]
    found = pd.DataFrame(
        {
            "first": place[pairs["first"]].to_numpy(),
            "second": place[pairs["second"]].to_numpy(),
            "distance": pairs["distance"].to_numpy(),
        }
    )
    # Different files of one hash are no pair of hashes.
    first = files["hash"].map(place)
    same = pd.DataFrame({"first": first, "second": files.index, "distance": 0})
    found = pd.concat([same[same["first"] != same["second"]], found], ignore_index=True)
    near = frame["near"]
    sure = near[found["first"]].to_numpy() == near[found["second"]].to_numpy()
    return found.assign(sure=sure & (near[found["first"]] != "").to_numpy()).astype(
        {"first": int, "second": int}
    )


def _named(frame, pairs: pd.DataFrame) -> list[dict]:
    """The nearest pairs by the names of their images."""
    return [
        {
            "images": [frame["image"][pair.first], frame["image"][pair.second]],
            "rows": [int(frame["row"][pair.first]), int(frame["row"][pair.second])],
            "bits": int(pair.distance),
            "taken_for_one": bool(pair.sure),
        }
        for pair in pairs.head(_MOST_ROWS).itertuples()
    ]


def _contradictions(frame) -> Iterator[Finding]:
    """Identical files that are not one photograph of one patient."""
    files = frame.drop_duplicates(["path", "label", "patient"])
    for column in ("label", "patient"):
        rows = _several(files[files[column] != ""], "content", column)
        if len(rows):
            yield _finding("warn", f"identical files of two {column}s", rows, "content")
    files = files.drop_duplicates("path")
    rows = files[(files["content"] != "") & files["content"].duplicated(keep=False)]
    if len(rows):
        yield _finding("info", "identical files under several names", rows, "content")


def _gaps(frame) -> Iterator[Finding]:
    """What is not known or not used."""
    kept = frame[frame["exclude"] != "all"]
    for severity, kind, rows in (
        ("warn", "rows without a patient", kept[kept["patient"] == ""]),
        ("info", "rows without a label", kept[kept["label"] == ""]),
        ("info", "rows without a box", kept[kept["x"].isna()]),
        ("info", "rows with redactions", kept[kept["redact"] != ""]),
        ("info", "rows left out of the test set", kept[kept["exclude"] == "test"]),
        ("info", "rows left out of everything", frame[frame["exclude"] == "all"]),
    ):
        if len(rows):
            yield Finding(severity, kind, f"{len(rows)} of {len(frame)}", len(rows), _rows(rows))


def _several(frame, by: str, of: str) -> pd.DataFrame:
    """Rows whose `by`, where it is known, goes with more than one `of`."""
    known = frame[frame[by] != ""]
    return known[known.groupby(by)[of].transform("nunique") > 1]


def _finding(severity: str, kind: str, rows: pd.DataFrame, by: str) -> Finding:
    """Counted by what is the same, not by rows."""
    named = rows["name"] if by in ("content", "near") else rows[by]
    shown = ", ".join(named.drop_duplicates().head(3))
    count = rows[by].nunique()
    return Finding(severity, kind, f"{count} ({shown}{' ...' * (count > 3)})", count, _rows(rows))


def _rows(frame) -> list[int]:
    return sorted({int(row) for row in frame["row"]})[:_MOST_ROWS]


def _images(frame, kept) -> dict:
    """Files and sizes."""
    files = kept.drop_duplicates("path")
    opened = files[files["width"] > 0]
    sides = {side: opened[side] for side in ("width", "height")}
    return {
        "rows": len(frame),
        "rows_kept": len(kept),
        "files": len(files),
        "files_opened": len(opened),
        "groups": int(kept["group"].nunique()),
        **{f"{column}s": _ids(kept[column]) for column in ("patient", "lesion")},
        "modes": {mode: int(n) for mode, n in opened["mode"].value_counts().items()},
        **{
            f"{side}_px": {
                "least": int(values.min()),
                "median": float(values.median()),
                "most": int(values.max()),
            }
            for side, values in sides.items()
            if len(values)
        },
    }


def _ids(values: pd.Series) -> dict:
    """How many patients or lesions there are, with how many rows, and rows of unknown ones."""
    sizes = values[values != ""].value_counts()
    return {
        "known": len(sizes),
        "rows_of_one": {"median": float(sizes.median()), "most": int(sizes.max())}
        if len(sizes)
        else None,
        "rows_unknown": int((values == "").sum()),
    }


def _classes(frame) -> dict:
    """Rows and groups of each class in each set and in all, and the class's share of them."""
    labelled = frame[frame["label"] != ""]
    sets = {split or "(no set)": part for split, part in labelled.groupby("split")}
    if list(sets) != ["(no set)"]:
        sets["all"] = labelled
    counted = {
        split: part.groupby("label").agg(rows=("row", "size"), groups=("group", "nunique"))
        for split, part in sets.items()
    }
    return {
        name: {
            split: {
                "rows": int(counts["rows"][name]),
                "groups": int(counts["groups"][name]),
                "share": float(counts["rows"][name] / counts["rows"].sum()),
            }
            for split, counts in counted.items()
            if name in counts.index
        }
        for name in sorted(set(labelled["label"]))
    }


def _further(frame) -> dict[str, subgroup_values.Grouped]:
    """The columns that are neither ours nor the manifest's, as the subgroups that they make.

    Those of many values, such as ids and free text, are left out.
    """
    found = {
        name: subgroup_values.group(frame[name]) for name in frame if name not in (*KNOWN, *OURS)
    }
    return {name: one for name, one in found.items() if len(one.order) <= _MOST_VALUES}


def _columns(further: dict[str, subgroup_values.Grouped]) -> dict[str, dict[str, int]]:
    """Rows by subgroup of each further column; numbers are counted in tens."""
    counts = {name: collections.Counter(one.names.tolist()) for name, one in further.items()}
    return {
        name: {value: counts[name][value] for value in one.order} for name, one in further.items()
    }


def _labelled(frame) -> dict:
    """Per alpha and class: the images that keep their label in trial 0, and the groups behind."""
    train = (frame["split"] == "train").to_numpy() & (frame["label"] != "").to_numpy()
    report = {}
    for alpha in ALPHAS:
        keep = splits.keep_labels(frame["label"].to_numpy(), train, alpha, seed=0, trial=0)
        report[f"{alpha:g}"] = {
            name: {"rows": len(part), "groups": int(part["group"].nunique())}
            for name, part in frame[keep].groupby("label")
        }
    return report
