"""Whether maps forget what the network forgets: cascading randomisation (Adebayo et al. 2018).

Some of the images are explained again, the same class with the same noise, by networks of which
more and more layers are drawn anew, from the last one down. Likeness to the map shown should fall.
A method with noise has a floor: likeness of the map shown to one of the trained network under other
noise. Only what lies below it is the weights'. SSIM alone would mislead: it is high between two
maps that are nearly empty, whatever made them; ranks do not see how empty they are.

Everything that a method takes from the network it takes from the randomised one: InputIBA its
feature statistics, its layer's bottleneck and its prior, too. InputIBA's authors run the last stage
alone, on the trained network's prior, which already says where to look; the question here is
whether the map that a user is shown depends on the weights. It costs a pass of the statistics'
images for each row.

`sanity-METHOD.json` keeps the numbers, row by row; `sanity.csv` has their means.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from dermjax import models
from dermjax.report import numbers
from dermjax.report.numbers import signed, signed_span
from dermjax.runs.folder import write_text
from dermjax.saliency import page as report
from dermjax.saliency import similarity
from dermjax.saliency.explainer import WITH_STATISTICS, Explainer
from dermjax.saliency.map_store import Explained, Maps
from dermjax.saliency.repeatability import BOUNDS, MEASURES, agreement
from dermjax.statistics.clustered_mean import (
    LEAST_PATIENTS,
    ClusteredMean,
    adjusted_p,
    clustered_mean,
)
from dermjax.training.writer import Writer

OTHER_NOISE = "other noise"  # the row of the trained network
_ALSO = "grad_cam"  # is checked beside the shown method
_LEVEL = 0.05  # of the adjusted p, below which maps are said to depend on the weights


@dataclasses.dataclass(frozen=True)
class Checked:
    """Likeness to the maps shown by method and row: `OTHER_NOISE`, or the last layer drawn anew."""

    patients: Sequence[str]  # of the images
    layers: Sequence[str]  # all of the network's, from the last to the first
    # Both measures of each image; None where there is none: a map that is not finite, ranks of one
    # that is the same everywhere.
    found: dict[str, dict[str, list[list[float | None]]]]

    def column(self, method: str, row: str, measure: str) -> np.ndarray:
        """`[images]`, NaN for None."""
        return np.array(self.found[method][row], float)[:, list(MEASURES).index(measure)]

    def mean(self, values: np.ndarray, **given) -> ClusteredMean:
        """Over the images' patients; `given` as for `clustered_mean`."""
        return clustered_mean(values, np.array(self.patients, str), **given)


def check(config: ConfigDict) -> None:
    """Looks at `config.sanity`.

    Raises:
      ValueError: a number is below its bound.
    """
    for name, low in (("images", 0), ("layers", 2)):
        if config.sanity[name] < low:
            raise ValueError(f"config.sanity.{name} = {config.sanity[name]} must be at least {low}")


def randomise(
    config: ConfigDict,
    explainer: Explainer,
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    statistics: Callable[..., Any],
    directory: epath.Path,
    writer: Writer,
) -> Checked | None:
    """Makes the numbers that are missing; None where nothing is to be checked.

    Args:
      methods: the first is shown; Grad-CAM is checked, too, if it is among them.
      statistics: `statistics(variables)` of the layer; without an argument of the trained network.
    """
    methods = [methods[0], *(m for m in methods[1:] if m == _ALSO)]
    usable = [one for one in explained if all(maps.heat(one, m) is not None for m in methods)]
    some = evenly(usable, config.sanity.images)
    if not (config.scores and some):
        return None
    layers = similarity.layers_from_last(explainer.model, explainer.variables, explainer.size)
    at = evenly(layers, config.sanity.layers)
    fresh = functools.cache(lambda: models.initialize(explainer.model, _seed(config.seed)))
    found = {}
    for method in methods:
        mark = {"settings": explainer.settings(method), "images": [o.identity for o in some]}
        known = _Known(directory / f"sanity-{method}.json", json.loads(json.dumps(mark)))
        missing = [row for row in (OTHER_NOISE, *at) if row not in known.rows]
        if missing:
            shown = [maps.heat(one, method) for one in some]
            again = functools.partial(_again, explainer, some, method, statistics, writer)
            likeness = functools.partial(_likeness, method=method)
            _fill(known, missing, shown, again, likeness, explainer.variables, fresh, layers)
        else:
            writer.say(f"sanity of {method}: all {1 + len(at)} rows are there")
        found[method] = {row: known.rows[row] for row in (OTHER_NOISE, *at)}
    return Checked([one.sample.patient for one in some], layers, found)


