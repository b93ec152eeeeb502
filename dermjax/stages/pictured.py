"""What is made of maps and scores: tables, Figure 6's sheet, the page."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict
from scipy import stats

from dermjax.analysis import bootstrap
from dermjax.analysis.saliency import sanity
from dermjax.report import looks
from dermjax.report import saliency as report
from dermjax.stages.kept import Explained, Maps, visible
from dermjax.stages.workdir import write_text
from dermjax.training.writer import Writer

PAGE = "saliency.html"
_MOST = 100  # images in the page; all have files
_EMPTY = 0.02  # of the colour scale: a map that is nowhere above it shows nothing
# Title, and whether more is better, by the name of a score.
SCORES = {
    "insertion": ("insertion AUC ↑", True),
    "deletion": ("deletion AUC ↓", False),
    "sensitivity_n": ("sensitivity-n ↑", True),
    "effective_heat_ratio": ("effective heat ratio ↑", True),
    "heat_share": ("heat in the lesion ↑", True),
    "lesion_share": ("the lesion's area", None),
    "spearman": ("Spearman", None),
    "ssim": ("SSIM", None),
}

DEFINITIONS = {
    "insertion AUC": (
        "Probability of the explained class while pixels are put into a blurred image, the hottest "
        "first: mean over the way. Higher is better (Petsiuk et al. 2018)."
    ),
    "deletion AUC": (
        "The same while pixels are replaced by the mean colour, the hottest first. Lower is better."
    ),
    "sensitivity-n": (
        "Correlation over random sets of n pixels between their heat and what the logit loses "
        "without them, mean over n. Higher is better (Ancona et al. 2018)."
    ),
    "effective heat ratio": (
        "Share of the heat above a threshold that lies in the lesion, per pixel above it; mean "
        "over thresholds. Not of lesions that fill over a third of the image (Zhang et al. 2021)."
    ),
    "heat in the lesion": (
        "Share of the map's heat inside the lesion's outline; to be read beside the lesion's share "
        "of the area, which a map that looks nowhere in particular has."
    ),
    "Spearman, SSIM": (
        "Agreement with the maps shown: rank correlation of the pixels, and structural similarity."
    ),
}


def write(
    config: ConfigDict,
    explained: Sequence[Explained],
    methods: Sequence[str],
    failed: Sequence[str],
    facts: Sequence[tuple[str, str]],
    maps: Maps,
    trust: tuple[Sequence[str], Sequence[report.Table]],
    directory: epath.Path,
    writer: Writer,
) -> None:
    """Writes `sheet*.png` and `.pdf`, the tables as `.csv`, and `saliency.html`.

    Args:
      methods: the first is shown, all are compared.
      failed: lines on maps that there are not.
      trust: findings and tables on noise and weights, see `trusted`; they come last.
    """
    explained = sorted(explained, key=lambda one: (one.sample.label < 0, one.sample.label))
    usable = [one for one in explained if maps.heat(one, methods[0]) is not None]
    shown = [_shown(one, methods[0], maps) for one in usable]
    names = _sheets(shown, directory) if shown else []
    frame = _by_image(explained, methods, maps)
    write_text(directory / "images.csv", frame.to_csv(index=False, float_format="%.6g"))
    weights = _weights(config, frame)
    tables, findings = [], []
    if config.scores and len(frame):
        estimates = _estimates(frame, methods, weights)
        write_text(directory / "scores.csv", estimates.to_csv(index=False, float_format="%.6g"))
        tables += _score_tables(estimates, methods)
        findings = _findings(frame, methods, weights)
        regions = _regions(explained, methods, maps, weights)
        write_text(directory / "regions.csv", regions.to_csv(index=False, float_format="%.6g"))
        if len(regions):
            tables.append(_region_table(regions, methods))
    page = report.Page(
        title=f"Where the network looks: {report.worded(methods[0])}",
        facts=facts,
        warnings=_warnings(shown, failed),
        findings=[*findings, *trust[0]],
        tables=[*tables, *trust[1]],
        definitions=DEFINITIONS if tables else {},
    )
    text = report.render(page, shown[:_MOST], left_out=len(shown[_MOST:]))
    write_text(directory / PAGE, text)
    writer.say(f"{directory}: {PAGE}, {', '.join(names)}, a folder per image")


def _shown(one: Explained, method: str, maps: Maps) -> report.Shown:
    record = maps.record(one, method)
    return report.Shown(
        name=one.sample.name,
        true=record["true"] or "",
        predicted=record["predicted"],
        probability=record["probabilities"][record["predicted"]],
        target=record["target"],
        pixels=one.sample.pixels(),
        heat=visible(maps.heat(one, method), method),
    )


def _sheets(shown: Sequence[report.Shown], directory: epath.Path) -> list[str]:
    """Figures of at most a page each; `sheet`, then `sheet-2`. Those of an earlier call go."""
    names = []
    for number, figure in enumerate(report.sheets(shown[:_MOST]), start=1):
        names.append("sheet" if number == 1 else f"sheet-{number}")
        looks.save(figure, directory, names[-1])
    for old in directory.glob("sheet*.*"):
        if old.stem not in names:
            old.unlink()
    return [f"{name}.{kind}" for name in names for kind in ("png", "pdf")]


def _by_image(explained, methods, maps: Maps) -> pd.DataFrame:
    """A row per image and method, with what is known and every score."""
    rows = []
    for method in methods:
        for one in explained:
            record = maps.record(one, method)
            if record is None:
                continue
            scores = record.get("scores") or {}
            row = {"image": one.sample.name, "patient": one.sample.patient, "method": method}
            row |= {name: record[name] for name in ("true", "predicted", "target", "probability")}
            row |= {"folder": one.sample.key}
            row |= {name: scores.get(name) for name in SCORES if name not in ("spearman", "ssim")}
            row |= _agreement(one, method, methods[0], maps)
            rows.append(row)
    frame = pd.DataFrame(rows)
    for name in SCORES:
        if name in frame:
            frame[name] = frame[name].astype(float)
    return frame


def _weights(config: ConfigDict, frame: pd.DataFrame) -> bootstrap.PatientWeights | None:
    """Draws of the patients; None for fewer than two."""
    if not len(frame):
        return None
    patients = frame.drop_duplicates("image")["patient"].to_numpy(str)
    if len(set(patients)) < 2:
        return None
    return bootstrap.patient_weights(patients, config.resamples, config.seed)


def _agreement(one: Explained, method: str, first: str, maps: Maps) -> dict[str, float]:
    """Of a method's map with the shown one: rank correlation and structural similarity."""
    heat, shown = maps.heat(one, method), maps.heat(one, first)
    if method == first or shown is None:
        return {"spearman": np.nan, "ssim": np.nan}
    return {
        "spearman": float(stats.spearmanr(heat.ravel(), shown.ravel()).statistic),
        "ssim": float(sanity.ssim(visible(heat, method), visible(shown, first))),
    }


