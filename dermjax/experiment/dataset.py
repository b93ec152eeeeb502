"""Stage 0: what the user brings -> checked manifest, split, labelled subset, prepared crops."""

import dataclasses
import hashlib
import os

import jax
import numpy as np
import pandas as pd

from dermjax import stores
from dermjax.data import (
    balance,
    builder,
    cifar10,
    layouts,
    links,
    pipeline,
    remote,
    splits,
    synthetic,
)
from dermjax.data.manifest import KNOWN, OURS, Manifest, in_order, make_crops
from dermjax.data.partners import Partners
from dermjax.data.work import Work
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive_in_turn
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import DataSettings, RunSettings
from dermjax.settings.data import EmbeddedSettings
from dermjax.training.writer import Writer


@dataclasses.dataclass(frozen=True)
class Dataset(pipeline.Images):
    """Everything later stages know of the data; arrays, like `source`, have one entry per row."""

    frame: pd.DataFrame  # name, label, patient, group and what else the manifest has
    classes: tuple[str, ...]
    labels: np.ndarray  # int32 index into `classes`; -1 for unlabelled
    split: np.ndarray  # train, validation, test
    labelled: np.ndarray  # bool: the label is used, for training or for measuring
    side: int  # px, of the buffer that holds a prepared crop
    fingerprint: str  # of contents, labels, groups and boxes: the same on every machine
    manifest: Manifest | None  # as it was read; None where the data know no photographs' files
    excluded: dict[str, int]  # rows left out everywhere, and out of the test set
    allowed: dict[str, list[str]]  # what a given split tears apart by the user's leave
    without_patient: int = 0  # rows whose patient is not known, who may be in two sets

    def rows(self, split: str, *, labelled: bool) -> np.ndarray:
        """Row numbers of a split; with `labelled`, only those whose label is used."""
        chosen = self.split == split
        return np.flatnonzero(chosen & self.labelled if labelled else chosen)

    def names(self, rows: np.ndarray) -> np.ndarray:
        """`[len(rows)]` str, what the images are known by."""
        return self.frame["name"].to_numpy(str)[rows]

    def counts(self) -> dict[str, int]:
        """Images per split, and what alpha leaves labelled."""
        counts = {name: len(self.rows(name, labelled=False)) for name in ("train", "validation")}
        counts["train_labelled"] = len(self.rows("train", labelled=True))
        counts["test"] = len(self.rows("test", labelled=True))
        return counts

    def training_batches(
        self,
        rows: np.ndarray,
        order: pipeline.Order,
        partners: Partners | None = None,
    ):
        """Endless shuffled batches of these rows."""
        return pipeline.training_batches(
            self.source,
            rows,
            self.labels,
            side=self.side,
            order=order,
            reading=self.reading,
            partners=partners,
        )

    def pixels(self, row: int) -> np.ndarray:
        """One prepared crop, `[height, width, 3]` uint8."""
        return pipeline.to_pixels(self.source[row])

    def split_key(self) -> str:
        """A hash of which images train without labels."""
        names = sorted(self.frame["name"][self.split == "train"])
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def prepare(settings: RunSettings, writer: Writer) -> Dataset:
    """Reads, checks, splits and prepares; what was done before is found in the cache.

    Raises:
      ValueError: the manifest has problems (all of them in the message), or cannot be split.
    """
    if settings.data.layout == "cifar10":
        return _cifar10(settings, writer)
    cache = cache_dir(settings.data.cache_dir)
    workers = settings.data.workers or os.cpu_count() or 1
    with exclusive_in_turn(cache / "prepared", writer):
        manifest = _manifest(settings, workers, writer)
        for note in manifest.notes:
            writer.say(f"data: {note}")
        frame = manifest.frame
        left_out = frame["exclude"] == "all"
        frame = frame[~left_out].reset_index(drop=True)
        without_patient = int((frame["patient"] == "").sum())
        # Who has no patient id is known by what keeps the sets apart: a lesion, or the photo.
        frame["patient"] = frame["patient"].where(frame["patient"] != "", frame["group"])
        crops = make_crops(frame)
        records = builder.prepare(
            cache / "prepared" / _crops_key(frame["content"], crops, settings.data),
            crops,
            max_side=settings.data.max_side,
            workers=workers,
            track=writer.track,
            records=settings.data.records,
        )
    if settings.task == "pretrain":
        split = _monitoring_split(frame, settings.data.split_seed, writer)
    else:
        split = splits.make_split(frame, settings.data.split_seed)
    for found in balance.uneven(frame, split):
        writer.warn(f"data: {found.text}")
    curated = (frame["exclude"] == "test").to_numpy() & (split == "test")
    has_label = (frame["label"] != "").to_numpy() & ~curated
    labelled = has_label & (split != "train")
    labelled |= splits.keep_labels(
        frame["label"].to_numpy(),
        has_label & (split == "train"),
        settings.data.alpha,
        seed=settings.seed,
        trial=settings.data.trial,
    )
    classes = tuple(sorted(set(frame["label"]) - {""}))
    index = {name: i for i, name in enumerate(classes)}
    return Dataset(
        frame=frame,
        classes=classes,
        labels=np.array([index.get(label, -1) for label in frame["label"]], np.int32),
        split=np.where(curated, "excluded", split),
        labelled=labelled,
        source=records,
        side=settings.data.max_side,
        reading=_reading(settings.data),
        fingerprint=manifest.fingerprint,
        manifest=manifest,
        excluded={"everywhere": int(left_out.sum()), "test": int(curated.sum())},
        allowed=links.accepted(manifest.frame, settings.data.allow),
        without_patient=without_patient,
    )


