"""Frozen features of all images of a run by one of its encoders, kept in a file.

They are features of photographs: of a table that has more labels since they are read again.
"""

import dataclasses
import hashlib
import json

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
_CONTENT = ("name", "content", *BOX, "redact")  # of a row, all that its features depend on


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
    """`[rows, F]` float32 of every image of the data set; read where they were written before.

    Args:
      folder: gets the file, where neither it nor the run's own folder has one.

    Raises:
      ValueError: the run has no such encoder, or has not finished it.
    """
    path = folder.encoder_features(encoder.name)
    mark = {"data": dataset.fingerprint, "image_size": encoder.size, "run": str(encoder.run)}
    images = _images(dataset)
    for place in dict.fromkeys((path, encoder.run.encoder_features(encoder.name))):
        arrays = read_arrays(place)
        if arrays is None or (found := _known(arrays, mark, images, dataset)) is None:
            continue
        writer.say(f"features: {len(found)} images, read from {place}")
        if place == path and str(arrays["mark"]) != json.dumps(mark):  # other labels by now
            _write(path, found, dataset, mark, images)
        return found
    features = _computed(encoder, dataset, writer)
    _write(path, features, dataset, mark, images)
    shape = f"{features.shape[0]} images x {features.shape[1]}"
    writer.say(f"features: {shape}, written to {path}")
    return features


def _computed(encoder: Encoder, dataset: Dataset, writer: Writer) -> np.ndarray:
    """`[rows, F]`, by the network."""
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
    if encoder.name == "start":
        model = models.create(trained.model.name, num_classes=0)
        variables = beginning.encoder or models.initialize(model, trained.seed)
    else:
        variables, _ = restore(trained, encoder.run, encoder.name)
    return predictor(variables, np.arange(len(dataset.labels)))


def _write(
    path: epath.Path, features: np.ndarray, dataset: Dataset, mark: dict, images: str
) -> None:
    """The features with what is known of their images."""
    known = {name: dataset.frame[name].to_numpy(str) for name in ("label", "patient")}
    known |= {"split": dataset.split.astype(str), "mark": np.array(json.dumps(mark))}
    names = dataset.names(np.arange(len(features)))
    write_arrays(path, features=features, id=names, images=np.array(images), **known)


def _known(
    arrays: dict[str, np.ndarray], mark: dict, images: str, dataset: Dataset
) -> np.ndarray | None:
    """`[rows, F]` of a file by the images' names; None where it is not of all these images."""
    if "mark" not in arrays:
        return None
    written = json.loads(str(arrays["mark"]))
    same = images and str(arrays.get("images", "")) == images
    if written != (mark | {"data": written.get("data")} if same else mark):
        return None
    return features_of(arrays, dataset.frame["name"].tolist())


def _images(dataset: Dataset) -> str:
    """A hash of the images, whatever is known of them; '' where their contents are not known."""
    if not set(_CONTENT) <= set(dataset.frame):
        return ""
    columns = [map(str, dataset.frame[name].tolist()) for name in _CONTENT]
    lines = sorted("\x1f".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]
