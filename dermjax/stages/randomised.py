"""Whether maps forget what the network forgets: cascading randomisation (Adebayo et al. 2018).

Some of the images are explained again, the same class with the same noise, by networks of which
more and more layers are drawn anew, from the last one down. SSIM with the map shown should fall. A
method with noise has a floor: SSIM of the map shown with one of the trained network under other
noise. Only what lies below it is the weights'.

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
from dermjax.analysis import bootstrap
from dermjax.analysis.saliency import sanity
from dermjax.report import saliency as report
from dermjax.stages.explainer import WITH_STATISTICS, Explainer
from dermjax.stages.kept import Explained, Maps, visible
from dermjax.stages.workdir import write_text
from dermjax.training.writer import Writer

OTHER_NOISE = "other noise"  # the row of the trained network
_ALSO = "grad_cam"  # is checked beside the shown method


@dataclasses.dataclass(frozen=True)
class Checked:
    """SSIM with the maps shown, by method and row: `OTHER_NOISE`, or the last layer drawn anew."""

    patients: Sequence[str]  # of the images
    layers: Sequence[str]  # all of the network's, from the last to the first
    found: dict[str, dict[str, list[float | None]]]  # by image; None where a map is not finite


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
    layers = sanity.layers_from_last(explainer.model, explainer.variables, explainer.size)
    at = evenly(layers, config.sanity.layers)
    fresh = functools.cache(lambda: models.initialize(explainer.model, _seed(config.seed)))
    found = {}
    for method in methods:
        mark = {"settings": explainer.settings(method), "images": [o.identity() for o in some]}
        known = _Known(directory / f"sanity-{method}.json", json.loads(json.dumps(mark)))
        missing = [row for row in (OTHER_NOISE, *at) if row not in known.rows]
        if missing:
            shown = [visible(maps.heat(one, method), method) for one in some]
            again = functools.partial(_again, explainer, some, method, statistics, writer)
            _fill(known, missing, shown, again, explainer, fresh, layers)
        else:
            writer.say(f"sanity of {method}: all {1 + len(at)} rows are there")
        found[method] = {row: known.rows[row] for row in (OTHER_NOISE, *at)}
    return Checked([one.sample.patient for one in some], layers, found)


def _fill(known: "_Known", missing, shown, again, explainer: Explainer, fresh, layers) -> None:
    """The missing rows of a method, each written as soon as it is there.

    Args:
      shown: maps as they were kept, in [0, 1].
      again: `(row, variables, other_noise=False)` -> maps of the same images.
    """
    trained = explainer.variables
    if OTHER_NOISE in missing:
        other = again(OTHER_NOISE, None, other_noise=True)
        known.add(OTHER_NOISE, [sanity.ssim(*pair) for pair in zip(shown, other, strict=True)])
    at = [row for row in missing if row != OTHER_NOISE]
    if not at:
        return
    rows = iter(at)

    def maps_of(variables):
        return shown if variables is trained else again(next(rows), variables)

    for row, values in sanity.cascading_randomisation(maps_of, trained, fresh(), layers, at=at):
        known.add(row, values)


def _again(explainer, some, method, statistics, writer, row, variables, *, other_noise=False):
    """Maps in [0, 1] of the images, made anew."""
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
    return [visible(one.mean(0), method) for one in tracked]


class _Known:
    """Rows of a method's file that were made of the same network, settings and images."""

    def __init__(self, path: epath.Path, mark: dict[str, Any]):
        self._path, self._mark, self.rows = path, mark, {}
        try:
            found = json.loads(path.read_text())
            if found["mark"] == mark:
                self.rows = dict(found["ssim"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # then nothing is known

    def add(self, row: str, values: Sequence[float]) -> None:
        self.rows[row] = [round(float(v), 7) if np.isfinite(v) else None for v in values]
        text = json.dumps({"mark": self._mark, "ssim": self.rows}, indent=2) + "\n"
        write_text(self._path, text)


def evenly(items: Sequence, count: int) -> list:
    """`count` of the items over their whole length; the first and the last, if two or more."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def _seed(seed: int) -> int:
    """Not the run's own, whose first weights the trained ones still resemble."""
    return int.from_bytes(hashlib.sha256(f"randomised {seed}".encode()).digest()[:4], "big") >> 1


def summarise(checked: Checked, resamples: int, seed: int) -> pd.DataFrame:
    """method, row, layers drawn anew, SSIM (mean, low, high: 95 % over patients), n images."""
    weights = _weights(checked, resamples, seed)
    rows = []
    for method, found in checked.found.items():
        for row, values in found.items():
            values = np.array(values, float)
            mean = bootstrap.mean(values, weights)
            n = int(np.isfinite(values).sum())
            rows.append((method, row, _depth(checked, row), mean.value, mean.low, mean.high, n))
    return pd.DataFrame(rows, columns=["method", "row", "randomised", "ssim", "low", "high", "n"])


def _weights(checked: Checked, resamples: int, seed: int) -> bootstrap.PatientWeights | None:
    """Draws of the patients; None for fewer than two."""
    patients = np.array(checked.patients, str)
    if len(set(checked.patients)) < 2:
        return None
    return bootstrap.patient_weights(patients, resamples, seed)


def _depth(checked: Checked, row: str) -> int:
    return 0 if row == OTHER_NOISE else checked.layers.index(row) + 1


def table(checked: Checked, frame: pd.DataFrame) -> report.Table:
    """Layers drawn anew x methods."""
    total, rows = len(checked.layers), []
    for row, part in frame.groupby("row", sort=False):
        depth = part["randomised"].iloc[0]
        anew = "none, other noise" if not depth else f"{depth} of {total}, down to {row}"
        own = part.set_index("method")
        cells = [own.loc[method, ["ssim", "low", "high"]] for method in checked.found]
        rows.append([anew, *(report.interval(tuple(cell)) for cell in cells)])
    caption = (
        f"SSIM of {len(checked.patients)} images' maps with the maps shown, in brackets the 95 % "
        "interval over patients, while the network's layers are drawn anew from the last one down, "
        "batch norm included (Adebayo et al. 2018). It should fall below the first row, which is "
        "the trained network's under other noise. Layer statistics and priors are taken anew for "
        "each row; InputIBA's authors keep those of the trained network."
    )
    header = ["layers drawn anew", *(report.worded(method) for method in checked.found)]
    return report.Table("Layers drawn anew", caption, header, rows)


def findings(checked: Checked, resamples: int, seed: int) -> list[str]:
    """For each method whether its maps depend on the weights, beyond what its noise does."""
    return [_finding(checked, method, resamples, seed) for method in checked.found]


def _finding(checked: Checked, method: str, resamples: int, seed: int) -> str:
    """The network without any trained layer against the trained one under other noise, paired."""
    rows = {row: np.array(values, float) for row, values in checked.found[method].items()}
    noise, last = rows[OTHER_NOISE], rows[list(rows)[-1]]
    weights = _weights(checked, resamples, seed)
    of_noise, of_last = (bootstrap.mean(values, None).value for values in (noise, last))
    fall = bootstrap.mean(noise - last, weights)
    said = f"SSIM with the maps shown is {report.number(of_last)} for a network drawn wholly anew"
    said += f" and {report.number(of_noise)} for the trained one under other noise"
    if np.isnan(fall.low):
        return (
            f"Maps by {report.worded(method)}: {said}; one patient is too few to tell them apart."
        )
    said += f" (difference {fall.value:+.2f} [{fall.low:+.2f}, {fall.high:+.2f}])"
    if fall.low > 0:
        return f"Maps by {report.worded(method)} depend on what the network has learned: {said}."
    return (
        f"Maps by {report.worded(method)} are NOT shown to depend on what the network has learned: "
        f"{said}."
    )