def _column(frame: pd.DataFrame, method: str, name: str) -> np.ndarray:
    """A score by image, in the order of the images; NaN where there is none."""
    own = frame[frame["method"] == method].set_index("image")[name]
    return own.reindex(frame["image"].unique()).to_numpy(float)


def _estimates(frame: pd.DataFrame, methods, weights) -> pd.DataFrame:
    """method, score, mean, low, high (95 %), n: images that have the score."""
    rows = []
    for method in methods:
        for name in SCORES:
            values = _column(frame, method, name)
            found, n = bootstrap.mean(values, weights), int(np.isfinite(values).sum())
            if n:
                rows.append((method, name, found.value, found.low, found.high, n))
    return pd.DataFrame(rows, columns=["method", "score", "mean", "low", "high", "n"])


def _score_tables(estimates: pd.DataFrame, methods) -> list[report.Table]:
    """Method x score, and how alike the maps are."""
    rows = [
        (method, {one.score: (one.mean, one.low, one.high) for one in part.itertuples()})
        for method in methods
        if len(part := estimates[estimates["method"] == method])
    ]
    tables = [
        report.score_table(
            "Scores",
            f"Means over {_counted(estimates)}, in brackets the 95 % interval: the images' "
            "patients are drawn anew.",
            {name: title for name, (title, more) in SCORES.items() if more is not None},
            rows,
        )
    ]
    if len(methods) > 1:
        told = f"Of each method's maps with those of {report.worded(methods[0])}, which are shown."
        names = {name: SCORES[name][0] for name in ("spearman", "ssim")}
        tables.append(report.score_table("Agreement", told, names, rows[1:]))
    return tables


