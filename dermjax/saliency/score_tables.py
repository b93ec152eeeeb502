"""Scores in tables: means over the images that count, intervals over patients, findings."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from scipy import stats

from dermjax.report import numbers
from dermjax.report.numbers import signed, signed_span
from dermjax.report.table import Table, unlinked
from dermjax.runs.files import write_text
from dermjax.saliency import page as report
from dermjax.saliency import similarity
from dermjax.saliency.map_store import Explained, Maps, visible
from dermjax.saliency.score_definitions import BOUNDS, SCORES, TOO_FEW, counting
from dermjax.saliency.scores import is_empty
from dermjax.saliency.settings import SaliencySettings
from dermjax.statistics.clustered_mean import ClusteredMean, adjusted_p, clustered_mean

_AGREEMENT = ("spearman", "ssim")
# Patients of a comparison with random maps: of fewer all differences have the same sign by chance
# more often than once in twenty, whatever an interval over them says.
_LEAST_COMPARED = 6
_LEVEL = 0.05  # of the adjusted p, below which maps are said to be better or worse


@dataclasses.dataclass(frozen=True)
class Scored:
    """All maps of a call with their scores."""

    frame: pd.DataFrame  # a row per method and image
    scores: dict[tuple[str, str], dict[str, Any]]  # of the records, by method and image
    methods: Sequence[str]  # the first is shown

    @property
    def images(self) -> list[str]:
        return list(self.frame["image"].unique())

    def at_least(self, probability: float) -> "Scored":
        """The images whose explained class has at least this probability."""
        return dataclasses.replace(self, frame=self.frame[self.frame["probability"] >= probability])

    def patients(self) -> np.ndarray:
        """The patient of each image."""
        return self.frame.drop_duplicates("image")["patient"].to_numpy(str)

    def column(self, method: str, name: str) -> np.ndarray:
        """A score by image; NaN where there is none."""
        own = self.frame[self.frame["method"] == method].set_index("image")[name]
        return own.reindex(self.images).to_numpy(float)

    def found(self, method: str, name: str) -> list[dict]:
        """A score that has parts, by image; {} where there is none."""
        return [self.scores.get((method, image), {}).get(name) or {} for image in self.images]


def write(
    settings: SaliencySettings,
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    directory: epath.Path,
) -> tuple[list[Table], list[str]]:
    """Writes `images.csv`, `scores.csv`, `sensitivity_n.csv` and `regions.csv`.

    Returns:
      Tables and findings of the page; none where nothing is scored.
    """
    every = _by_image(explained, methods, maps)
    keep = functools.partial(_keep, directory)
    keep("images", every.frame)
    if not settings.scores or not len(every.frame):
        return [], []
    counted = every.at_least(settings.score.least_probability)
    few = counted.images != every.images and len(set(counted.patients())) < 2
    used = dataclasses.replace(counted, frame=counted.frame[:0]) if few else counted
    estimates = _estimates(used)
    keep("scores", estimates)
    keep("sensitivity_n", _by_n(used))
    regions = _regions(every)
    keep("regions", regions)
    sentence = counting(settings.score.least_probability, len(counted.images), len(every.images))
    if few:
        tables = [Table("Scores", f"{sentence} {TOO_FEW}", [], [])]
    else:
        tables = _score_tables(estimates, methods, sentence)
    if len(regions):
        tables.append(_region_table(every, regions))
    return tables, [] if few else _findings(settings, counted, every)


def _keep(directory: epath.Path, name: str, frame: pd.DataFrame) -> None:
    write_text(directory / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))


def _by_image(explained, methods, maps: Maps) -> Scored:
    """A row per method and image, with what is known and every score; each map is read once."""
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    found = {}
    for one in explained:
        shown = maps.heat(one, methods[0])
        for method in methods:
            record = maps.record(one, method)
            heat = shown if method == methods[0] else maps.heat(one, method)
            if record is None or heat is None:
                continue
            scores = record.get("scores") or {}
            found[method, one.sample.name] = scores
            row = {"image": one.sample.name, "patient": one.sample.patient, "method": method}
            row |= {name: record[name] for name in ("true", "predicted", "target", "probability")}
            row |= {"folder": one.sample.key, "empty": is_empty(visible(heat, method))}
            row |= {name: scores.get(name) for name in SCORES if name not in _AGREEMENT}
            rows[method].append(row | _agreement(heat, method, shown, methods[0]))
    frame = pd.DataFrame([row for method in methods for row in rows[method]])
    for name in SCORES:
        if name in frame:
            frame[name] = frame[name].astype(float)
    return Scored(frame, found, methods)


def _agreement(heat, method: str, shown, first: str) -> dict[str, float]:
    """Agreement of a method's map with the shown one: rank correlation, structural similarity."""
    if method == first or shown is None:
        return dict.fromkeys(_AGREEMENT, np.nan)
    return {
        "spearman": float(stats.spearmanr(heat.ravel(), shown.ravel()).statistic),
        "ssim": float(similarity.ssim(visible(heat, method), visible(shown, first))),
    }


