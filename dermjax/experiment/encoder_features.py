"""Frozen features of all images of a run by one of its encoders, kept in a file.

They are features of photographs, whatever a table calls them and says of them: of a table with
more labels they are read again, and of one with more photographs only the new ones are computed.
"""

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
from etils import epath

from dermjax import models
from dermjax.data.manifest import BOX
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset
from dermjax.experiment.predictor import Predictor
from dermjax.experiment.trained_networks import restore
from dermjax.runs.files import read_arrays, write_arrays
from dermjax.runs.run_folder import RunFolder, features_of
from dermjax.settings import RunSettings
from dermjax.training import parallel
from dermjax.training.writer import Writer

ENCODERS = ("auto", "pretrain", "start", "finetune")
_CONTENT = ("content", *BOX, "redact")  # of a row, all that its features depend on


@dataclasses.dataclass(frozen=True)
class Encoder:
    """One encoder of a run, and how it is asked."""

    run: RunFolder
    trained: RunSettings
    name: str  # pretrain, start or finetune
    image_size: int  # px; 0: what it was trained at
    batch_size: int

    @property
    def size(self) -> int:
        """px of its images; of weights from elsewhere, what the run gives them."""
        if self.image_size:
            return self.image_size
        if self.name == "pretrain" or self.trained.finetune is None:
            return self.trained.pretraining.image_size
        return self.trained.finetune.image_size

    def variables(self, beginning: networks.Beginning) -> dict[str, Any] | None:
        """`{'params', 'batch_stats'}`; None where it starts from random weights.

        Args:
          beginning: What the run's first stage starts from.

        Raises:
          ValueError: the run has no such encoder, or has not finished it.
        """
        if self.name == "start":
            return beginning.encoder
        return restore(self.trained, self.run, self.name)[0]


def encoder_of(name: str, trained: RunSettings) -> str:
    """The encoder of a run that is meant: `auto` is pretraining's where there is one, or the start.

    Args:
      name: of ENCODERS.
      trained: the run's.

    Raises:
      ValueError: the run has no such encoder.
    """
    if name == "auto":
        return "pretrain" if trained.kind.pretrains else "start"
    if name == "pretrain" and not trained.kind.pretrains:
        raise ValueError(
            f"a run of strategy {trained.strategy} has no pretrained encoder; take encoder=start"
        )
    return name


def features_of_all(
    encoder: Encoder, dataset: Dataset, folder: RunFolder, writer: Writer
) -> np.ndarray:
    """`[rows, F]` float32 of every image of the data set.

    Those that were written before are read; the network is asked about the others.

    Args:
      folder: gets the file, where neither it nor the run's own folder has all of them.

    Raises:
      ValueError: the run has no such encoder, or has not finished it.
    """
    path = folder.encoder_features(encoder.name)
    mark = {"data": dataset.fingerprint, "image_size": encoder.size, "run": str(encoder.run)}
    digests = _digests(dataset)
    for place in dict.fromkeys((path, encoder.run.encoder_features(encoder.name))):
        arrays = read_arrays(place)
        known = _read(arrays, mark, dataset, digests)
        missing = np.flatnonzero([one not in known for one in digests])
        if len(missing) == len(digests):
            continue
        if len(missing):
            computed = _computed(encoder, dataset, missing, writer)
            known |= {digests[row]: one for row, one in zip(missing, computed, strict=True)}
        features = np.stack([known[one] for one in digests])
        if len(missing) or (place == path and not _is_of(arrays, mark)):
            _write(path, features, dataset, mark, digests)
        more = f", {len(missing)} of them new" if len(missing) else ""
        writer.say(f"features: {len(features)} images, read from {place}{more}")
        return features
    features = _computed(encoder, dataset, np.arange(len(digests)), writer)
    _write(path, features, dataset, mark, digests)
    shape = f"{features.shape[0]} images x {features.shape[1]}"
    writer.say(f"features: {shape}, written to {path}")
    return features


def _computed(encoder: Encoder, dataset: Dataset, rows: np.ndarray, writer: Writer) -> np.ndarray:
    """`[len(rows), F]`, by the network."""
    trained = encoder.trained
    devices, beginning = parallel.all_devices(), networks.begin(trained, writer)
    predictor = Predictor(
        networks.make_encoder(trained, devices),
        dataset,
        devices,
        beginning.preprocessing,
        image_size=encoder.size,
        batch_size=encoder.batch_size,
    )
    variables = encoder.variables(beginning)
    if variables is None:
        model = models.create(trained.model.name, num_classes=0)
        variables = models.initialize(model, trained.seed)
    return predictor(variables, rows)


def _write(
    path: epath.Path, features: np.ndarray, dataset: Dataset, mark: dict, digests: list[str]
) -> None:
    """The features with what is known of their images."""
    known = {name: dataset.frame[name].to_numpy(str) for name in ("label", "patient")}
    known |= {"split": dataset.split.astype(str), "mark": np.array(json.dumps(mark))}
    names = dataset.names(np.arange(len(features)))
    write_arrays(path, features=features, id=names, digest=np.array(digests), **known)


def _read(
    arrays: dict[str, np.ndarray] | None, mark: dict, dataset: Dataset, digests: list[str]
) -> dict[str, np.ndarray]:
    """Features `[F]` of a file by their images' digests; none where it is of another encoder."""
    if arrays is None or "mark" not in arrays:
        return {}
    if "digest" in arrays:
        own = json.loads(str(arrays["mark"]))
        same = own | {"data": mark["data"]} == mark
        return dict(zip(arrays["digest"].tolist(), arrays["features"], strict=True)) if same else {}
    # Of an older version, which knew images by their names in one table.
    found = features_of(arrays, dataset.frame["name"].tolist()) if _is_of(arrays, mark) else None
    return {} if found is None else dict(zip(digests, found, strict=True))


def _is_of(arrays: dict[str, np.ndarray] | None, mark: dict) -> bool:
    """Whether a file was written for this very table."""
    return arrays is not None and str(arrays.get("mark")) == json.dumps(mark)


def _digests(dataset: Dataset) -> list[str]:
    """What each image is, whatever its name and its label; its name where nothing else is known."""
    if not set(_CONTENT) <= set(dataset.frame):
        return [f"{dataset.fingerprint} {name}" for name in dataset.frame["name"]]
    columns = [map(str, dataset.frame[name].tolist()) for name in _CONTENT]
    lines = ("\x1f".join(row) for row in zip(*columns, strict=True))
    return [hashlib.sha256(line.encode(errors="replace")).hexdigest()[:24] for line in lines]
