"""The study: one run after the other, each a process of its own, then the report of all."""

import contextlib
import pathlib
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from etils import epath

from dermjax import stores
from dermjax.experiment import dataset
from dermjax.runs.claim import check_claim, claim
from dermjax.runs.locations import source_name
from dermjax.runs.lock import exclusive, is_taken
from dermjax.study import report
from dermjax.study.plan import Planned, plan
from dermjax.study.settings import StudySettings
from dermjax.training import processes
from dermjax.training.writer import Writer

_COPY_SECONDS = 300.0  # between two copies of a run's log


def run(settings: StudySettings, workdir: str = "") -> int:
    """Does the runs that are missing and writes the report; returns the process's exit status.

    Raises:
      ValueError: a user's mistake, in words.
    """
    for strategy in settings.strategies:
        settings.single(strategy, settings.alphas[0], 0).check_files()
    processes.check_alone("a study", settings.run.distributed)
    named = workdir or f"runs/study-{settings.run.scale}-{source_name(settings.run)}"
    directory = stores.writable_folder(named)
    writer, runs = Writer(), plan(settings, directory)
    check_claim(directory, _identity(settings))
    _check_own(runs)
    if settings.dry_run:
        writer.say("\n".join(_listed(runs)))
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    claim(directory, _identity(settings))
    todo = runs if settings.only < 0 else [runs[settings.only]]
    _check_data(todo, runs, writer)
    try:
        failed = _work(todo, runs, directory, writer)
    except _Stopped:
        writer.say("stopped; the same command continues the study")
        return 0
    if settings.only < 0:
        with exclusive(directory, writer, wait=True):
            report.write_report(settings, directory, runs, failed, writer)
    return 1 if failed else 0


def _identity(settings: StudySettings) -> dict:
    """What all runs of a study's folder share; strategies, alphas and trials may be added."""
    return {"task": "study", "run": settings.run.to_dict(), "pretrainings": settings.pretrainings}


def _check_own(runs: list[Planned]) -> None:
    """Whether the runs of SS-IN that have begun have the pretraining of those that will.

    Its own settings are not the folder's: SS-IN may be added to a study that began without it.

    Raises:
      ValueError: they have another; names the fields that differ.
    """
    for planned in runs:
        if planned.settings.strategy == "SS-IN":
            planned.folder.check_claim(planned.settings)


def _check_data(todo: list[Planned], runs: list[Planned], writer: Writer) -> None:
    """Whether the data are still those of the runs that are done, before more are trained.

    Raises:
      ValueError: they are not.
    """
    done = [planned for planned in runs if planned.done]
    missing = [planned for planned in todo if not planned.done]
    if not done or not missing:
        return
    first = done[0]
    was = first.folder.results()["data_fingerprint"]
    now = dataset.fingerprint(missing[0].settings, writer)
    if now != was:
        raise ValueError(
            f"the data are not those that this study began with (of {first.name}: {was}, now: "
            f"{now}), and its runs could not be compared: bring the data back as they were, or "
            "take another --workdir"
        )


class _Stopped(Exception):
    """The user or the machine wants this process to end."""


def _work(
    todo: list[Planned], runs: list[Planned], directory: epath.Path, writer: Writer
) -> dict[str, str]:
    """Every run that nobody has done or is doing; the names of those that failed, and why."""
    failed = {}
    for planned in todo:
        if planned.done or is_taken(planned.folder.path):
            continue
        log = log_file(directory, planned.name)
        writer.say(f"[{runs.index(planned) + 1} of {len(runs)}] {planned.title} ({log})")
        start = time.monotonic()
        why = _run_one(planned, log, _Copy(log, directory, writer))
        if planned.done:
            results = planned.folder.results()
            writer.say(
                f"    {time.monotonic() - start:.0f} s: accuracy {results['accuracy']:.3f}, macro "
                f"sensitivity {results['macro_sensitivity']:.3f}; {_left(runs)}"
            )
        elif is_taken(planned.folder.path):
            writer.say("    another process was faster")
        elif why is None:  # it was told to stop, and so are we
            raise _Stopped
        else:
            failed[planned.name] = why
            writer.say(f"    failed: {why}")
    return failed


