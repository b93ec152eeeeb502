"""Answers on photographs: read once, given to every network, written as a table and a page."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
from etils import epath

from dermjax import stores
from dermjax.experiment import reference
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.reference import Reference
from dermjax.prediction import photographs, table
from dermjax.prediction.calibration import Calibration, same_images
from dermjax.prediction.ensemble import Member, members
from dermjax.prediction.photographs import Photographs
from dermjax.prediction.settings import PredictSettings
from dermjax.prediction.sheet import Shown, write_page
from dermjax.runs.files import read_arrays, write_arrays, write_text
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.statistics import novelty
from dermjax.training import compile_cache, parallel, processes, stop
from dermjax.training.writer import Writer

FOLDER = "predictions"
_PART = 512  # images after which what is done is kept


def run(settings: PredictSettings, workdir: str = "") -> int:
    """Predicts what is not predicted yet; returns the process's exit status.

    Args:
      workdir: where `predictions/` goes; by default the run's own folder, of several runs
        `NAME-ensemble`.

    Raises:
      ValueError: a user's mistake, in words.
    """
    processes.check_alone("a prediction")
    networks = members(settings.run)
    data = networks[0].settings.data
    compile_cache.keep_compiled(cache_dir(data.cache_dir) / "xla")
    directory = _home(networks, settings.run, workdir) / FOLDER
    writer = Writer()
    with exclusive(directory, writer, wait=False):
        wanted = _wanted(settings, networks[0], directory, writer)
        for note in wanted.notes:
            writer.say(f"images: {note}")
        references = _references(settings, networks, writer)
        calibration = Calibration.fit(
            references,
            coverage=settings.coverage,
            unfamiliar=settings.unfamiliar,
            sensitivity=settings.sensitivity,
        )
        try:
            with stop.deferred_signals():
                logits, distances = _predicted(
                    settings, networks, references, wanted, directory, writer
                )
        except stop.Interrupted as why:
            writer.say(f"{why}; the same command continues it")
            return 0
        answers = calibration.answers(list(logits), list(distances))
        named = table.make(wanted, answers, networks[0].classes)
        write_text(directory / "predictions.csv", named.to_csv(index=False, float_format="%.7g"))
        write_text(
            directory / "calibration.json", json.dumps(calibration.to_dict(), indent=2) + "\n"
        )
        shown = Shown(settings, networks, references, calibration, wanted, answers)
        page = write_page(shown, directory)
        _remove_parts(directory)
    writer.say(f"\n{table.summary(named, answers)}\n{directory / 'predictions.csv'}\n{page}")
    return 0


def _home(networks: Sequence[Member], name: str, workdir: str) -> epath.Path:
    """The folder that gets the predictions."""
    if workdir:
        return stores.folder(workdir)
    first = networks[0].folder.path
    return first if len(networks) == 1 else stores.folder(f"{name}-ensemble")


def _wanted(
    settings: PredictSettings, member: Member, directory: epath.Path, writer: Writer
) -> Photographs:
    """What is asked about."""
    if not settings.images:
        return photographs.unlabelled(settings, _dataset(member, writer))
    scans = cache_dir(member.settings.data.cache_dir) / "scans"
    return photographs.named(settings, member.settings.data, scans, directory, writer)


def _dataset(member: Member, writer: Writer) -> Dataset:
    """The run's own data.

    Raises:
      ValueError: they are not there any more, or have changed.
    """
    return as_recorded(prepare(member.settings, writer), member.folder)


def _references(
    settings: PredictSettings, networks: Sequence[Member], writer: Writer
) -> list[Reference]:
    """What each network makes of its run's own images; made where the folder has none yet.

    Raises:
      ValueError: the run's data are needed and not there, or the runs' images differ.
    """
    devices, found = parallel.all_devices(), []
    for member in networks:
        one = reference.read(member.folder, tta=settings.tta)
        if one is None:
            writer.say(f"calibration: the images of the run in {member.folder} are predicted once")
            dataset = _dataset(member, writer)
            predictor = member.predictor(
                devices, dataset, batch_size=settings.batch_size, tta=settings.tta
            )
            one = reference.make(predictor, dataset)
            reference.write(member.folder, one, tta=settings.tta)
        found.append(one)
    if not same_images(found):
        raise ValueError("the runs' validation images differ: name trials of one study")
    return found


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Files with what the networks made of runs of images, kept until all is done."""

    folder: epath.Path

    def path(self, first: int) -> epath.Path:
        """Of the images from this one on."""
        return self.folder / f"{first:08d}.npz"

    def read(self, first: int) -> dict[str, np.ndarray] | None:
        """`logits [T, b, N]` and `distances [T, b]`; None where they are not there."""
        return read_arrays(self.path(first))


def _predicted(
    settings: PredictSettings,
    networks: Sequence[Member],
    references: Sequence[Reference],
    wanted: Photographs,
    directory: epath.Path,
    writer: Writer,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[T, B, N]` and distances `[T, B]` of all images, from where an earlier call stopped.

    Raises:
      stop.Interrupted: a signal came; whole parts are kept.
    """
    parts = _Parts(directory / "parts" / _key(settings, networks, wanted))
    parts.folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, len(wanted), _PART)
    missing = [first for first in firsts if parts.read(first) is None]
    rows = np.concatenate(
        [np.arange(first, min(first + _PART, len(wanted))) for first in missing] or [np.array([])]
    ).astype(int)
    devices = parallel.all_devices()
    predictors = [
        member.predictor(devices, wanted, batch_size=settings.batch_size, tta=settings.tta)
        for member in networks
    ]
    held: list[tuple[np.ndarray, np.ndarray]] = []  # of a batch: logits [T, b, N], distances [T, b]
    with writer.bar(len(wanted), "predict", done=len(wanted) - len(rows)) as bar:
        for batch in predictors[0].batches(rows) if len(rows) else ():
            stop.check()
            outputs = [predictor.of_batch(batch) for predictor in predictors]
            far = [
                novelty.distances(one.familiar, features)
                for one, (features, _) in zip(references, outputs, strict=True)
            ]
            held.append((np.stack([logits for _, logits in outputs]), np.stack(far)))
            bar.update(held[-1][1].shape[1])
            held = _keep(parts, missing, held, len(wanted))
    found = [parts.read(first) for first in firsts]
    whole = [one for one in found if one is not None]
    return (
        np.concatenate([one["logits"] for one in whole], axis=1),
        np.concatenate([one["distances"] for one in whole], axis=1),
    )


def _keep(parts: _Parts, missing: list[int], held: list, count: int) -> list:
    """Writes the parts that are whole; returns what is left over."""
    logits = np.concatenate([one for one, _ in held], axis=1)
    far = np.concatenate([one for _, one in held], axis=1)
    while missing and logits.shape[1] >= (size := min(_PART, count - missing[0])):
        write_arrays(parts.path(missing.pop(0)), logits=logits[:, :size], distances=far[:, :size])
        logits, far = logits[:, size:], far[:, size:]
    return [(logits, far)]


def _key(settings: PredictSettings, networks: Sequence[Member], wanted: Photographs) -> str:
    """Names the parts by all that they depend on."""
    lines = [*wanted.keys(), *wanted.frame["name"], *wanted.frame["redact"], str(settings.tta)]
    for member in networks:
        results = member.folder.results()
        lines.append(json.dumps([str(member.folder), results["best_step"], results["seconds"]]))
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]


def _remove_parts(directory: epath.Path) -> None:
    """All of them, also those of other photographs that were never finished."""
    folder = directory / "parts"
    if folder.exists():
        folder.rmtree()
