"""Answers on photographs: read once, given to every network, written as a table and a page."""

import collections
import concurrent.futures
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from dermjax import stores
from dermjax.experiment import reference
from dermjax.experiment.class_predictor import ClassPredictor
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.reference import Reference
from dermjax.prediction import parts, photographs, table
from dermjax.prediction.calibration import Calibration, same_images, with_distances
from dermjax.prediction.ensemble import Member, members
from dermjax.prediction.parts import Parts
from dermjax.prediction.photographs import Photographs
from dermjax.prediction.settings import PredictSettings
from dermjax.prediction.sheet import Shown, write_page
from dermjax.runs.files import write_text
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.runs.run_folder import RunFolder
from dermjax.training import compile_cache, parallel, processes, stop
from dermjax.training.writer import Writer

FOLDER = "predictions"
_QUESTION = "question.json"  # who was asked about what
_AHEAD = 2  # batches whose distances are being computed


def run(settings: PredictSettings, workdir: str = "") -> int:
    """Predicts what is not predicted yet; returns the process's exit status.

    Args:
      workdir: where `predictions/` goes; by default the run's own folder, of several runs
        `NAME-ensemble`, of an export `NAME-predictions`, so that no photograph is handed on.

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
        _check_question(settings, networks, directory)
        wanted = _wanted(settings, networks[0], directory, writer)
        for note in wanted.notes:
            writer.say(f"images: {note}")
        try:
            with stop.deferred_signals():
                references = _references(settings, networks, writer)
                calibration = Calibration.fit(
                    references,
                    coverage=settings.coverage,
                    unfamiliar=settings.unfamiliar,
                    sensitivity=settings.sensitivity,
                )
                logits, distances = _predicted(
                    settings, networks, references, wanted, directory, writer
                )
        except stop.Interrupted as why:
            writer.say(f"{why}; the same command continues it")
            return 0
        answers = calibration.answers(logits, distances)
        named = table.make(wanted, answers, networks[0].classes)
        write_text(directory / "predictions.csv", named.to_csv(index=False, float_format="%.7g"))
        write_text(
            directory / "calibration.json", json.dumps(calibration.to_dict(), indent=2) + "\n"
        )
        shown = Shown(settings, networks, references, calibration, wanted, answers)
        page = write_page(shown, directory)
        parts.remove_all(directory)
    writer.say(f"\n{table.summary(named, answers)}\n{directory / 'predictions.csv'}\n{page}")
    return 0


def _home(networks: Sequence[Member], name: str, workdir: str) -> epath.Path:
    """The folder that gets the predictions."""
    if workdir:
        return stores.folder(workdir)
    if len(networks) == 1 and not networks[0].is_export:
        return networks[0].folder.path
    path = RunFolder.named(name).path
    return path.parent / f"{path.name}-{'predictions' if len(networks) == 1 else 'ensemble'}"


def _check_question(
    settings: PredictSettings, networks: Sequence[Member], directory: epath.Path
) -> None:
    """Keeps the answers to another question from being replaced.

    The same folder or table again, with more in it by now, is the same question.

    Raises:
      ValueError: there are answers of other networks or about other photographs.
    """
    images = settings.images
    place = os.path.abspath(stores.expanded(images)) if images else ""
    question = {"runs": [str(one.folder) for one in networks], "images": place}
    path = directory / _QUESTION
    if path.exists() and (directory / "predictions.csv").exists():
        asked = json.loads(path.read_text())
        if asked != question:
            raise ValueError(
                f"{directory} has answers about {asked['images'] or 'unlabelled images'}, which "
                "would be lost: name another folder by --workdir, or move these away"
            )
    write_text(path, json.dumps(question, indent=2) + "\n")


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
      ValueError: they are not there any more, have changed, or were not handed on.
    """
    if member.is_export:
        raise ValueError(
            f"{member.folder} is an export, which has no photographs of its own: name some, as in "
            "images=new/, and leave tta at 0; the run itself can do both"
        )
    dataset = as_recorded(prepare(member.settings, writer), member.folder)
    if dataset.classes != member.classes:
        raise ValueError(
            f"the data have the classes {', '.join(dataset.classes)}, the run in {member.folder} "
            f"has {', '.join(member.classes)}: the data have changed since"
        )
    return dataset


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
        if one is None and member.is_export and not settings.tta:
            raise ValueError(
                f"the export in {member.folder} is damaged: {member.folder.reference().name} "
                "cannot be read; copy the folder again"
            )
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
    kept = Parts(directory, _key(settings, networks, references, wanted), len(wanted))
    rows = kept.rows
    devices = parallel.all_devices()
    predictors = [
        member.predictor(devices, wanted, batch_size=settings.batch_size, tta=settings.tta)
        for member in networks
    ]
    # Networks that answer together have the same input: each batch is read once for all.
    batches = predictors[0].batches(rows) if len(rows) else iter(())
    with writer.bar(len(wanted), "predict", done=len(wanted) - len(rows)) as bar:
        for logits, distances in outputs(predictors, references, batches):
            kept.add(logits, distances)
            bar.update(logits.shape[1])
    return kept.all()


def outputs(
    predictors: Sequence[ClassPredictor],
    references: Sequence[Reference],
    batches: Iterator[Mapping[str, np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits `[T, b, N]` and distances `[T, b]` of each batch.

    Distances are computed beside the networks' next batch, which an accelerator would wait for.
    """

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending: collections.deque[concurrent.futures.Future] = collections.deque()
        for batch in batches:
            stop.check()
            pending.append(
                pool.submit(with_distances, references, [p.of_batch(batch) for p in predictors])
            )
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _key(
    settings: PredictSettings,
    networks: Sequence[Member],
    references: Sequence[Reference],
    wanted: Photographs,
) -> str:
    """Names the parts by all that they depend on."""
    lines = [*wanted.keys(), *wanted.frame["name"], *wanted.frame["redact"], str(settings.tta)]
    for member, one in zip(networks, references, strict=True):
        lines.append(f"{member.folder} {member.folder.results()['best_step']}")
        for array in (one.validation.logits, one.validation.distances):
            lines.append(hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]