def _fill(known: "_Known", missing, shown, again, likeness, trained, fresh, layers) -> None:
    """The missing rows of a method, each written as soon as it is there.

    Args:
      shown: maps as they were kept.
      again: `(row, variables, other_noise=False)` -> maps of the same images.
      trained: variables.
      fresh: gives variables.
    """
    if OTHER_NOISE in missing:
        other = again(OTHER_NOISE, None, other_noise=True)
        known.add(OTHER_NOISE, [likeness(*pair) for pair in zip(shown, other, strict=True)])
    at = [row for row in missing if row != OTHER_NOISE]
    if not at:
        return
    rows = iter(at)

    def maps_of(variables):
        return shown if variables is trained else again(next(rows), variables)

    given = maps_of, trained, fresh(), layers
    for row, values in similarity.cascading_randomisation(*given, at=at, likeness=likeness):
        known.add(row, values)


def _likeness(first: np.ndarray, second: np.ndarray, method: str) -> list[float]:
    alike = agreement(first, second, method)
    return [alike[name] for name in MEASURES]


def _again(explainer, some, method, statistics, writer, row, variables, *, other_noise=False):
    """Maps of the images, made anew."""
    found = explainer.maps(
        method,
        [one.sample for one in some],
        [one.target for one in some],
        statistics(variables) if method in WITH_STATISTICS else None,
        variables=variables,
        first=explainer.repeats(method) if other_noise else 0,
    )
    what = row if other_noise else f"drawn anew down to {row}"
    tracked = writer.track(found, len(some), f"sanity of {method}, {what}")
    return [one.mean(0) for one in tracked]


