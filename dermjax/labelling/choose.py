"""Which photographs to label next: chosen, written as a table, and shown on a page."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath

from dermjax import stores
from dermjax.data import identity
from dermjax.experiment.encoder_features import encoder_of
from dermjax.labelling import candidates as candidates_of
from dermjax.labelling import learners, next_batch, page, simulate, simulation_results
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.methods import ASK_CLASSIFIER, DEFAULT, METHODS, NEED_LABELS, RANDOM
from dermjax.labelling.next_batch import Question
from dermjax.labelling.pool import Choice
from dermjax.labelling.settings import AUTO, FINETUNE, SIMULATE, LabelSettings
from dermjax.labelling.sheet import shown
from dermjax.labelling.source import Source, load
from dermjax.runs.files import write_text
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.runs.run_folder import RunFolder
from dermjax.training import compile_cache, processes, stop
from dermjax.training.writer import Writer

FOLDER, PAGE = "label", "label.html"
_TITLE = "Photographs to label next"


def run(settings: LabelSettings, workdir: str = "") -> int:
    """Chooses the next batch, or tries all methods on known labels; returns the exit status.

    Args:
      workdir: where `label/` and the features go; by default the run's own folder.

    Raises:
      ValueError: a user's mistake, in words.
    """
    processes.check_alone("choosing what to label")
    own = RunFolder.named(settings.run)
    trained = own.settings()
    encoder_of(settings.encoder, trained)  # before anything is read
    folder = RunFolder(stores.folder(workdir)) if workdir else own
    compile_cache.keep_compiled(cache_dir(trained.data.cache_dir) / "xla")
    writer = Writer()
    with exclusive(folder.path, writer, wait=False):
        source = load(settings, folder, writer)
        directory = folder.path / FOLDER
        try:
            if settings.trial == SIMULATE:
                return simulate.run(settings, source, directory, writer)
            return _choose(settings, source, directory, writer)
        except stop.Interrupted as why:
            writer.say(f"{why}; the same command continues it")
            return 0


def _choose(settings: LabelSettings, source: Source, directory: epath.Path, writer: Writer) -> int:
    """Writes the batch and its page."""
    candidates = candidates_of.of_run(source, settings.per_patient)
    method, why = _method(settings, source, candidates, directory)
    question = Question(
        run=str(source.run),
        data=source.dataset.fingerprint,
        encoder=source.encoder,
        method=method,
        classifier=settings.classifier,
        count=settings.count,
        per_patient=settings.per_patient,
        seed=settings.seed,
    )
    manifest = source.dataset.manifest  # with what has been found to be no lesion
    frame = source.dataset.frame if manifest is None else manifest.frame
    next_batch.check_free(directory, question, frame)
    askable = int(candidates.pool.askable.sum())
    writer.say(f"method: {method}, {why}; choosing {settings.count:,} of {askable:,} photographs")
    learner = learners.make(
        settings, source, candidates, np.array([], int), directory=directory, writer=writer
    )
    pool = dataclasses.replace(candidates.pool, learner=learner)
    chosen = METHODS[method](pool, settings.count, settings.seed)
    facts = _facts(settings, source, candidates, chosen)
    facts.insert(1, ("method", f"{method}, {why}"))
    if settings.classifier == FINETUNE and method in ASK_CLASSIFIER:
        facts.insert(2, ("classifier", "the network, fine-tuned on the labels so far"))
    batch = next_batch.table(source, candidates, chosen)
    directory.mkdir(parents=True, exist_ok=True)
    written = [str(directory / PAGE)]
    if classes := _classes(settings, source):
        sheet = shown(source, candidates, chosen[: settings.shown], writer)
        write_text(directory / PAGE, page.render(_TITLE, facts, classes, sheet))
    else:
        (directory / PAGE).unlink(missing_ok=True)  # of other photographs
        written = [
            "no page: no label is known yet; name the classes for its buttons, as in "
            "classes=acne+eczema"
        ]
    path = next_batch.write(directory, batch, question)
    lines = [f"{name}: {value}" for name, value in facts]
    writer.say("\n" + "\n".join([*lines, "", str(path), *written]))
    return 0


def _classes(settings: LabelSettings, source: Source) -> list[str]:
    """The classes of the table, and those that are named beside them, each once."""
    found = list(source.dataset.classes)
    known = set(map(identity.key, found))
    for name in filter(None, map(str.strip, settings.classes.split("+"))):
        if identity.key(name) not in known:
            known.add(identity.key(name))
            found.append(name)
    return found


def _method(
    settings: LabelSettings, source: Source, candidates: Candidates, directory: epath.Path
) -> tuple[str, str]:
    """The method that is taken, and why, in words.

    Raises:
      ValueError: it needs labels, and there are none of two classes.
    """
    if settings.method != AUTO:
        method, why = settings.method, "as asked for"
    else:
        method, why = simulation_results.supported(
            directory, settings.classifier, source.encoder, DEFAULT
        )
    classes = candidates.pool.known_classes
    if method in NEED_LABELS and classes < 2:
        raise ValueError(
            f"method={method} asks a classifier, which needs labels of two classes, and there are "
            f"labels of {classes or 'none'}: take method=typicality or method={RANDOM}"
        )
    return method, why


def _facts(
    settings: LabelSettings,
    source: Source,
    candidates: Candidates,
    chosen: Sequence[Choice],
) -> list[tuple[str, str]]:
    """What a person who labels them should know of the batch."""
    pool = candidates.pool
    askable, labelled = int(pool.askable.sum()), int(pool.labelled.sum())
    asked = f"{len(chosen):,} of {askable:,} unlabelled training photographs"
    if len(chosen) < settings.count:
        asked += f"; {settings.count:,} were asked for, and there are no more"
        if askable > len(chosen):
            asked += (
                f" with {settings.per_patient} for each patient and one for each lesion and "
                "photograph: the rest comes with the next batch, or with a larger per_patient"
            )
    facts = [
        ("photographs", asked),
        ("labels so far", f"{labelled:,} training photographs of {pool.known_classes} classes"),
        ("features", f"{source.encoder} encoder of the run in {source.run}"),
    ]
    if candidates.left_out:
        lines = (f"{count:,} {why}" for why, count in candidates.left_out.items())
        facts.append(("not asked about", "; ".join(lines)))
    if len(chosen) > settings.shown:
        facts.append(
            ("on this page", f"the first {settings.shown:,}; {next_batch.NAME} has all of them")
        )
    return facts
