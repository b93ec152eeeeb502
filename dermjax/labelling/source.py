"""What is chosen from: a run's photographs with the labels known so far, and their features."""

import dataclasses
import itertools
import os

import numpy as np

from dermjax import stores
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.encoder_features import Encoder, encoder_of, features_of_all
from dermjax.labelling.settings import LabelSettings
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training.writer import Writer

_BOX = "#xywh="  # in the name of a lesion of whose photograph there are several


@dataclasses.dataclass(frozen=True)
class Source:
    """A run's photographs as one of its encoders sees them."""

    run: RunFolder
    trained: RunSettings  # with the table that is read
    dataset: Dataset
    encoder: str  # pretrain, start or finetune
    features: np.ndarray  # [rows, F] float32, unit L2 norm


def load(settings: LabelSettings, folder: RunFolder, writer: Writer) -> Source:
    """Reads the table and the features; those that are missing are computed.

    Args:
      folder: gets the file of features.

    Raises:
      ValueError: the run has no such encoder or has not finished it, or its data have changed.
    """
    run = RunFolder.named(settings.run)
    trained = run.settings()
    encoder = encoder_of(settings.encoder, trained)
    if settings.data:
        place = trained.data.source
        newer = dataclasses.replace(trained.data, source=settings.data)
        trained = dataclasses.replace(trained, data=newer)
        dataset = in_sets_of(named_as_in(_prepared(trained, writer), run, place), run)
    else:
        dataset = as_recorded(prepare(trained, writer), run)
    known = Encoder(run, trained, encoder, settings.image_size, settings.batch_size)
    features = features_of_all(known, dataset, folder, writer)
    return Source(run, trained, dataset, encoder, unit(features))


def _prepared(trained: RunSettings, writer: Writer) -> Dataset:
    """A newer table; of a run that pretrains also with new classes, of one patient or two yet."""
    lenient = "pretrain" if trained.kind.pretrains else trained.task
    return prepare(dataclasses.replace(trained, task=lenient), writer)


def named_as_in(dataset: Dataset, run: RunFolder, place: str) -> Dataset:
    """A newer table with the run's own names for its photographs, wherever the table lies.

    Args:
      place: the table or the folder that the run was made with, whence its names start.
    """
    if "path" not in dataset.frame or stores.is_remote(place):
        return dataset
    base = os.path.abspath(stores.expanded(place))
    base = base if os.path.isdir(base) else os.path.dirname(base)
    own = {}
    for name in run.splits()["image"]:
        image, mark, box = name.partition(_BOX)
        own[os.path.normpath(os.path.join(base, image)) + mark + box] = name
    # Where the run's photographs are still at their place, another one of the same name is another.
    stay = any(os.path.exists(one.partition(_BOX)[0]) for one in itertools.islice(own, 10))
    names, taken = [], set(own.values())
    for path, name in zip(dataset.frame["path"], dataset.frame["name"], strict=True):
        whole = path + "".join(name.partition(_BOX)[1:])
        names.append(own.get(whole, whole if stay and name in taken else name))
    return dataclasses.replace(dataset, frame=dataset.frame.assign(name=names))


def in_sets_of(dataset: Dataset, run: RunFolder) -> Dataset:
    """A newer table in the sets that the run has written down: who tests it is not asked about.

    A photograph that the run does not know is in the set of the others of its group (patient,
    lesion, copies), else in the training set.

    Raises:
      ValueError: the table has none of the run's photographs.
    """
    rows = run.splits().set_index("image")
    names = dataset.frame["name"]
    known = names.isin(rows.index).to_numpy()
    if not known.any():
        raise ValueError(
            f"none of the photographs in {dataset.manifest.source if dataset.manifest else ''} is "
            f"one of the run in {run}: name a table of the same photographs, at the same place"
        )
    split = np.full(len(names), "train", dtype=object)
    split[known] = rows["split"].reindex(names[known]).to_numpy(object)
    groups = dataset.frame["group"]
    for name in ("validation", "test"):  # the test set last: it takes whoever is in both
        held = set(groups[split == name])
        split[~known & groups.isin(held).to_numpy()] = name
    if "exclude" in dataset.frame:
        split[(dataset.frame["exclude"] == "test").to_numpy() & (split == "test")] = "excluded"
    labelled = (dataset.labels >= 0) & (split != "excluded")
    return dataclasses.replace(dataset, split=split, labelled=labelled)


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, `[rows, F]` float32; a row of zeros stays as it is."""
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