def _estimates(scored: Scored) -> pd.DataFrame:
    """method, score, mean, low, high (95 %), n: images that have the score."""
    rows = []
    for method in scored.methods:
        for name in SCORES:
            values = scored.column(method, name)
            found = clustered_mean(values, scored.patients(), bounds=BOUNDS[name])
            if found.images:
                rows.append((method, name, found.value, found.low, found.high, found.images))
    return pd.DataFrame(rows, columns=["method", "score", "mean", "low", "high", "n"])


def _by_n(scored: Scored) -> pd.DataFrame:
    """Sensitivity-n's curve: method, n, mean, low, high (95 %), images."""
    rows = []
    for method in scored.methods:
        found = scored.found(method, "sensitivity_by_n")
        for n in sorted({int(n) for curve in found for n in curve}):
            values = np.array([curve.get(str(n), np.nan) for curve in found], float)
            mean = clustered_mean(values, scored.patients(), bounds=BOUNDS["sensitivity_n"])
            rows.append((method, n, mean.value, mean.low, mean.high, mean.images))
    return pd.DataFrame(rows, columns=["method", "n", "mean", "low", "high", "images"])


def _score_tables(estimates: pd.DataFrame, methods, sentence: str) -> list[Table]:
    """Method x score, and how alike the maps are."""
    rows = [
        (method, {one.score: (one.mean, one.low, one.high) for one in part.itertuples()})
        for method in methods
        if len(part := estimates[estimates["method"] == method])
    ]
    names = {name: title for name, (title, more) in SCORES.items() if more is not None}
    brackets = report.brackets(estimates.loc[estimates["score"].isin(list(names)), "low"])
    caption = f"Means over {_counted(estimates)}. {brackets} {sentence}"
    tables = [report.score_table("Scores", caption, names, rows)]
    if len(methods) > 1:
        alike = estimates["score"].isin(_AGREEMENT)
        sentence = (
            f"Of each method's maps with those of {report.titled(methods[0])}, which are shown; "
            f"over the same images. {report.brackets(estimates.loc[alike, 'low'])}"
        )
        names = {name: SCORES[name][0] for name in _AGREEMENT}
        tables.append(report.score_table("Agreement", sentence, names, rows[1:]))
    return tables


def _counted(estimates: pd.DataFrame) -> str:
    """How many images have each score, and how large their lesions are."""
    n = estimates.groupby("score")["n"].max()
    known = [name for name, (_, more) in SCORES.items() if more is not None and name in n]
    fewer = [f"{SCORES[name][0][:-2]} over {n[name]}" for name in known if n[name] < n.max()]
    area = estimates[estimates["score"] == "lesion_share"]
    said = report.counted(n.max(), "image") + (f" ({', '.join(fewer)})" if fewer else "")
    if len(area):
        mean, known = area[["mean", "n"]].iloc[0]
        which = "" if known == n.max() else f" in {report.counted(int(known), 'image')}"
        said += f"; lesions have {numbers.number(mean)} of the area{which}"
    return said


