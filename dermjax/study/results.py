"""What a study's finished runs found, side by side: one test set, many predictions."""

import collections
import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd

from dermjax.runs.run_folder import RunFolder
from dermjax.statistics import calibration
from dermjax.strategies import STRATEGIES
from dermjax.study.plan import Planned


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One finished run. Letters: B test images, V validation images, N classes."""

    planned: Planned
    results: dict[str, Any]
    probabilities: np.ndarray  # [B, N] float32, in the order of the study's images
    validation_probabilities: np.ndarray  # [V, N]
    validation_labels: np.ndarray  # [V] int
    labelled: np.ndarray  # [N] int, training images per class that kept their label

    @property
    def predicted(self) -> np.ndarray:
        """`[B]` int."""
        return self.probabilities.argmax(-1)

    @functools.cached_property
    def temperature(self) -> float:
        """The one that the validation images give; fitted once."""
        logs = calibration.log_probabilities(self.validation_probabilities)
        return calibration.fit_temperature(self.validation_labels, logs)

    @functools.cached_property
    def scaled(self) -> np.ndarray:
        """The probabilities `[B, N]` float64 under the temperature."""
        return calibration.apply_temperature(self.probabilities, self.temperature)


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The test set that all runs share, and what each made of it."""

    classes: tuple[str, ...]
    images: np.ndarray  # [B] str
    labels: np.ndarray  # [B] int
    groups: np.ndarray  # [B] str, what the sets were kept apart by: patients, where known
    columns: pd.DataFrame  # [B] rows: what else is known of the images
    runs: tuple[Outcome, ...]
    planned: tuple[str, ...]  # the study's strategies in their order, finished or not
    # The groups of the images of the other sets, `training` and `validation`.
    sets: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def patients(self) -> np.ndarray:
        """`[B]` int, the number of each image's group."""
        return np.unique(self.groups, return_inverse=True)[1]

    def of(self, strategy: str, alpha: float) -> list[Outcome]:
        """The trials of one cell, in order."""
        cell = (strategy, alpha)
        runs = [run for run in self.runs if (run.planned.strategy, run.planned.alpha) == cell]
        return sorted(runs, key=lambda run: run.planned.trial)

    def strategies(self) -> list[str]:
        """Those that have a finished run, in the order of the study."""
        finished = {run.planned.strategy for run in self.runs}
        return [strategy for strategy in self.planned if strategy in finished]

    def pretrained(self) -> list[str]:
        """Those of SS and SS-IN that have a finished run, with any option for rare classes."""
        finished = {run.planned.settings.strategy for run in self.runs}
        return [one.name for one in STRATEGIES.values() if one.pretrains and one.name in finished]

    def alphas(self) -> list[float]:
        """Ascending."""
        return sorted({run.planned.alpha for run in self.runs})


def collect(runs: list[Planned]) -> tuple[Outcomes | None, dict[str, str]]:
    """Reads all finished runs.

    Returns:
      What they found (None where none is finished), and why runs are left out, by name.
    """
    missing = {run.name: "not done" for run in runs if not run.done}
    finished = [run for run in runs if run.done]
    if not finished:
        return None, missing
    results = {run.name: run.folder.results() for run in finished}
    data = {name: (tuple(r["classes"]), r["data_fingerprint"]) for name, r in results.items()}
    usual = collections.Counter(data.values()).most_common(1)[0][0]
    missing |= {name: "was made with other data" for name in data if data[name] != usual}
    finished = [run for run in finished if data[run.name] == usual]
    other = _other_subsets(finished)
    missing |= other
    finished = [run for run in finished if run.name not in other]
    test, columns = _test_set(finished[0].folder)
    read = [_read(run, results[run.name], test["image"]) for run in finished]
    index = {name: i for i, name in enumerate(usual[0])}
    outcomes = Outcomes(
        classes=usual[0],
        images=test["image"].to_numpy(str),
        labels=test["label"].map(index).to_numpy(int),
        groups=columns["group"].to_numpy(str),
        columns=columns.drop(columns="group"),
        runs=tuple(read),
        planned=tuple(dict.fromkeys(run.strategy for run in runs)),
        sets=_other_sets(finished[0].folder),
    )
    return outcomes, missing


def _other_subsets(runs: list[Planned]) -> dict[str, str]:
    """Runs that kept other labels than most of the same share and trial, or have other test images.

    What is compared by trial must differ by strategy alone.
    """
    found = {}
    for run in runs:
        sets = run.folder.splits()
        images = sets["image"] + " " + sets["split"]
        test = frozenset(images[sets["split"] == "test"])
        found[run.name] = (test, frozenset(images[sets["labelled"] == "1"]))
    usual_test = collections.Counter(test for test, _ in found.values()).most_common(1)[0][0]
    other = {
        name: "has other test images than the other runs"
        for name, (test, _) in found.items()
        if test != usual_test
    }
    cells = collections.defaultdict(list)
    for run in runs:
        if run.name not in other:
            cells[run.alpha, run.trial].append(run.name)
    for (alpha, trial), names in cells.items():
        usual = collections.Counter(found[name][1] for name in names).most_common(1)[0][0]
        other |= {
            name: f"kept other labels than the other runs at share {alpha:g} in trial {trial}"
            for name in names
            if found[name][1] != usual
        }
    return other


def _test_set(folder: RunFolder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test images with their labels, in the order of the predictions, and what is known of them."""
    test = folder.predictions()[["image", "label"]]
    sets = folder.splits().set_index("image").loc[test["image"]]
    known = ("patient", "label", "split", "labelled")
    return test, sets.drop(columns=[name for name in known if name in sets]).reset_index(drop=True)


def _other_sets(folder: RunFolder) -> dict[str, np.ndarray]:
    """The groups of the training and validation images."""
    sets = folder.splits()
    return {
        name: sets["group"][sets["split"] == split].to_numpy(str)
        for name, split in (("training", "train"), ("validation", "validation"))
    }


def _read(run: Planned, results: dict, images: pd.Series) -> Outcome:
    classes = results["classes"]
    names = [f"p_{name}" for name in classes]
    test = run.folder.predictions().set_index("image").loc[images]
    validation = run.folder.predictions("validation")
    sets = run.folder.splits()
    kept = sets[(sets["split"] == "train") & (sets["labelled"] == "1")]["label"].value_counts()
    return Outcome(
        planned=run,
        results=results,
        probabilities=test[names].to_numpy(np.float32),
        validation_probabilities=validation[names].to_numpy(np.float32),
        validation_labels=np.array([classes.index(label) for label in validation["label"]]),
        labelled=np.array([int(kept.get(name, 0)) for name in classes]),
    )
