"""The photographs that are asked about: of a folder, a pattern, a table, or unlabelled ones."""

import dataclasses
import os
import pathlib

import numpy as np
import pandas as pd
from etils import epath

from dermjax import stores
from dermjax.data import crops, file_names, layouts, links, pipeline
from dermjax.data.importers.folders import PHOTOS
from dermjax.data.manifest import BOX, make_crops
from dermjax.data.problems import Kind, ManifestError, kind_of
from dermjax.data.work import Work
from dermjax.experiment.dataset import Dataset
from dermjax.prediction.settings import PredictSettings
from dermjax.runs.files import write_text
from dermjax.settings import DataSettings
from dermjax.training.writer import Writer

_COLUMNS = ["name", "image", "path", "patient", *BOX, "content", "redact"]
_ALL_LEAKS = tuple(links.LINKS.values())  # sets do not matter where nothing is trained
_OF_A_RUN = "--config.data."
_LISTED = "photographs.csv"  # what a pattern found, in the folder of the predictions
# Of what is noted of a table those that matter to answers, not to training.
_WORTH_KNOWING = (Kind.EXCLUDED, Kind.REDACTED, Kind.FILES, Kind.REDACTIONS, Kind.BOXES)


class CropsOfFiles:
    """A source of crops that are cut when they are read."""

    def __init__(self, wanted: list[crops.Crop], data: DataSettings):
        self._wanted, self._data = wanted, data

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, row: int) -> bytes | np.ndarray:
        return crops.encode(
            self._wanted[row], max_side=self._data.max_side, records=self._data.records
        )


@dataclasses.dataclass(frozen=True)
class Photographs(pipeline.Images):
    """B photographs or lesions, in the order of their table."""

    frame: pd.DataFrame  # _COLUMNS; x, y, w, h are NaN for a whole photograph
    notes: tuple[str, ...] = ()  # what was left out, or is worth knowing

    def __len__(self) -> int:
        return len(self.frame)

    def keys(self) -> list[str]:
        """What each is, whatever the file is called: its bytes and its box."""
        boxes = self.frame[list(BOX)].to_numpy(float).tolist()
        return [f"{sha} {box}" for sha, box in zip(self.frame["content"], boxes, strict=True)]


def named(
    settings: PredictSettings,
    data: DataSettings,
    cache: epath.Path,
    folder: epath.Path,
    writer: Writer,
) -> Photographs:
    """The photographs of a folder, a pattern or a table, each file looked at once.

    Args:
      data: of the run that answers: how its crops were prepared.
      cache: of scanned files.
      folder: of the predictions, which gets the list of what a pattern found.

    Raises:
      ValueError: none, or files that cannot be read, all of them in the message.
    """
    source = stores.expanded(settings.images)
    path = pathlib.Path(source)
    if not stores.is_remote(source) and (not path.exists() or path.suffix.lower() in PHOTOS):
        source = _listed(settings.images, folder)
    workers = settings.workers or os.cpu_count() or 1
    try:
        manifest = layouts.load(
            source,
            labelled=False,
            layout=settings.layout,
            on_bad_image=settings.on_bad_image,
            redact=settings.redact,
            near=0,
            allow=_ALL_LEAKS,
            few=1.0,
            cache_dir=cache,
            work=Work(workers, writer.track),
        )
    except ManifestError as error:  # the options have other names here
        problems = [line.replace(_OF_A_RUN, "--config.") for line in error.problems]
        raise ManifestError(error.source, problems) from None
    frame = manifest.frame
    frame = frame[frame["exclude"] != "all"].reset_index(drop=True)
    if not len(frame):
        raise ValueError(f"config.images = {settings.images!r}: no photograph is left to predict")
    return Photographs(
        frame=frame[_COLUMNS],
        source=CropsOfFiles(make_crops(frame), data),
        reading=pipeline.Reading(threads=settings.read_threads),
        notes=tuple(
            note.replace(_OF_A_RUN, "--config.")
            for note in manifest.notes
            if kind_of(note) in _WORTH_KNOWING
        ),
    )


def _listed(pattern: str, folder: epath.Path) -> str:
    """A table of the files that a pattern names.

    Raises:
      ValueError: there are none.
    """
    files = [os.path.abspath(name) for name in file_names.matching(pattern)]
    if not files:
        raise ValueError(
            f"config.images = {pattern!r} is no folder, no table and no file: check the path; a "
            "pattern such as 'folder/*.jpg' stands in quotes"
        )
    path = folder / _LISTED
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, pd.DataFrame({"image": files}).to_csv(index=False))
    return os.fspath(path)


def unlabelled(settings: PredictSettings, dataset: Dataset) -> Photographs:
    """The images of a run that nobody has labelled, as they were prepared for it.

    Raises:
      ValueError: all have a label.
    """
    rows = np.flatnonzero((dataset.frame["label"] == "").to_numpy())
    if not len(rows):
        raise ValueError(
            "all images of this run have a label; name others, as in images=new/ or images=new.csv"
        )
    frame = dataset.frame.iloc[rows].reset_index(drop=True)
    frame = frame.assign(
        **{name: "" for name in _COLUMNS if name not in frame and name not in BOX},
        **{side: np.nan for side in BOX if side not in frame},
    )
    return Photographs(
        frame=frame[_COLUMNS],
        source=_Rows(dataset.source, rows),
        reading=pipeline.Reading(threads=settings.read_threads),
        notes=(),
    )


class _Rows:
    """Some rows of another source."""

    def __init__(self, source: pipeline.Source, rows: np.ndarray):
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> bytes | np.ndarray:
        return self._source[int(self._rows[row])]
