"""`trial=simulate`: every method on known labels from many first draws, each kept as it comes."""

import functools
import json
from collections.abc import Mapping

import numpy as np
from etils import epath

from dermjax.labelling import coverage, learners, simulation_page, simulation_results
from dermjax.labelling.methods import METHODS
from dermjax.labelling.rehearsal import Arm, Rehearsal, perform, prepare
from dermjax.labelling.settings import LabelSettings
from dermjax.labelling.source import Source
from dermjax.runs.files import read_arrays, write_arrays, write_text
from dermjax.training import stop
from dermjax.training.writer import Writer

_ARMS = "simulation"  # the folder of what is done so far


def run(settings: LabelSettings, source: Source, directory: epath.Path, writer: Writer) -> int:
    """Tries the methods, and writes the comparison; returns the process's exit status.

    Args:
      directory: gets the comparison as JSON and as a page, and an arm of each seed and method.

    Raises:
      stop.Interrupted: a signal came; what is done is kept.
      ValueError: too few labels, or none to measure on.
    """
    make = functools.partial(learners.make, settings, source, directory=directory, writer=writer)
    rehearsal = prepare(settings, source, make)
    names = [*METHODS]
    if len(rehearsal.truth) > coverage.MOST:
        writer.say(f"coverage is left out: it compares {coverage.MOST:,} photographs at most")
        names.remove("coverage")
    with stop.deferred_signals():
        arms = _all_arms(settings, rehearsal, names, directory / _ARMS, writer)
    results = {
        "run": str(source.run),
        "encoder": source.encoder,
        "classifier": settings.classifier,
        **rehearsal.learner.facts(),
        "model": source.trained.model.name,
        "data_fingerprint": source.dataset.fingerprint,
        "without_patient": source.dataset.without_patient,
        "seed": settings.seed,
        **simulation_results.compare(rehearsal, arms),
    }
    name = simulation_results.name_of(settings.classifier)
    path, page = directory / f"{name}.json", directory / f"{name}.html"
    write_text(path, json.dumps(results, indent=2) + "\n")
    write_text(page, simulation_page.render(results))
    writer.say(f"\n{simulation_results.summary(results)}\n\n{path}\n{page}")
    return 0


def _all_arms(
    settings: LabelSettings,
    rehearsal: Rehearsal,
    names: list[str],
    folder: epath.Path,
    writer: Writer,
) -> Mapping[str, list[Arm]]:
    """The arms of every method, seed by seed; those that are kept are read.

    Raises:
      stop.Interrupted: a signal came; what is done is kept.
    """
    place = folder / rehearsal.key()
    place.mkdir(parents=True, exist_ok=True)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    found = {(s, name): _read(place / f"{s:04d}-{name}.npz") for s in seeds for name in names}
    done = sum(one is not None for one in found.values())
    with writer.bar(len(found), "simulate", done=done) as bar:
        for (seed, name), arm in found.items():
            if arm is None:
                stop.check()
                arm = perform(rehearsal, METHODS[name], seed)
                write_arrays(
                    place / f"{seed:04d}-{name}.npz", predicted=arm.predicted, chosen=arm.chosen
                )
                found[seed, name] = arm
                bar.update(1)
    whole = {key: arm for key, arm in found.items() if arm is not None}
    return {name: [whole[seed, name] for seed in seeds] for name in names}


def _read(path: epath.Path) -> Arm | None:
    """An arm that is kept; None where there is none, or a torn one."""
    arrays = read_arrays(path)
    if arrays is None or not {"predicted", "chosen"} <= set(arrays):
        return None
    return Arm(np.asarray(arrays["predicted"]), np.asarray(arrays["chosen"]))
