"""Which images are explained: test images of a run, or any photographs; what is known of each."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from dermjax.data import crops, file_names, images, masks, pipeline, redactions, synthetic
from dermjax.experiment.dataset import Dataset
from dermjax.models.preprocessing import resized
from dermjax.runs.run_folder import RunFolder
from dermjax.saliency import page as report
from dermjax.saliency.settings import SaliencySettings
from dermjax.settings import DataSettings

_LISTED = 3  # unreadable files that a message names
_ELSEWHERE = "elsewhere"  # what is no lesion, where nothing else is known


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image as the network sees it, and what is known of it."""

    name: str  # as in predictions.csv, or the file's path as it was found
    patient: str
    label: int  # index of the true class; -1: not known
    crop: crops.Crop
    source: pipeline.Source  # of prepared crops
    place: int  # in `source`
    mask: str = ""  # file of the lesions' mask; '' for none
    boxes: tuple[images.Box, ...] = ()  # of lesions on a whole photograph without a mask

    @property
    def key(self) -> str:
        """A name for its folder: readable, safe and of this image alone."""
        readable = re.sub(r"[^\w.-]+", "_", pathlib.PurePath(self.name).with_suffix("").name)
        digest = hashlib.sha256(self.name.encode(errors="replace")).hexdigest()[:8]
        return f"{readable[-60:].lstrip('._')}-{digest}"

    def pixels(self) -> np.ndarray:
        """The prepared crop, `[height, width, 3]` uint8."""
        return pipeline.to_pixels(self.source[self.place])

    def input(self, size: int, interpolation: str) -> np.ndarray:
        """`[size, size, 3]` uint8, squeezed as in evaluation."""
        return resized(self.pixels(), size, interpolation)

    def regions(self, size: int) -> dict[str, np.ndarray]:
        """What is where in the network's input: name -> `[size, size]` bool, no pixel in two.

        `lesion` and `elsewhere`; on photographs of the embedded data parts of the body in place of
        the latter. Empty where lesions are not known.

        Raises:
          ValueError: the mask cannot be read or has another size than the photograph.
        """
        if not self.mask and not self.boxes:
            return {}
        whole = images.read_rgb(self.crop.path).size
        if self.mask:
            turn = images.orientation_of(self.crop.path)
            lesion = masks.read(self.mask, whole, turn)
        else:
            lesion = masks.of_boxes(self.boxes, whole)
        lesion = masks.cut(lesion, self.crop.box, size)
        parts = synthetic.regions_of(self.crop.path) or {_ELSEWHERE: np.ones(whole[::-1], bool)}
        found = {"lesion": lesion}
        for name, part in parts.items():
            found[name] = masks.cut(part, self.crop.box, size) & ~lesion
        return {name: where for name, where in found.items() if where.any()}


def choose(
    settings: SaliencySettings, dataset: Dataset, run: RunFolder
) -> tuple[list[Sample], str]:
    """Test images of every class, and a sentence that says how they were chosen.

    Raises:
      ValueError: there are none, or the data are not those of the run.
    """
    rows = dataset.rows("test", labelled=True)
    names = dataset.frame["name"].to_numpy(object)
    answers = run.predictions()
    predicted = dict(zip(answers["image"], answers["predicted"], strict=True))
    if set(predicted) != set(names[rows]):
        raise ValueError(
            f"the test images are not those that the run in {run} has predicted: the data have "
            "changed since the run"
        )
    right = np.array([predicted[names[r]] == dataset.classes[dataset.labels[r]] for r in rows])
    if settings.choose != "random":
        rows = rows[right if settings.choose == "correct" else ~right]
    if not len(rows):
        raise ValueError(
            f"no test image has a {'right' if settings.choose == 'correct' else 'wrong'} answer: "
            "set --config.choose=random"
        )
    chosen = rows
    if settings.per_class:
        drawn = np.random.default_rng(settings.seed).permutation(rows)
        turns = _turns(dataset, drawn)
        chosen = np.concatenate(
            [
                drawn[dataset.labels[drawn] == label][np.argsort(turns[label], kind="stable")][
                    : settings.per_class
                ]
                for label in np.unique(dataset.labels[drawn])
            ]
        )
    return _of_rows(dataset, chosen), _how_chosen(settings, len(chosen))