def log_file(directory: epath.Path, name: str) -> pathlib.Path:
    """Where a run's words go: a process writes to a disk, so those of an object store lie here."""
    here = pathlib.Path() if stores.is_remote(directory) else pathlib.Path(directory)
    return here / "logs" / f"{name}.log"


class _Copy:
    """A log on the object store that the study's folder is on, as this machine may be deleted."""

    def __init__(self, log: pathlib.Path, directory: epath.Path, writer: Writer):
        self._log, self._writer = log, writer
        self._there = directory / "logs" / log.name if stores.is_remote(directory) else None

    def begin(self) -> None:
        """What an earlier machine wrote stands first."""
        if self._there is not None and not self._log.exists() and self._there.exists():
            self._log.write_bytes(self._there.read_bytes())

    def update(self) -> None:
        if self._there is None:
            return
        try:
            self._there.write_bytes(self._log.read_bytes())
        except Exception as error:  # gcsfs raises many kinds; the run goes on without
            self._writer.warn(f"{self._there} cannot be written ({type(error).__name__}: {error})")


def _run_one(planned: Planned, log: pathlib.Path, copy: _Copy) -> str | None:
    """The run as its own process, its words into `log`; why it failed, or None."""
    log.parent.mkdir(parents=True, exist_ok=True)
    copy.begin()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ python -m dermjax.main {' '.join(planned.flags())}\n")
        file.flush()
        # In a session of its own: Ctrl-C reaches it once, from here.
        process = subprocess.Popen(
            [sys.executable, "-m", "dermjax.main", *planned.flags()],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with _signals_passed_on(process):
                status = _wait(process, copy)
        finally:
            copy.update()
    if status == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    messages = [line for line in lines if line.startswith("dermjax: ")] or lines
    return f"{messages[-1].removeprefix('dermjax: ')} (exit status {status})"


def _wait(process: subprocess.Popen, copy: _Copy) -> int:
    """The exit status, with a look at the log now and then."""
    while True:
        try:
            return process.wait(_COPY_SECONDS)
        except subprocess.TimeoutExpired:
            copy.update()


@contextlib.contextmanager
def _signals_passed_on(process: subprocess.Popen) -> Iterator[None]:
    """Ctrl-C and SIGTERM reach the run, which saves; this process waits for it."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    stopped = []

    def pass_on(number, _):
        stopped.append(number)
        process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        raise _Stopped


def _listed(runs: list[Planned]) -> list[str]:
    """A line per run: number, state, seconds (of those done; expected of the others)."""
    expected, lines = _expected(runs), []
    for number, planned in enumerate(runs):
        seconds, state = _seconds(planned), "done"
        if seconds is None:
            seconds = expected.get(planned.strategy)
            state = "running" if is_taken(planned.folder.path) else "missing"
        cost = "" if seconds is None else f"{seconds:8.0f} s"
        lines.append(f"{number:3d} {state:8} {cost:10} {' '.join(planned.flags())}")
    return [*lines, _left(runs)]


def _seconds(planned: Planned) -> float | None:
    """What a run took, without the pretraining that others share."""
    if not planned.done:
        return None
    seconds = planned.folder.results()["seconds"]
    return sum(value for stage, value in seconds.items() if stage != "pretrain")


def _expected(runs: list[Planned]) -> dict[str, float]:
    """Seconds of a run by its strategy; of one that is not known yet, the others' mean."""
    known = {planned: took for planned in runs if (took := _seconds(planned)) is not None}
    every = list(known.values())
    found = {}
    for strategy in {planned.strategy for planned in runs}:
        own = [seconds for planned, seconds in known.items() if planned.strategy == strategy]
        if own or every:
            found[strategy] = statistics.mean(own or every)
    return found


def _left(runs: list[Planned]) -> str:
    """How much is to be done."""
    expected = _expected(runs)
    missing = [planned for planned in runs if not planned.done]
    if not missing:
        return f"all {len(runs)} runs are done"
    are = "run is" if len(runs) == 1 else "runs is" if len(missing) == 1 else "runs are"
    sentence = f"{len(missing)} of {len(runs)} {are} missing"
    if not expected:
        return f"{sentence}; what they cost is known when one is done"
    minutes = sum(expected[planned.strategy] for planned in missing) / 60
    return f"{sentence}, about {max(minutes, 1):.0f} min, pretraining apart"
