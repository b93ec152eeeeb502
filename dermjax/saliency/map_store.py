"""The files of `saliency/`: a folder per image, each map whole or not there, found again later.

`METHOD.npy` is the map `[S, S]` float32 at the network's size, `METHOD.png` the same as 8 bits,
`METHOD-overlay.png` the coloured map on the photograph; `METHOD.json`, written last, says whose,
how, and the scores.
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from dermjax.runs.files import whole_file, write_text
from dermjax.saliency import FeatureStatistics
from dermjax.saliency import page as report
from dermjax.saliency.samples import Sample

ABSOLUTE = ("input_iba", "input_iba_gan", "random")  # their maps are in [0, 1] by themselves
_FIELDS = ("mean", "std", "active")


@dataclasses.dataclass(frozen=True)
class Explained:
    """A sample, the network's answer, and the class whose evidence is mapped."""

    sample: Sample
    probabilities: np.ndarray  # `[N]`
    target: int

    @property
    def predicted(self) -> int:
        return int(np.argmax(self.probabilities))

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What its maps depend on beside network and settings; the photograph is read once."""
        pixels = np.ascontiguousarray(self.sample.pixels())
        return {
            "image": self.sample.name,
            "pixels": hashlib.sha256(pixels.tobytes()).hexdigest()[:16],
            "target": self.target,
        }


class Maps:
    """The maps of a folder, by image and method."""

    def __init__(self, directory: epath.Path, classes: Sequence[str]):
        self._directory, self._classes = directory, classes

    def record(self, one: Explained, method: str) -> dict[str, Any] | None:
        """What `METHOD.json` says; None where there is none that can be read."""
        try:
            return json.loads(self._path(one, f"{method}.json").read_text())
        except (OSError, ValueError):
            return None

    def heat(self, one: Explained, method: str) -> np.ndarray | None:
        """The map `[S, S]` float32; None where there is none."""
        if self.record(one, method) is None:
            return None
        try:
            with self._path(one, f"{method}.npy").open("rb") as file:
                return np.load(file)
        except (OSError, ValueError, EOFError):
            return None

    def is_done(self, one: Explained, method: str, settings: dict) -> bool:
        """Whether this very map is there."""
        found = self.record(one, method)
        wanted = json.loads(json.dumps({"identity": one.identity, "settings": settings}))
        same = found is not None and all(found.get(name) == wanted[name] for name in wanted)
        return same and self.heat(one, method) is not None

    def write(
        self, one: Explained, method: str, settings: dict, found: np.ndarray
    ) -> dict[str, Any]:
        """A map with its pictures; the record, which is returned, comes last and makes it count."""
        self.remove(one, method)
        self._path(one, "").mkdir(parents=True, exist_ok=True)
        with whole_file(self._path(one, f"{method}.npy")) as file:
            np.save(file, found.astype(np.float32))
        shown, pixels = visible(found, method), one.sample.pixels()
        self._write_png(one, f"{method}.png", np.rint(255 * shown).astype(np.uint8))
        self._write_png(one, f"{method}-overlay.png", report.overlay(pixels, shown))
        classes, label = self._classes, one.sample.label
        shares = (round(float(share), 7) for share in one.probabilities)
        known = {
            "image": one.sample.name,
            "method": method,
            "target": classes[one.target],
            "predicted": classes[one.predicted],
            "true": classes[label] if label >= 0 else None,
            "probability": round(float(one.probabilities[one.target]), 7),  # of the target
            "probabilities": dict(zip(classes, shares, strict=True)),
            "settings": settings,
            "identity": one.identity,
        }
        self.update(one, method, known)
        return known

    def update(self, one: Explained, method: str, record: dict[str, Any]) -> None:
        """Writes a record anew."""
        text = json.dumps(record, indent=2) + "\n"
        write_text(self._path(one, f"{method}.json"), text)

    def remove(self, one: Explained, method: str) -> None:
        """An older map of other settings does not count any more; its record goes first."""
        for ending in (".json", ".npy", ".png", "-overlay.png"):
            self._path(one, f"{method}{ending}").unlink(missing_ok=True)

    def _path(self, one: Explained, name: str) -> epath.Path:
        return self._directory / one.sample.key / name

    def _write_png(self, one: Explained, name: str, pixels: np.ndarray) -> None:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        with whole_file(self._path(one, name)) as file:
            file.write(content.getvalue())


def visible(found: np.ndarray, method: str) -> np.ndarray:
    """The map as shares of the colour scale."""
    return report.visible(found, absolute=method in ABSOLUTE)


def read_statistics(path: epath.Path, mark: dict[str, Any]) -> FeatureStatistics | None:
    """Statistics of the same layer, network and images that were written before."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as found:
            if json.loads(str(found["mark"])) != mark:
                return None
            return FeatureStatistics(**{name: found[name] for name in _FIELDS})
    except (OSError, ValueError, KeyError):
        return None


def write_statistics(path: epath.Path, mark: dict[str, Any], found: FeatureStatistics) -> None:
    with whole_file(path) as file:
        np.savez(file, mark=json.dumps(mark), mean=found.mean, std=found.std, active=found.active)