def _manifest(settings: RunSettings, workers: int, writer: Writer) -> Manifest:
    """The checked table in an order of its own, every photograph having been looked at once."""
    source, cache = settings.data.source, cache_dir(settings.data.cache_dir)
    if source == "synthetic":
        source = _embedded(settings.data.synthetic, cache, workers, writer)
    manifest = layouts.load(
        source,
        labelled=settings.task != "pretrain",
        layout=settings.data.layout,
        official_split=settings.data.official_split,
        on_bad_image=settings.data.on_bad_image,
        near=settings.data.near_duplicates,
        allow=settings.data.allow,
        redact=settings.data.redact,
        cache_dir=cache / "scans",
        work=Work(workers, writer.track),
    )
    return in_order(manifest)


def fingerprint(settings: RunSettings, writer: Writer) -> str:
    """The fingerprint of the data as they are now, to compare with that of a run.

    Raises:
      ValueError: as `prepare`.
    """
    if settings.data.layout == "cifar10":
        return _cifar10(settings, writer).fingerprint
    cache = cache_dir(settings.data.cache_dir)
    workers = settings.data.workers or os.cpu_count() or 1
    with exclusive_in_turn(cache / "prepared", writer):
        return _manifest(settings, workers, writer).fingerprint


def _cifar10(settings: RunSettings, writer: Writer) -> Dataset:
    """CIFAR-10's own two sets, its test images as validation: MoCo's notebook asks kNN for them.

    Raises:
      ValueError: files are missing or damaged.
    """
    source = settings.data.source
    if stores.is_remote(source):
        cache = cache_dir(settings.data.cache_dir)
        with exclusive_in_turn(cache / "prepared", writer):
            source = remote.Copies(cache / "scans", writer.track).of(source)
    data = cifar10.read_cifar10(source)
    names = np.array(data.classes)[data.labels]
    rows = np.array([f"{i:05d}" for i in range(len(names))])
    split = np.where(data.is_test, "validation", "train")
    labelled = (split != "train") | splits.keep_labels(
        names, split == "train", settings.data.alpha, seed=settings.seed, trial=settings.data.trial
    )
    return Dataset(
        frame=pd.DataFrame({"name": rows, "label": names, "patient": rows, "group": rows}),
        classes=data.classes,
        labels=data.labels,
        split=split,
        labelled=labelled,
        source=data.images,
        side=data.images.shape[1],
        reading=_reading(settings.data),
        fingerprint=hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest(),
        manifest=None,
        excluded={"everywhere": 0, "test": 0},
        allowed={},
    )


def _reading(settings: DataSettings) -> pipeline.Reading:
    return pipeline.Reading(
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=settings.read_threads,
        prefetch_batches=settings.prefetch_batches,
    )