class _Known:
    """Rows of a method's file that were made of the same network, settings and images."""

    def __init__(self, path: epath.Path, mark: dict[str, Any]):
        self._path, self._mark, self.rows = path, mark, {}
        try:
            found = json.loads(path.read_text())
            if found["mark"] == mark:
                self.rows = dict(found["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # then nothing is known

    def add(self, row: str, values: Sequence[Sequence[float]] | np.ndarray) -> None:
        self.rows[row] = [
            [round(float(v), 7) if np.isfinite(v) else None for v in of_image]
            for of_image in values
        ]
        known = {"mark": self._mark, "measures": list(MEASURES), "rows": self.rows}
        text = json.dumps(known, indent=2) + "\n"
        write_text(self._path, text)


def evenly(items: Sequence, count: int) -> list:
    """`count` of the items over their whole length; the first and the last, if two or more."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def _seed(seed: int) -> int:
    """Not the run's own, whose first weights the trained ones still resemble."""
    return int.from_bytes(hashlib.sha256(f"randomised {seed}".encode()).digest()[:4], "big") >> 1


def summarise(checked: Checked) -> pd.DataFrame:
    """method, row, layers drawn anew; of both measures mean, 95 % over patients, images with it."""
    rows = []
    for method, found in checked.found.items():
        for row in found:
            of = {"method": method, "row": row, "randomised": _depth(checked, row)}
            for name in MEASURES:
                mean = checked.mean(checked.column(method, row, name), bounds=BOUNDS)
                of |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
                of[f"{name}_n"] = mean.images
            rows.append(of)
    return pd.DataFrame(rows)


def _depth(checked: Checked, row: str) -> int:
    return 0 if row == OTHER_NOISE else checked.layers.index(row) + 1


def table(checked: Checked, frame: pd.DataFrame) -> report.Table:
    """Layers drawn anew x methods, both measures of each."""
    total, rows = len(checked.layers), []
    for row, part in frame.groupby("row", sort=False):
        depth = part["randomised"].iloc[0]
        rows.append([f"{depth} of {total}, down to {row}" if depth else "none, other noise"])
        for of in part.to_dict("records"):
            for name in MEASURES:
                rows[-1].append(report.interval((of[name], of[f"{name}_low"], of[f"{name}_high"])))
    count, lows = len(checked.patients), frame[[f"{name}_low" for name in MEASURES]]
    caption = (
        f"Likeness to the maps shown, mean over {report.counted(count, 'image')}, while the "
        "network's layers are drawn anew from the last one down, batch norm included (Adebayo et "
        f"al. 2018). {report.brackets(lows.to_numpy().ravel())} Likeness should fall below the "
        "first row, which is the trained network's under other noise. Two nearly empty maps have a "
        "high SSIM whatever made them; ranks (Spearman) do not see that."
        f"{_without_ranks(frame, count)}"
    )
    if any(method in WITH_STATISTICS for method in checked.found):
        caption += (
            " Layer statistics and priors are taken anew for each row; InputIBA's authors keep "
            "those of the trained network."
        )
    methods = [report.titled(method) for method in checked.found]
    header = [f"{method}, {title}" for method in methods for title in MEASURES.values()]
    return report.Table("Layers drawn anew", caption, ["layers drawn anew", *header], rows)


def _without_ranks(frame: pd.DataFrame, count: int) -> str:
    """Which means of ranks are over fewer images: those with a map that is not flat."""
    fewer = [
        f"{of['spearman_n']} for {report.titled(of['method'])} down to {of['row']}"
        for of in frame.to_dict("records")
        if of["spearman_n"] < count
    ]
    if not fewer:
        return ""
    return (
        " Maps that are the same everywhere have no ranks, so that fewer images have a Spearman: "
        f"{', '.join(fewer)}."
    )


def findings(checked: Checked) -> list[str]:
    """For each method whether its maps depend on the weights, beyond what its noise does.

    The network without any trained layer is compared with the trained one under other noise, image
    by image. Holm's correction is over all methods and measures.
    """
    falls = {
        (method, name): checked.mean(
            checked.column(method, OTHER_NOISE, name) - checked.column(method, last, name)
        )
        for method, (*_, last) in checked.found.items()
        for name in MEASURES
    }
    adjusted = adjusted_p(falls)
    shown = {key for key, fall in falls.items() if fall.value > 0 and adjusted[key] <= _LEVEL}
    return [_finding(checked, method, falls, adjusted, shown) for method in checked.found]


def _finding(checked: Checked, method: str, falls, adjusted, shown) -> str:
    """One method's sentence: what its falls say, and the falls.

    Args:
      falls, adjusted: by method and measure, with their p.
      shown: keys of falls that are not by chance.
    """
    below = [title for name, title in MEASURES.items() if (method, name) in shown]
    only = "" if len(below) == len(MEASURES) else f" by {below[0]} only" if below else ""
    ranks = checked.mean(checked.column(method, OTHER_NOISE, "spearman"))
    people = max(falls[method, name].patients for name in MEASURES)
    of = report.titled(method)
    if people < LEAST_PATIENTS:
        words = (
            f"Whether maps by {of} depend on what the network has learned cannot be said of "
            f"{report.counted(people, 'patient')} ({LEAST_PATIENTS} are the least)"
        )
    elif ranks.value <= 0 or ranks.low <= 0:
        # What does not repeat itself has nothing that could depend on weights.
        words = f"Maps by {of} are NOT told apart from noise, whatever the network has learned"
    elif below:
        words = f"Maps by {of} depend on what the network has learned{only}"
    else:
        words = f"Maps by {of} are NOT shown to depend on what the network has learned"
    numbers = [
        f"{title} {_fallen(checked, method, name, falls[method, name], adjusted[method, name])}"
        for name, title in MEASURES.items()
    ]
    return (
        f"{words}: likeness to the maps shown, by a network drawn wholly anew against the trained "
        f"one under other noise, is {', '.join(numbers)}."
    )


def _fallen(checked: Checked, method: str, name: str, fall: ClusteredMean, p: float) -> str:
    """`.20 against .70 (fall +0.50 [+0.40, +0.60], adjusted p .001)`."""
    *_, last = checked.found[method]
    noise, anew = (checked.column(method, row, name) for row in (OTHER_NOISE, last))
    paired = np.isfinite(noise - anew)
    told = " against ".join(
        numbers.number(checked.mean(np.where(paired, of, np.nan)).value) for of in (anew, noise)
    )
    if fall.has_interval:
        told += f" (fall {signed(fall.value, 2)} {signed_span(fall.low, fall.high, 2)}"
        told += f", {report.chance(p)})"
    return told
