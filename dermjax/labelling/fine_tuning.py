"""The network itself as what learns from the labels so far: fine-tuned anew on them.

It is trained as the run's own classifier is, from the same encoder, for a number of steps that is
given beforehand: no validation image chooses a step. What is random is drawn from the labels, so
that the same labels give the same network. Each is trained once: what it says of the photographs
is kept in a file.

Letters: N photographs of the pool, M of them, V validation images, K known classes.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import numpy as np
from etils import epath
from scipy import special

from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.encoder_features import Encoder
from dermjax.experiment.finetune import finetune
from dermjax.experiment.predictor import Predictor
from dermjax.labelling.source import Source
from dermjax.runs.files import read_arrays, write_arrays
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import FinetuneSettings
from dermjax.settings.devices import check_devices
from dermjax.training import parallel
from dermjax.training.writer import Writer

_TRAINING = "training"  # the folder of the network that is being trained


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuned:
    """What a network that was trained on some labels says.

    Attributes:
      classes: `[K]` int, ascending.
      pool: `[N, K]` probabilities.
      validation: `[V, K]` probabilities.
    """

    classes: np.ndarray
    pool: np.ndarray
    validation: np.ndarray

    def of_pool(self, rows: np.ndarray) -> np.ndarray:
        """As `learner.Learned.of_pool`."""
        return self.pool[rows]

    def of_validation(self) -> np.ndarray:
        """As `learner.Learned.of_validation`."""
        return self.validation


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuning:
    """A `learner.Learner` that trains the run's network.

    Attributes:
      run: the run's settings, its data without labels, and the folder that gets a file of answers
        for each training.
      encoder: `{'params', 'batch_stats'}` that every training starts from; None for random weights.
      rows: `[N]` int, the pool's rows in the data set.
      measured: `[V]` int, the validation images' rows in the data set.
      start: names the encoder and the images by what they are.
    """

    run: RunContext
    encoder: dict[str, Any] | None
    rows: np.ndarray
    measured: np.ndarray
    start: str

    def key(self) -> str:
        """As `learner.Learner.key`."""
        settings = self.run.settings
        said = {
            "model": settings.model.to_dict(),
            "finetune": settings.finetuning.to_dict(),
            "max_side": settings.data.max_side,
            "classes": list(self.run.dataset.classes),
            "start": self.start,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """As `learner.Learner.facts`: the steps and the batch of a training."""
        stage = self.run.settings.finetuning
        return {"finetune": {"steps": stage.steps, "batch_size": stage.batch_size}}

    def fit(self, labels: np.ndarray) -> FineTuned:
        """As `learner.Learner.fit`; a training that was stopped goes on where it was.

        Raises:
          stop.Interrupted: stopped by a signal; saved.
          ValueError: there is no label, or the loss is not finite.
        """
        known = np.unique(labels[labels >= 0])
        if not len(known):
            raise ValueError("a network needs labels, and there is none: take method=typicality")
        if len(known) < 2:  # nothing to learn: it says always that class
            return FineTuned(known, np.ones((len(labels), 1)), np.ones((len(self.measured), 1)))
        mark = hashlib.sha256(self.key().encode() + labels.astype(np.int64).tobytes()).hexdigest()
        path = self.run.folder.path / f"{mark[:24]}.npz"
        logits = _kept(path)
        if logits is None:
            logits = self._trained(labels, seed=int(mark[:8], 16) % 2**31)
            write_arrays(path, logits=logits)
            _remove_trainings(self.run.folder.path)
        told = special.softmax(logits[:, known].astype(np.float64), axis=1)
        return FineTuned(known, told[: len(self.rows)], told[len(self.rows) :])

    def _trained(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """`[N + V, classes]` logits of the pool and of the validation images."""
        own = self._labelled(labels, seed)
        name = f"{_TRAINING}-{seed:010d}"
        _remove_trainings(self.run.folder.path, but=name)
        own = dataclasses.replace(own, folder=own.folder.part(name))
        variables, _, _ = finetune(own, self.encoder, blind=True)
        return self._predictor(variables, np.concatenate([self.rows, self.measured]))

    @functools.cached_property
    def _predictor(self) -> Predictor:
        """The network in evaluation mode, compiled once for all trainings."""
        run = self.run
        return Predictor(
            networks.make_classifier(run.settings, run.devices, len(run.dataset.classes)),
            run.dataset,
            run.devices,
            run.preprocessing,
            image_size=run.settings.finetuning.image_size,
            batch_size=run.settings.evaluate.batch_size,
        )

    def _labelled(self, labels: np.ndarray, seed: int) -> RunContext:
        """The run with these labels alone, and a seed of their own."""
        dataset = self.run.dataset
        of_all, known = dataset.labels.copy(), np.zeros(len(dataset.labels), bool)
        of_all[self.rows] = labels
        known[self.rows] = labels >= 0
        return dataclasses.replace(
            self.run,
            settings=dataclasses.replace(self.run.settings, seed=seed),
            dataset=dataclasses.replace(dataset, labels=of_all, labelled=known),
        )


def prepare(
    source: Source,
    rows: np.ndarray,
    measured: np.ndarray,
    folder: epath.Path,
    writer: Writer,
    *,
    steps: int = 0,
) -> FineTuning:
    """What trains the network of a run on labels of `rows`, as its own classifier is trained.

    Args:
      rows: `[N]` int, the pool's rows in the data set.
      measured: `[V]` int, rows of the validation images.
      folder: gets a file for each training.
      steps: of each training; 0: as many as the run's own.

    Raises:
      ValueError: the run says nothing of fine-tuning, or has not finished its encoder.
    """
    trained = source.trained
    if trained.finetune is None:
        raise ValueError(
            f"classifier=finetune trains as the run in {source.run} does, and its config is of a "
            "pretraining alone: take classifier=probe"
        )
    settings = dataclasses.replace(trained, finetune=_of_length(trained.finetune, steps))
    devices = parallel.all_devices()
    check_devices(settings, devices)
    beginning = networks.begin(settings, writer)
    encoder = Encoder(source.run, trained, source.encoder, 0, settings.evaluate.batch_size)
    folder.mkdir(parents=True, exist_ok=True)
    context = RunContext(settings, source.dataset, devices, beginning, RunFolder(folder), writer)
    return FineTuning(
        run=context,
        encoder=encoder.variables(beginning),
        rows=rows,
        measured=measured,
        start=_digest(source.features[np.concatenate([rows, measured])]),
    )


def _of_length(stage: FinetuneSettings, steps: int) -> FinetuneSettings:
    """Stage 2 of that many steps (0: its own), warmed up for the same share, reported at its end.

    Raises:
      ValueError: the number of steps is out of bounds.
    """
    steps = steps or stage.steps
    return dataclasses.replace(
        stage,
        steps=steps,
        warmup_steps=stage.warmup_steps * steps // stage.steps,
        report_every=steps,
        evaluate_every=steps,
    )


def _kept(path: epath.Path) -> np.ndarray | None:
    """The logits of a training that is done; None where there are none, or a torn file."""
    arrays = read_arrays(path)
    return None if arrays is None else arrays.get("logits")


def _remove_trainings(folder: epath.Path, but: str = "") -> None:
    """Removes what trainings have left, such as one of other labels that was stopped."""
    for training in folder.glob(f"{_TRAINING}-*"):
        if training.name != but:
            training.rmtree()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
