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

from dermjax import models
from dermjax.report import numbers
from dermjax.report.numbers import signed, signed_span
from dermjax.report.table import Table, unlinked
from dermjax.runs.files import write_text
from dermjax.saliency import page as report
from dermjax.saliency import similarity
from dermjax.saliency.context import SaliencyContext
from dermjax.saliency.explainer import WITH_STATISTICS
from dermjax.saliency.map_store import Explained
from dermjax.saliency.repeatability import BOUNDS, MEASURES, agreement
from dermjax.statistics.clustered_mean import (
    LEAST_PATIENTS,
    ClusteredMean,
    adjusted_p,
    clustered_mean,
)

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


def randomise(context: SaliencyContext) -> Checked | None:
    """Makes the numbers that are missing; None where nothing is to be checked.

    The method that is shown is checked, and Grad-CAM if it is compared.
    """
    settings, maps, explainer = context.settings, context.maps, context.explainer
    methods = [context.methods[0], *(m for m in context.methods[1:] if m == _ALSO)]
    found = context.explained
    usable = [one for one in found if all(maps.heat(one, m) is not None for m in methods)]
    some = evenly(usable, settings.sanity.images)
    if not (settings.scores and some):
        return None
    layers = similarity.layers_from_last(explainer.model, explainer.variables, explainer.size)
    rows = evenly(layers, settings.sanity.layers)
    fresh = functools.cache(lambda: models.initialize(explainer.model, _seed(settings.seed)))
    checked = {
        method: _OfMethod(context, method, some).rows(layers, rows, fresh) for method in methods
    }
    return Checked([one.sample.patient for one in some], layers, checked)


class _OfMethod:
    """The check of one method: likeness of new maps of some images to those that are shown."""

    def __init__(self, context: SaliencyContext, method: str, some: Sequence[Explained]):
        self._context, self._method, self._some = context, method, some
        heats = (context.maps.heat(one, method) for one in some)
        self._shown = [heat for heat in heats if heat is not None]
        mark = {
            "settings": context.explainer.settings(method),
            "images": [one.identity for one in some],
        }
        path = context.directory / f"sanity-{method}.json"
        self._known = _Known(path, json.loads(json.dumps(mark)))

    def rows(
        self, layers: Sequence[str], wanted: Sequence[str], fresh: Callable[[], Any]
    ) -> dict[str, list]:
        """Both measures of each image, by row; each row is written as soon as it is there.

        Args:
          layers: all of the network's, from the last to the first.
          wanted: those of `layers` that are rows.
          fresh: gives the untrained network's variables, which are drawn when they are needed.
        """
        known, every = self._known, (OTHER_NOISE, *wanted)
        missing = [row for row in every if row not in known.rows]
        if not missing:
            self._context.writer.say(f"sanity of {self._method}: all {len(every)} rows are there")
        if OTHER_NOISE in missing:
            known.add(OTHER_NOISE, self._under_other_noise())
        if set(missing) - {OTHER_NOISE}:
            trained = self._context.explainer.variables
            for layer, variables in similarity.cascade(trained, fresh(), layers):
                if layer in missing:
                    known.add(layer, self._drawn_anew(layer, variables))
        return {row: known.rows[row] for row in every}

    def _under_other_noise(self) -> list[list[float]]:
        """Likeness of maps by the trained network, whose noise is another one."""
        statistics = None
        if self._method in WITH_STATISTICS:
            statistics = self._context.statistics.of_trained()
        first = self._context.explainer.repeats(self._method)
        return self._likeness(OTHER_NOISE, statistics, first=first)

    def _drawn_anew(self, layer: str, variables: Any) -> list[list[float]]:
        """Likeness of maps by a network that is drawn anew down to a layer, noise as shown."""
        statistics = None
        if self._method in WITH_STATISTICS:
            statistics = self._context.statistics.of_network(variables)
        return self._likeness(f"drawn anew down to {layer}", statistics, variables=variables)

    def _likeness(self, what: str, statistics: Any, **given) -> list[list[float]]:
        """Both measures of each image; `given` as for `Explainer.maps`."""
        found = self._context.explainer.maps(
            self._method,
            [one.sample for one in self._some],
            [one.target for one in self._some],
            statistics,
            **given,
        )
        label = f"sanity of {self._method}, {what}"
        tracked = self._context.writer.track(found, len(self._some), label)
        return [
            _likeness(shown, repeats.mean(0), self._method)
            for shown, repeats in zip(self._shown, tracked, strict=True)
        ]


def _likeness(first: np.ndarray, second: np.ndarray, method: str) -> list[float]:
    alike = agreement(first, second, method)
    return [alike[name] for name in MEASURES]


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


def table(checked: Checked, frame: pd.DataFrame) -> Table:
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
    header = unlinked(["layers drawn anew", *header])
    return Table("Layers drawn anew", caption, header, rows)


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
    text = " against ".join(
        numbers.number(checked.mean(np.where(paired, of, np.nan)).value) for of in (anew, noise)
    )
    if fall.has_interval:
        text += f" (fall {signed(fall.value, 2)} {signed_span(fall.low, fall.high, 2)}"
        text += f", {report.chance(p)})"
    return text