def _findings(settings: SaliencySettings, counted: Scored, every: Scored) -> list[str]:
    """Whether the shown method's maps say more than chance: paired differences to random maps."""
    if "random" not in counted.methods[1:]:
        return []
    first, patients = counted.methods[0], counted.patients()
    people = len(set(patients))
    if people < _LEAST_COMPARED:
        return [
            f"Whether maps by {report.titled(first)} are better than random maps cannot be said of "
            f"{report.counted(people, 'patient')}: {_LEAST_COMPARED} are the least."
            f"{_more_images(settings)}"
        ]
    differences = {
        name: clustered_mean(
            counted.column(first, name) - counted.column("random", name),
            patients,
            least_patients=_LEAST_COMPARED,
        )
        for name, (_, more) in SCORES.items()
        if more is not None
    }
    said = _compared({name: found for name, found in differences.items() if found.images})
    if not said:
        return []
    n, all_of = len(counted.images), len(every.images)
    over = f", over {n} of {all_of} images (see Scores)" if n < all_of else ""
    return [f"Maps by {report.titled(first)} are {said}{over}."]


def _compared(differences: dict[str, ClusteredMean]) -> str:
    """Which scores differ from those of random maps, corrected for how many are compared."""
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "open": [], "untested": []}
    adjusted = adjusted_p(differences)
    for name, found in differences.items():
        title, more = SCORES[name]
        said, p = signed(found.value), adjusted[name]
        if found.has_interval:
            said += f" {signed_span(found.low, found.high)}"
        if np.isnan(p):
            same = "the same in all of" if found.patients >= _LEAST_COMPARED else "of only"
            kind, said = "untested", f"{said}, {same} {found.patients} patients"
        else:
            good = "better" if (found.value > 0) == more else "worse"
            kind, said = (good if p <= _LEVEL else "open"), f"{said}, {report.chance(p)}"
        verdicts[kind].append(f"{title[:-2]} ({said})")
    words = {
        "better": "better than random maps in",
        "worse": "WORSE than random maps in",
        "open": "not told apart from random maps in",
        "untested": "not compared with random maps in",
    }
    return "; ".join(
        f"{words[kind]} {', '.join(parts)}" for kind, parts in verdicts.items() if parts
    )


def _more_images(settings: SaliencySettings) -> str:
    """How to explain more test images, where there can be more."""
    if settings.images or not settings.per_class:
        return ""
    return f" More images: --config.per_class={max(5, 2 * settings.per_class)}"


def _regions(scored: Scored) -> pd.DataFrame:
    """method, region, n, share of the heat (mean, low, high), share of the area.

    n: images that show the region and whose map is not empty.
    """
    rows = []
    for method in scored.methods:
        found = scored.found(method, "regions")
        for region in sorted({name for regions in found for name in regions}, key=_place):
            pairs = np.array([of.get(region, (None, None)) for of in found], float)
            mean = clustered_mean(pairs[:, 0], scored.patients(), bounds=(0, 1))
            area = float(np.nanmean(pairs[:, 1]))
            rows.append((method, region, mean.images, mean.value, mean.low, mean.high, area))
    return pd.DataFrame(rows, columns=["method", "region", "n", "heat", "low", "high", "area"])


def _place(region: str) -> tuple:
    """The lesion first, what is not skin last."""
    return (region != "lesion", region in ("elsewhere", "background"), region)


def _region_table(scored: Scored, regions: pd.DataFrame) -> Table:
    rows = []
    for region, part in regions.groupby("region", sort=False):
        own = part.set_index("method")
        rows.append([region, f"{own['n'].max()}", numbers.number(own["area"].iloc[0])])
        for method in scored.methods:
            one = own.loc[method] if method in own.index else None
            heat = (np.nan,) * 3 if one is None else (one["heat"], one["low"], one["high"])
            rows[-1].append(report.interval(heat))
    return Table(
        "Heat by region",
        "Share of a map's heat in each part of the photograph, mean over the n images that show "
        f"it, whatever their probability. {report.brackets(regions['low'])} A method that looks "
        "nowhere in particular has as much as the part has of the area. No pixel is in two parts; "
        f"the lesion goes first.{_without_heat(scored)}",
        unlinked(["region", "n", "area", *(report.titled(one) for one in scored.methods)]),
        rows,
    )


def _without_heat(scored: Scored) -> str:
    """How many maps are empty, by method, where any is."""
    empty_maps = []
    for method in scored.methods:
        empty = scored.frame.loc[scored.frame["method"] == method, "empty"]
        if empty.any():
            empty_maps.append(f"{empty.sum()} of {len(empty)} by {report.titled(method)}")
    return (
        f" Empty maps have no heat and are left out: {', '.join(empty_maps)}." if empty_maps else ""
    )
