"""Who must stay in one set, and what a given split tears apart."""

import itertools

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dermjax.data import identity
from dermjax.data.problems import at_rows

SETS = ("train", "validation", "test")
# What must not be in two sets: a column, and its name as findings and exceptions have it.
LINKS = {
    "patient": "patients",
    "lesion": "lesions",
    "content": "files",
    "near": "near_duplicates",
    "chain": "chains",
}
_BY_IMAGE = ("files", "near_duplicates")  # named by an image, as a hash says nothing to a person


def merge_groups(frame: pd.DataFrame) -> pd.Series:
    """Rows that must stay in one set, transitively.

    Those of one patient, lesion, photo or file content, and near duplicates.

    Args:
        frame: Columns patient, lesion, path, image and, after the scan, content and near.

    Returns:
        Series of str: 'patient:<smallest id>', else 'lesion:<id>', else 'photo:<image>'.
    """
    count, start, rows, keys = len(frame), len(frame), [], []
    for column in ("patient", "lesion", "path", "content", "near"):
        if column in frame:
            codes, values = pd.factorize(frame[column].where(frame[column] != ""))
            used = np.flatnonzero(codes >= 0)
            rows.append(used)
            keys.append(codes[used] + start)
            start += len(values)
    rows, keys = np.concatenate(rows), np.concatenate(keys)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, keys)), shape=(start, start))
    part = connected_components(graph, directed=False)[1][:count]
    group = pd.Series("", index=frame.index, dtype="str")
    for kind in ("patient", "lesion", "image"):
        smallest = frame[kind].where(frame[kind] != "").groupby(part).min()
        prefix = "photo" if kind == "image" else kind
        found = prefix + ":" + pd.Series(part, index=frame.index).map(smallest)
        group = group.where(group != "", found.fillna("").astype("str"))
    return group


def split_apart(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Finds the patients, lesions and copies that a split puts into two sets.

    Args:
        frame: A manifest's table with its `split`; blank ones are not looked at.

    Returns:
        By the names in LINKS, those that are split apart only: the rows, with `shared`, what they
        share: the patient's or lesion's id, the first name of the images of one file or of near
        duplicates, or, where others (which may be left out) tie them together, their group.
    """
    chain = merge_groups(frame)
    unused = (frame["exclude"] == "all") | (
        (frame["split"] == "test") & (frame["exclude"] == "test")
    )
    frame = frame.assign(chain=chain)[(frame["split"] != "") & ~unused]
    content = frame.get("content", frame["path"])
    frame = frame.assign(
        content=content.where(content != "", frame["path"]), near=frame.get("near", "")
    )
    found = {}
    reported: set[str] = set()
    for column, name in LINKS.items():
        known = frame[frame[column] != ""]
        rows = known[known.groupby(column)["split"].transform("nunique") > 1]
        if column == "near":  # identical files have been told
            rows = rows[rows.groupby(column)["content"].transform("nunique") > 1]
        if column == "chain":
            rows = rows[~rows["chain"].isin(reported)]
        if len(rows):
            image = rows.groupby(column)["image"].transform("min")
            found[name] = rows.assign(shared=image if name in _BY_IMAGE else rows[column])
            reported |= set(rows["chain"])
    return found


def excepted(name: str, rows: pd.DataFrame, allow) -> pd.Series:
    """Which of the rows that are split apart are allowed to be.

    Args:
        name: Of LINKS.
        rows: As `split_apart` returns them.
        allow: Names of LINKS, all of which are allowed (`lesions`), or single ones (`lesion:ID`),
            as far as they read the same; files and near duplicates go by any of their images.
    """
    if name in allow:
        return pd.Series(True, index=rows.index)
    kind = name.removesuffix("s") + ":"
    ids = {identity.key(one.removeprefix(kind)) for one in map(str, allow) if one.startswith(kind)}
    found = rows["shared"].map(identity.key).isin(ids)
    if name in _BY_IMAGE:
        found |= rows["image"].map(identity.key).isin(ids)
    return found.groupby(rows["shared"]).transform("any")


def accepted(frame: pd.DataFrame, allow) -> dict[str, list[str]]:
    """What a given split tears apart and is allowed to: ids by the names in LINKS."""
    if not allow:
        return {}
    found = {
        name: sorted(set(rows["shared"][excepted(name, rows, allow)]))
        for name, rows in split_apart(frame).items()
    }
    return {name: ids for name, ids in found.items() if ids}


def check_allow(allow) -> None:
    """Refuses exceptions that name nothing.

    Raises:
        ValueError: One is neither a name in LINKS nor, of one alone, such as `patient:ID`.
    """
    known = [form for name in LINKS.values() for form in (name, f"{name[:-1]}:ID")]
    for entry in allow:
        kind, colon, one = str(entry).partition(":")
        if (kind + "s" * bool(colon)) not in LINKS.values() or bool(colon) != bool(one):
            raise ValueError(f"allow {entry!r} names no exception: use {', '.join(known)}")


def problems(frame: pd.DataFrame, allow=()) -> list[str]:
    """One problem for each kind of thing that a given split puts into two sets and may not.

    Args:
        frame: A manifest's table.
        allow: What may be split apart, as `excepted` reads it.
    """
    found = (
        (name, rows[~excepted(name, rows, allow)]) for name, rows in split_apart(frame).items()
    )
    return [_split_problem(name, rows) for name, rows in found if len(rows)]


def _split_problem(name: str, rows: pd.DataFrame) -> str:
    """One line for one kind of leak."""
    one, count = name[:-1].replace("_", " "), rows["shared"].nunique()
    sets = {
        shared: " and ".join(s for s in SETS if s in set(part["split"]))
        for shared, part in itertools.islice(rows.groupby("shared", sort=False), 10)
    }
    named = ", ".join(f"{one} {shared!r} in {where}" for shared, where in sets.items())
    more = f" and {count - 10} more ({count} {name.replace('_', ' ')})" if count > 10 else ""
    exception = name if count > 1 else f"{name[:-1]}:{rows['shared'].iloc[0]}"
    remedy = "give each one set" if count > 1 else "give it one set"
    text = f"{remedy}, leave the split out, or accept it: --config.data.allow=\"['{exception}']\""
    return at_rows(rows, f"the split leaks: {named}{more}: {text}")