def _counted(estimates: pd.DataFrame) -> str:
    """How many images have each score, and how large their lesions are."""
    n = estimates.groupby("score")["n"].max()
    known = [name for name, (_, more) in SCORES.items() if more is not None and name in n]
    fewer = [f"{SCORES[name][0][:-2]} over {n[name]}" for name in known if n[name] < n.max()]
    area = estimates[estimates["score"] == "lesion_share"]["mean"]
    said = f"{n.max()} images" + (f" ({', '.join(fewer)})" if fewer else "")
    if len(area):
        said += f", whose lesions have {report.number(area.iloc[0])} of the area"
    return said


def _findings(frame: pd.DataFrame, methods, weights) -> list[str]:
    """Whether the shown method's maps say more than chance: paired differences to random maps."""
    if "random" not in methods[1:] or weights is None:
        return []
    first, told = methods[0], {"better": [], "worse": [], "open": []}
    for name, (title, more) in SCORES.items():
        if more is None:
            continue
        difference = _column(frame, first, name) - _column(frame, "random", name)
        found = bootstrap.mean(difference, weights)
        if np.isnan(found.low):
            continue
        span = f"{title[:-2]} ({found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}])"
        above, below = (found.low > 0, found.high < 0)[:: 1 if more else -1]
        told["better" if above else "worse" if below else "open"].append(span)
    words = {
        "better": "better than random maps in",
        "worse": "WORSE than random maps in",
        "open": "not told apart from random maps in",
    }
    parts = [f"{words[kind]} {', '.join(spans)}" for kind, spans in told.items() if spans]
    return [f"Maps by {report.worded(first)} are {'; '.join(parts)}."] if parts else []


def _regions(explained, methods, maps: Maps, weights) -> pd.DataFrame:
    """method, region, n, share of the heat (mean, low, high), share of the area."""
    rows = []
    for method in methods:
        records = [maps.record(one, method) or {} for one in explained]
        found = [(record.get("scores") or {}).get("regions") or {} for record in records]
        for region in sorted({name for regions in found for name in regions}, key=_place):
            pairs = np.array([of.get(region, (None, None)) for of in found], float)
            mean = bootstrap.mean(pairs[:, 0], weights)
            area = float(np.nanmean(pairs[:, 1]))
            n = int(np.isfinite(pairs[:, 0]).sum())
            rows.append((method, region, n, mean.value, mean.low, mean.high, area))
    return pd.DataFrame(rows, columns=["method", "region", "n", "heat", "low", "high", "area"])


def _place(region: str) -> tuple:
    """The lesion first, what is not skin last."""
    return (region != "lesion", region in ("elsewhere", "background"), region)


def _region_table(regions: pd.DataFrame, methods) -> report.Table:
    rows = []
    for region, part in regions.groupby("region", sort=False):
        own = part.set_index("method")
        first = own.iloc[0]
        rows.append([region, f"{first['n']:.0f}", report.number(first["area"])])
        for method in methods:
            one = own.loc[method] if method in own.index else None
            heat = (np.nan,) * 3 if one is None else (one["heat"], one["low"], one["high"])
            rows[-1].append(report.interval(heat))
    return report.Table(
        "Heat by region",
        "Share of a map's heat in each part of the photograph, mean over the n images that show "
        "it, in brackets the 95 % interval; a method that looks nowhere in particular has as much "
        "as the part has of the area. No pixel is in two parts; the lesion goes first.",
        ["region", "n", "area", *(report.worded(method) for method in methods)],
        rows,
    )


def _warnings(shown: Sequence[report.Shown], failed: Sequence[str]) -> list[str]:
    """What a reader must not miss."""
    known, wrong = sum(bool(one.true) for one in shown), sum(one.wrong for one in shown)
    lines = []
    if wrong:
        lines.append(
            f"{wrong} of {known} answers {'is' if wrong == 1 else 'are'} wrong, marked ✗: the map "
            "explains the answer, not the disease."
        )
    empty = sum(one.heat.max() < _EMPTY for one in shown)
    if empty:
        lines.append(
            f"{empty} of {len(shown)} maps {'is' if empty == 1 else 'are'} empty: for its answer "
            "the network needs nothing of the image."
        )
    return [*lines, *failed]