def _turns(dataset: Dataset, drawn: np.ndarray) -> dict[int, np.ndarray]:
    """How many rows of the same class and patient come before each row: others go first."""
    turns = {}
    for label in np.unique(dataset.labels[drawn]):
        own = drawn[dataset.labels[drawn] == label]
        patients = dataset.frame["patient"].iloc[own]
        turns[label] = patients.groupby(patients.to_numpy()).cumcount().to_numpy()
    return turns


def _how_chosen(settings: SaliencySettings, count: int) -> str:
    which = {
        "random": "whether the answer is right or wrong",
        "correct": "among those with a right answer only",
        "wrong": "among those with a wrong answer only",
    }[settings.choose]
    if not settings.per_class:
        return f"All: {report.counted(count, 'test image')}, {which}."
    return (
        f"{report.counted(count, 'test image')}: at most {settings.per_class} of every class, "
        f"drawn at random (seed {settings.seed}), {which}; of different patients where there are "
        "enough."
    )


def _of_rows(dataset: Dataset, rows: np.ndarray) -> list[Sample]:
    """Test images as they were prepared for the run."""
    frame = dataset.frame.iloc[rows]
    manifest = dataset.manifest
    files = [""] * len(rows) if manifest is None else masks.locate(frame, manifest.folder)
    return [
        Sample(
            name=str(one["name"]),
            patient=str(one["patient"]),
            label=int(dataset.labels[row]),
            crop=crops.Crop("", None) if manifest is None else _crop(one),
            source=dataset.source,
            place=int(row),
            mask=file,
        )
        for row, file, (_, one) in zip(rows, files, frame.iterrows(), strict=True)
    ]


def _crop(row: pd.Series) -> crops.Crop:
    x, y, w, h = (float(row[side]) for side in "xywh")
    box = None if np.isnan([x, y, w, h]).any() else (x, y, w, h)
    return crops.Crop(row["path"], box, redactions.parse(row["redact"]))


def from_files(
    settings: SaliencySettings, dataset: Dataset, data: DataSettings
) -> tuple[list[Sample], str]:
    """Whole photographs that a pattern names, prepared as the run's, and a sentence on them.

    Args:
      data: settings of the run.

    Raises:
      ValueError: no file, or files that are no images.
    """
    files = file_names.matching(settings.images)
    if not files:
        named = os.path.expanduser(settings.images)
        hint = " is a folder; take" if os.path.isdir(named) else " matches no file; try"
        raise ValueError(
            f"config.images = {settings.images!r}{hint} something like 'folder/*.jpg', in quotes"
        )
    prepared: list[bytes | np.ndarray] = []
    samples, bad = [], []
    known = dataset.frame.groupby("path").indices if dataset.manifest is not None else {}
    for name in files:
        rows = known.get(os.path.abspath(name), np.array([], int))
        sample = _of_file(name, dataset, rows, prepared)
        try:
            encoded = crops.encode(sample.crop, max_side=data.max_side, records=data.records)
        except (ValueError, OSError) as error:
            bad.append(str(error))
            continue
        prepared.append(encoded)
        samples.append(sample)
    if bad:
        more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        raise ValueError(f"{'; '.join(bad[:_LISTED])}{more}")
    return samples, f"{report.counted(len(samples), 'photograph')}, whole, of {settings.images}."


def _of_file(name: str, dataset: Dataset, own: np.ndarray, prepared: list) -> Sample:
    """A photograph that is going to be the next of `prepared`; `own` are its rows in the data."""
    rows = dataset.frame.iloc[own]
    manifest = dataset.manifest
    if manifest is not None and len(own):
        mask = masks.locate(rows[:1], manifest.folder)[0]
    else:
        mask = masks.beside(name)
    hidden: Iterable[images.Box] = ()
    boxes: list[images.Box] = []
    if len(own):
        hidden = (area for text in rows["redact"] for area in redactions.parse(text))
        known = rows[list("xywh")].dropna().itertuples(index=False)
        boxes = [(float(x), float(y), float(w), float(h)) for x, y, w, h in known]
    labels = set(dataset.labels[own].tolist())
    return Sample(
        name=name,
        patient=str(rows["patient"].iloc[0]) if len(own) else name,
        label=labels.pop() if len(labels) == 1 else -1,
        crop=crops.Crop(name, None, tuple(dict.fromkeys(hidden))),
        source=prepared,
        place=len(prepared),
        mask=mask,
        boxes=() if mask else tuple(boxes),
    )
