"""The networks that answer together: a run's, or those of several runs that differ by chance."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from dermjax import models, stores
from dermjax.experiment import networks, trained_networks
from dermjax.experiment.class_predictor import ClassPredictor
from dermjax.experiment.predictor import Images
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training.parallel import Devices


@dataclasses.dataclass(frozen=True)
class Member:
    """A finished run whose selected network answers."""

    folder: RunFolder
    settings: RunSettings
    classes: tuple[str, ...]

    @classmethod
    def of(cls, folder: RunFolder) -> "Member":
        """The run in a folder.

        Raises:
          ValueError: there is none, it is not finished, or it has no classifier.
        """
        settings, results = folder.settings(), folder.results()
        if results.get("task") == "pretrain":
            raise ValueError(
                f"the run in {folder} is a pretraining alone: it knows no classes to predict"
            )
        if "classes" not in results or "best_step" not in results:
            raise ValueError(f"the results in {folder} are damaged: they name no classes")
        member = cls(folder, settings, tuple(results["classes"]))
        if member.is_export and not folder.classifier.exists():
            raise ValueError(
                f"the export in {folder} is damaged: it has no {folder.classifier.name}; copy the "
                "folder again"
            )
        return member

    @property
    def is_export(self) -> bool:
        """Whether it is a folder that was handed on, without the run's data."""
        return bool(self.folder.results().get("exported"))

    @property
    def image_size(self) -> int:
        """Pixels of the network's input."""
        return self.settings.finetuning.image_size

    @functools.cached_property
    def without_patient(self) -> str:
        """What is to be known of the patients in the run's data, in words; '' where all are."""
        count = self.folder.results().get("without_patient", 0)
        if not count:
            return ""
        return (
            f"{count:,} of the run's images came without a patient: each lesion or photograph of "
            "them counts as a patient of its own, and what is said of patients is said of these."
        )

    @functools.cached_property
    def preprocessing(self) -> models.Preprocessing:
        """What the network was trained on."""
        return networks.recorded_preprocessing(self.folder)

    @functools.cached_property
    def variables(self) -> dict[str, Any]:
        """The selected network's, restored."""
        found, _ = trained_networks.restore(
            self.settings, self.folder, "finetune", classes=len(self.classes)
        )
        return found

    def predictor(
        self, devices: Devices, images: Images, *, batch_size: int, tta: int = 0
    ) -> ClassPredictor:
        """The network, to be asked of images."""
        return ClassPredictor(
            self.settings,
            devices,
            self.preprocessing,
            images,
            self.variables,
            classes=len(self.classes),
            batch_size=batch_size,
            tta=tta,
        )


def members(name: str) -> list[Member]:
    """The runs that a user names.

    Args:
      name: the folder of a run; or what the folders of several trials begin with, such as
        `study/ss-alpha0.1` for `study/ss-alpha0.1-trial0`, `-trial1`, ...

    Raises:
      ValueError: there is no such run, one is not finished, or they cannot answer together.
    """
    folder = RunFolder.named(name)
    if folder.is_run:
        return [Member.of(folder)]
    trials = _trials(folder)
    name = str(folder)
    if not trials:
        raise ValueError(
            f"{name} is not the folder of a run: it has no config.json, and there are no folders "
            f"{name}-trial0, {name}-trial1, ... of a study's trials"
        )
    found = [Member.of(trial) for trial in trials]
    _check_alike(found)
    return found


def _trials(folder: RunFolder) -> list[RunFolder]:
    """The folders `NAME-trialN` beside, by N."""
    beside = stores.folder(str(folder.path.parent))
    if not beside.exists():
        return []
    trial = re.compile(re.escape(folder.path.name) + r"-trial(\d+)")
    numbered = [(match, path) for path in beside.iterdir() if (match := trial.fullmatch(path.name))]
    return [RunFolder(path) for _, path in sorted(numbered, key=lambda one: int(one[0][1]))]


def _check_alike(found: Sequence[Member]) -> None:
    """Whether one's answers can be averaged with the others'.

    Raises:
      ValueError: classes, inputs or sets differ: an image on which one is calibrated must not be
        one that another was trained on.
    """
    first = found[0]
    if exported := [str(one.folder) for one in found if one.is_export]:
        raise ValueError(
            f"{exported[0]} is an export, of which it is not known on which images it was trained: "
            "exports cannot answer together; name the runs' own folders"
        )
    for other in found[1:]:
        pair = f"{first.folder} and {other.folder} cannot answer together: their"
        if other.classes != first.classes:
            differing = sorted({*first.classes} ^ {*other.classes})
            raise ValueError(f"{pair} classes differ ({', '.join(differing) or 'their order'})")
        inputs = (first.image_size, first.preprocessing.interpolation, first.settings.data.max_side)
        theirs = (other.image_size, other.preprocessing.interpolation, other.settings.data.max_side)
        if inputs != theirs:
            raise ValueError(
                f"{pair} inputs differ (px, interpolation, px of crops): {inputs}, {theirs}"
            )
        if not np.array_equal(_sets(first), _sets(other)):
            raise ValueError(
                f"{pair} training, validation and test sets differ, so that one was trained on "
                "images which another is calibrated on: name trials of one study"
            )


def _sets(member: Member) -> np.ndarray:
    """`[rows, 2]`, each image with its set, sorted."""
    table = member.folder.splits()[["image", "split"]].to_numpy(str)
    return table[np.lexsort(table.T)]
