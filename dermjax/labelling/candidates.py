"""Which photographs of a run may be asked about, and what is left out and why.

Asked about are training images without a label. An image of the validation or the test set is not:
its patient measures what the labels are worth. Neither is one that a person has already been asked
about (`verdict`), nor a copy of a photograph that has a label.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dermjax.experiment.dataset import Dataset
from dermjax.labelling.pool import Pool
from dermjax.labelling.source import Source


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The pool of the training images, and which rows of the data set they are.

    Attributes:
      pool: P images, in the order of their names.
      rows: `[P]` int, their rows in the data set.
      left_out: reason -> images that are not asked about though they have no label.
    """

    pool: Pool
    rows: np.ndarray
    left_out: Mapping[str, int]


def of_run(source: Source, per_patient: int) -> Candidates:
    """The training images, with all labels that the table knows, whatever share a run used.

    Raises:
      ValueError: none may be asked about.
    """
    dataset = source.dataset
    left_out: dict[str, int] = {}
    if dataset.excluded["everywhere"]:
        left_out["excluded by the table, or unreadable"] = dataset.excluded["everywhere"]
    unlabelled, train = dataset.labels < 0, dataset.split == "train"
    askable = unlabelled & train

    def leave_out(which: np.ndarray, why: str) -> None:
        if count := int(which.sum()):
            left_out[why] = count

    leave_out(unlabelled & ~train, "of patients in the validation or the test set")
    judged = askable & _judged(dataset)
    leave_out(judged, "looked at already, without a label (column verdict)")
    askable &= ~judged
    copies = askable & _copies_of_labelled(dataset, train & ~unlabelled)
    leave_out(copies, "near duplicates of a photograph that has a label")
    askable &= ~copies
    if not askable.any():
        why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise ValueError(
            f"{source.trained.data.source} has no unlabelled training image to ask about"
            + (f" (left out: {why})" if why else "")
            + ": leave labels of new photographs blank, or try trial=simulate on those there are"
        )
    rows = in_order(dataset, np.flatnonzero(train & (askable | ~unlabelled)))
    return Candidates(_pool(source, rows, askable[rows], per_patient), rows, left_out)


def labelled_only(source: Source, per_patient: int) -> Candidates:
    """The training images whose label is known, all of them as if it were not."""
    dataset = source.dataset
    rows = in_order(dataset, np.flatnonzero((dataset.split == "train") & (dataset.labels >= 0)))
    pool = _pool(source, rows, np.zeros(len(rows), bool), per_patient)
    hidden = dataclasses.replace(
        pool, labels=np.full(len(rows), -1), askable=np.ones(len(rows), bool)
    )
    return Candidates(hidden, rows, {})


def in_order(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """The rows in the order of their images' names, which no table's order changes."""
    return rows[np.argsort(dataset.names(rows), kind="stable")]


def numbers(values: pd.Series) -> np.ndarray:
    """`[len(values)]` int, equal where the texts are; -1 where they are blank."""
    return pd.factorize(values.where(values != ""), sort=True)[0]


def _pool(source: Source, rows: np.ndarray, askable: np.ndarray, per_patient: int) -> Pool:
    frame = source.dataset.frame.iloc[rows]
    once = tuple(numbers(frame[name]) for name in ("lesion", "near", "content") if name in frame)
    return Pool(
        features=source.features[rows],
        labels=source.dataset.labels[rows].astype(int),
        askable=askable,
        patients=numbers(frame["patient"]),
        per_patient=per_patient,
        once=once,
    )


def _judged(dataset: Dataset) -> np.ndarray:
    """`[rows]` bool, those of which somebody said what they are not, or that it cannot be told."""
    if "verdict" not in dataset.frame:
        return np.zeros(len(dataset.frame), bool)
    return (dataset.frame["verdict"].str.strip() != "").to_numpy()


def _copies_of_labelled(dataset: Dataset, labelled: np.ndarray) -> np.ndarray:
    """`[rows]` bool, photographs that are nearly the same as another one that has a label.

    Several lesions in one photograph are no copies of each other.
    """
    found = np.zeros(len(labelled), bool)
    if "path" not in dataset.frame:
        return found
    for name in ("near", "content"):
        known = dataset.frame[labelled & (dataset.frame[name] != "").to_numpy()]
        first = known.groupby(name)["path"].agg(["min", "max"]).reindex(dataset.frame[name])
        path = dataset.frame["path"].to_numpy(object)
        other = (first["min"].to_numpy(object) != path) | (first["max"].to_numpy(object) != path)
        found |= first["min"].notna().to_numpy() & other
    return found
