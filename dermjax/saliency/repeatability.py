"""Maps with other noise: an image's keys, and how far its maps repeat themselves.

A map of a method with noise is the mean of `config.repeats` maps, each with noise of its own. The
first half of them against the second half says how far such a mean is the image's and not its
noise's: a record's `repeatability`. The mean of all of them has less of the noise than its halves.

Letters: r repeats, S px side of a map.
"""

import hashlib
from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd
from scipy import stats

from dermjax.report import numbers
from dermjax.report.table import Table, unlinked
from dermjax.runs.json_numbers import or_none
from dermjax.saliency import page as report
from dermjax.saliency import similarity
from dermjax.saliency.map_store import Explained, Maps, visible
from dermjax.statistics.clustered_mean import LEAST_PATIENTS, clustered_mean

MEASURES = {"spearman": "Spearman", "ssim": "SSIM"}
BOUNDS = -1, 1  # of both


def key(seed: int, name: str, number: int = 0) -> np.ndarray:
    """Data of the key of an image's noise: the same in whatever batch, order or selection it comes.

    Args:
      number: of the noise, from 0.
    """
    named = f"{seed} {name}" + (f"\0{number}" if number else "")  # no name of a file has a \0
    digest = hashlib.sha256(named.encode(errors="replace")).digest()
    numeral = int.from_bytes(digest[:4], "big")
    return np.asarray(jax.random.key_data(jax.random.fold_in(jax.random.key(seed), numeral)))


def agreement(first: np.ndarray, second: np.ndarray, method: str) -> dict[str, float]:
    """Rank correlation and structural similarity of two maps `[S, S]` of a method.

    NaN of a correlation with a map that is the same everywhere.
    """
    flat = not (np.ptp(first) > 0 and np.ptp(second) > 0)  # or not finite
    return {
        "spearman": np.nan if flat else stats.spearmanr(first.ravel(), second.ravel()).statistic,
        "ssim": similarity.ssim(visible(first, method), visible(second, method)),
    }


def repeatability(found: np.ndarray, method: str) -> dict[str, float | None] | None:
    """Agreement of the means of two halves of the maps `[r, S, S]`; None for a single one.

    Of an odd number of maps the last one is in no half.
    """
    half = len(found) // 2
    if not half:
        return None
    alike = agreement(found[:half].mean(0), found[half : 2 * half].mean(0), method)
    return {name: or_none(value, 7) for name, value in alike.items()}


def is_known(record: dict | None) -> bool:
    """Whether a map's record says how far it repeats itself, or cannot say it."""
    record = record or {}
    settings = record.get("settings", {})
    return settings.get("repeats", 1) < 2 or "repeatability" in record


def summarise(explained: Sequence[Explained], methods: Sequence[str], maps: Maps) -> pd.DataFrame:
    """method, repeats, n, patients; of both measures the mean with its 95 % interval over patients.

    Methods without noise are left out.
    """
    patients = np.array([one.sample.patient for one in explained], str)
    rows = []
    for method in methods:
        records = [record for one in explained if (record := maps.record(one, method))]
        repeats = {record["settings"].get("repeats") for record in records} - {None}
        if not repeats:
            continue
        row = {"method": method, "repeats": max(repeats)}
        known = [(maps.record(one, method) or {}).get("repeatability") or {} for one in explained]
        row["n"] = sum(bool(of) for of in known)
        row["patients"] = len(set(patients[[bool(of) for of in known]].tolist()))
        for name in MEASURES:
            values = np.array([of.get(name) for of in known], float)
            mean = clustered_mean(values, patients, bounds=BOUNDS)
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(row)
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame) -> list[Table]:
    """The table of the methods whose maps are means; none where no map is."""
    several = [row for row in frame.to_dict("records") if row["repeats"] > 1]
    rows = [
        [report.titled(row["method"]), f"{row['repeats']}", f"{row['n']}"]
        + [
            report.interval(tuple(row[f"{m}{end}"] for end in ("", "_low", "_high")))
            for m in MEASURES
        ]
        for row in several
    ]
    lows = [row[f"{m}_low"] for m in MEASURES for row in several]
    caption = (
        "Maps with noise are means over so many noises. Agreement of the mean of their first half "
        "with that of their second half, mean over n images (of ranks, Spearman, without maps that "
        f"are the same everywhere). {report.brackets(lows)} The maps themselves are means of all "
        "and have less of the noise."
    )
    header = unlinked(["method", "noises", "n", *MEASURES.values()])
    return [Table("Repeatability", caption, header, rows)] if rows else []


def finding(frame: pd.DataFrame, method: str) -> list[str]:
    """One sentence on the shown method's maps; none for a method without noise."""
    own = [row for row in frame.to_dict("records") if row["method"] == method]
    if not own:
        return []
    (row,) = own
    if row["repeats"] < 2:
        return [
            f"How far a map by {report.titled(method)} repeats itself with other noise is unknown: "
            "each is of one noise; --config.repeats=2 tells."
        ]
    half = row["repeats"] // 2
    listed = ", ".join(f"{title} {numbers.number(row[m])}" for m, title in MEASURES.items())
    which = (
        ", which agree" if half == 1 else f"; means over {half} agree with means over {half} others"
    )
    noise = ""
    if row["patients"] < LEAST_PATIENTS:
        people = report.counted(row["patients"], "patient")
        noise = f"; whether that is more than noise cannot be said of {people}"
    elif row["spearman"] <= 0 or row["spearman_low"] <= 0:
        noise = ": they are NOT told apart from noise and should not be read"
    return [
        f"Maps by {report.titled(method)} are means over {row['repeats']} noises{which} "
        f"by {listed}{noise}."
    ]