def write_splits(dataset: Dataset, folder: RunFolder) -> None:
    """Writes the sets (left out rows are not in them) and the fingerprint of what they are made of.

    What is there stays as it is.

    Raises:
      ValueError: the run began with other data.
    """
    table = pd.DataFrame(
        {
            "image": dataset.frame["name"],
            "patient": dataset.frame["patient"],
            "label": dataset.frame["label"],
            "split": dataset.split,
            "labelled": dataset.labelled.astype(int),
            "group": dataset.frame["group"],
        }
    )
    # What else is known of the images, for whoever looks at a part of them.
    further = [name for name in dataset.frame if name not in (*KNOWN, *OURS, *table)]
    table = pd.concat([table, dataset.frame[further]], axis=1)
    table = table[table["split"] != "excluded"]
    recorded = folder.data_fingerprint()
    if recorded is None:
        folder.write_splits(table, dataset.fingerprint)
    elif recorded != dataset.fingerprint or _lines(table) != _lines(folder.splits()):
        raise ValueError(_CHANGED.format(folder))


def _lines(table: pd.DataFrame) -> list[str]:
    """The rows as text, whatever their order."""
    return sorted(table.to_csv(index=False).splitlines())


_CHANGED = (
    "the data are not those that the run in {} began with, and going on would mix two data sets: "
    "bring the data back as they were, or take another --workdir"
)


def as_recorded(dataset: Dataset, folder: RunFolder, *, labelled: bool = True) -> Dataset:
    """The data with the sets and the labelled subset that the run in a folder has written down.

    They are drawn alike today as long as the data are the same; what counts is what the run was
    trained on. A folder without a record leaves the data as they are.

    Args:
      labelled: whether the labelled subset is the run's, too; or drawn anew, for another share.

    Raises:
      ValueError: the run was made with other data.
    """
    recorded = folder.data_fingerprint()
    if recorded is None:
        return dataset
    rows = folder.splits().set_index("image")
    names = dataset.frame["name"]
    known = dataset.split != "excluded"
    if recorded != dataset.fingerprint or set(rows.index) != set(names[known]):
        raise ValueError(_CHANGED.format(folder))
    rows = rows.reindex(names)
    split = np.where(known, rows["split"].to_numpy(object), dataset.split)
    if labelled:
        used = known & (rows["labelled"] == "1").to_numpy()
        return dataclasses.replace(dataset, split=split, labelled=used)
    if not np.array_equal(split, dataset.split):  # a subset of other training images
        raise ValueError(_CHANGED.format(folder))
    return dataset


def _embedded(settings: EmbeddedSettings, cache, workers: int, writer: Writer) -> str:
    """The synthetic data set's manifest, made on first use."""
    drawing = settings.drawing()
    name = "-".join(str(v) for v in (synthetic.DRAWING, *dataclasses.astuple(drawing)))
    directory = cache / "synthetic" / hashlib.sha256(name.encode()).hexdigest()[:12]
    return str(synthetic.write_dataset(directory, drawing, workers=workers, track=writer.track))


def _crops_key(content: pd.Series, crops: list[builder.Crop], settings: DataSettings) -> str:
    """Names the prepared crops by what is in them, in their order, by their size and form."""
    lines = [
        " ".join((f"{sha} {crop.box}", *(f"without {[*map(float, area)]}" for area in crop.redact)))
        for sha, crop in zip(content, crops, strict=True)
    ]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return f"{digest}-{settings.max_side}px{'-pixels' if settings.records == 'pixels' else ''}"


def _monitoring_split(frame: pd.DataFrame, seed: int, writer: Writer) -> np.ndarray:
    """`splits.make_split` for pretraining alone, which needs no labels, and no set but its own.

    The same sets wherever they can be made; classes of too few groups do not stand in the way, and
    where no sets can be made, all that is not given to another set is trained on.
    """
    groups = frame[frame["exclude"] != "test"].groupby("label")["group"].nunique()
    rare = frame["label"].map(groups).fillna(0) < len(splits.SETS)
    try:
        return splits.make_split(frame.assign(label=frame["label"].mask(rare, "")), seed)
    except ValueError as error:
        writer.say(f"pretrain: no images are set apart to monitor it ({error})")
    given = frame["split"].to_numpy(dtype=object).astype(str)
    return np.where(given == "", "train", given)
