"""A run's folder: the name, the reader and the writer of each of its files."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from etils import epath

from dermjax import stores
from dermjax.runs import claim
from dermjax.runs.files import write_text
from dermjax.settings import RunSettings
from dermjax.strategies import STRATEGIES, VARIANTS, file_name
from dermjax.training import processes
from dermjax.training.writer import MetricsFile

RESULTS = "results.json"
_PREDICTIONS = {"test": "predictions.csv", "validation": "validation_predictions.csv"}


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """What a run leaves behind, on a disk or in a bucket."""

    path: epath.Path

    @classmethod
    def named(cls, name: str) -> Self:
        """The folder of a run that there is.

        Raises:
          ValueError: the name's store is not known.
        """
        return cls(stores.folder(name))

    def __str__(self) -> str:
        return str(self.path)

    def part(self, name: str) -> "RunFolder":
        """A folder in it that holds another training of the same run; made if need be."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return RunFolder(path)

    # config.json

    @property
    def is_run(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / claim.CONFIG).exists()

    def settings(self) -> RunSettings:
        """Those of the run; fields that came after it have what it did without them.

        Raises:
          ValueError: the folder is not that of a run, or of one that this version cannot read.
        """
        path = self.path / claim.CONFIG
        if not self.is_run:
            raise ValueError(f"{self} is not the folder of a run: it has no {claim.CONFIG}")
        config = _read_json(path)
        if "variant" not in config:
            config["variant"] = _variant_by_name(self.path.name, config)
        return RunSettings.from_config(config)

    def check_claim(self, settings: RunSettings) -> None:
        """Raises ValueError where the folder belongs to a run of other settings."""
        claim.check_claim(self.path, settings.to_dict())

    def claim(self, settings: RunSettings) -> None:
        """Writes the settings into a folder that is free; raises as `check_claim`."""
        claim.claim(self.path, settings.to_dict())

    # results.json, the mark of a finished run

    @property
    def is_finished(self) -> bool:
        """Whether its results are there."""
        return (self.path / RESULTS).exists()

    def results(self) -> dict[str, Any]:
        """What the run found.

        Raises:
          ValueError: it is not finished.
        """
        if not self.is_finished:
            raise ValueError(
                f"the run in {self} is not finished: it has no {RESULTS}; the same command as "
                "before continues it"
            )
        return _read_json(self.path / RESULTS)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Finishes the run."""
        write_text(self.path / RESULTS, json.dumps(results, indent=2) + "\n")

    # weights.json, what the run starts from

    def weights(self) -> dict[str, Any]:
        """The record of the first weights, and of how images are normalised.

        Raises:
          ValueError: there is none.
        """
        path = self.path / "weights.json"
        if not path.exists():
            raise ValueError(f"{self} has no {path.name}: it is not the whole folder of a run")
        return _read_json(path)

    def write_weights(self, record: Mapping[str, Any]) -> None:
        """Writes the record of the first weights.

        Raises:
          ValueError: the run began with other ones.
        """
        path = self.path / "weights.json"
        text = json.dumps(record, indent=2) + "\n"
        if path.exists() and path.read_text() != text:
            raise ValueError(
                f"{record['source']} has changed since this run began in {self}: going on would "
                "mix two starts; take another --workdir"
            )
        write_text(path, text)

    # splits.csv and data_fingerprint.txt, the data that the run began with

    def splits(self) -> pd.DataFrame:
        """A row for each image, all columns text: image, patient, label, split, labelled, ..."""
        return _read_table(self.path / "splits.csv")

    def data_fingerprint(self) -> str | None:
        """That of the data which `splits` is of; None where either is not written yet."""
        mark = self.path / "data_fingerprint.txt"
        both = mark.exists() and (self.path / "splits.csv").exists()
        return mark.read_text() if both else None

    def write_splits(self, table: pd.DataFrame, fingerprint: str) -> None:
        """Writes the sets, and the fingerprint of the data that they are of."""
        write_text(self.path / "splits.csv", table.to_csv(index=False))
        write_text(self.path / "data_fingerprint.txt", fingerprint)

    # predictions.csv and validation_predictions.csv

    def predictions(self, split: str = "test") -> pd.DataFrame:
        """A row for each image, all columns text: image, patient, label, predicted, p_CLASS ..."""
        return _read_table(self.path / _PREDICTIONS[split])

    def write_predictions(self, table: pd.DataFrame, split: str) -> None:
        """Writes the predictions of `test` or `validation`, probabilities to seven digits."""
        text = table.to_csv(index=False, float_format="%.7g")
        write_text(self.path / _PREDICTIONS[split], text)

    # features

    @property
    def test_features(self) -> epath.Path:
        """The file of the test images' penultimate features, if they were asked for."""
        return self.path / "test_features.npz"

    def encoder_features(self, encoder: str) -> epath.Path:
        """The file of all images' features by one of the run's encoders, which a probe writes."""
        return self.path / f"features-{encoder}.npz"

    def reference(self, tta: int = 0) -> epath.Path:
        """The file of what the selected network makes of the run's own images."""
        return self.path / f"reference{'-tta' if tta else ''}.npz"

    @property
    def classifier(self) -> epath.Path:
        """The file of the selected network where the folder is an export, without checkpoints."""
        return self.path / "classifier.safetensors"

    # metrics and checkpoints

    def metrics(self) -> MetricsFile:
        """`metrics.jsonl`; of several processes the first one writes it."""
        return MetricsFile(self.path / "metrics.jsonl", active=processes.is_first())

    def checkpoints(self, stage: str) -> epath.Path:
        """The folder of a stage's checkpoints."""
        return self.path / "checkpoints" / stage

    def probe(self, encoder: str, alpha: float, trial: int, *, balanced: bool) -> epath.Path:
        """The file of a linear probe's results."""
        weights = "-balanced" if balanced else ""
        return self.path / f"probe-{encoder}-alpha{alpha:g}-trial{trial}{weights}.json"


def folder_name(strategy: str, alpha: float, trial: int) -> str:
    """What a study calls the folder of a run, such as `ss-balanced-alpha0.1-trial0`."""
    return f"{file_name(strategy)}-alpha{alpha:g}-trial{trial}"


def _variant_by_name(name: str, config: Mapping[str, Any]) -> str:
    """The option for rare classes of a study's run whose config is older than the field for it."""
    named = {file_name(f"{s}-{v}"): v for s in STRATEGIES for v in VARIANTS}
    variant = named.get(name.partition("-alpha")[0], "")
    fields, stage = VARIANTS.get(variant, {}), config.get("finetune", {})
    return variant if all(stage.get(field) == value for field, value in fields.items()) else ""


def features_of(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    """`[len(names), F]`, the rows of a file of features by image; None where one is missing."""
    place = {name: i for i, name in enumerate(arrays["id"].tolist())}
    if not place.keys() >= set(names):
        return None
    return arrays["features"][[place[name] for name in names]]


def _read_json(path: epath.Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
      ValueError: it is cut short or damaged.
    """
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from None


def _read_table(path: epath.Path) -> pd.DataFrame:
    """Text as it was written: a class may be called NA."""
    with path.open() as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
