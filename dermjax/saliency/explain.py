"""Maps of what a run's network looks at, their scores, Figure 6's sheet and its page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from dermjax import models, stores
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.trained_networks import restore
from dermjax.report import wording
from dermjax.report.numbers import number
from dermjax.runs.locations import cache_dir
from dermjax.runs.lock import exclusive
from dermjax.runs.run_folder import RunFolder
from dermjax.saliency import page as report
from dermjax.saliency import randomisation, repeatability, sanity_tables, scoring, sheet
from dermjax.saliency.context import SaliencyContext
from dermjax.saliency.explainer import WITH_STATISTICS, Explainer
from dermjax.saliency.layer_statistics import LayerStatistics
from dermjax.saliency.map_store import Explained, Maps
from dermjax.saliency.perturbed_predictions import changes
from dermjax.saliency.samples import Sample, choose, from_files
from dermjax.saliency.settings import SaliencySettings
from dermjax.settings import RunSettings
from dermjax.suggestions import did_you_mean
from dermjax.training import compile_cache, parallel, processes
from dermjax.training.writer import Writer

FOLDER = "saliency"
_TARGETS = ("predicted", "true")


def run(settings: SaliencySettings, workdir: str = "") -> int:
    """Maps that are missing, scores, the sheet and the page; returns the process's exit status.

    Args:
      workdir: where `saliency/` goes; by default the run's own folder.

    Raises:
      ValueError: a user's mistake, in words.
    """
    processes.check_alone("saliency")
    source = RunFolder.named(settings.run)
    trained, results = source.settings(), _results(source)
    _check_target(settings.target, results["classes"])
    directory = (stores.folder(workdir) if workdir else source.path) / FOLDER
    compile_cache.keep_compiled(cache_dir(trained.data.cache_dir) / "xla")
    writer = Writer()
    explainer = _explainer(settings, trained, results, source, writer)
    if settings.scores:
        changes(settings.score, explainer.size)  # whether they fit its images
    with exclusive(directory, writer, wait=False):
        dataset = as_recorded(prepare(trained, writer), source)
        _check_classes(dataset, results)
        if settings.images:
            samples, how = from_files(settings, dataset, trained.data)
        else:
            samples, how = choose(settings, dataset, source)
        context = _context(settings, explainer, dataset, samples, directory, writer)
        failed = [line for method in context.methods for line in _make(context, method)]
        if settings.scores:
            scoring.score(context)
        checked = randomisation.randomise(context)
        trust = sanity_tables.write(
            context.explained, context.methods, context.maps, checked, directory
        )
        sheet.write(context, _facts(context, trained, results, how), failed, trust)
    for line in failed:
        writer.warn(line)
    return 1 if failed else 0


def _context(
    settings: SaliencySettings,
    explainer: Explainer,
    dataset: Dataset,
    samples: list[Sample],
    directory: epath.Path,
    writer: Writer,
) -> SaliencyContext:
    """The images that are explained, with all that explains them."""
    statistics = LayerStatistics(
        explainer,
        dataset,
        directory,
        writer,
        images=settings.input_iba.statistics_images,
        seed=settings.seed,
    )
    explained = _explained(settings.target, dataset.classes, explainer, samples)
    maps = Maps(directory, list(dataset.classes))
    return SaliencyContext(settings, explainer, explained, maps, statistics, directory, writer)


def _results(source: RunFolder) -> dict[str, Any]:
    """The results of a finished run that has a classifier.

    Raises:
      ValueError: it is not finished, or a pretraining alone.
    """
    results = source.results()
    if results.get("task") == "pretrain":
        raise ValueError(
            f"the run in {source} is a pretraining alone: it has no classes to explain"
        )
    return results


def _check_target(target: str, classes: Sequence[str]) -> None:
    if target in (*_TARGETS, *classes):
        return
    raise ValueError(
        f"config.target = {target!r} is no class of this run; there are {', '.join(classes)} (or "
        f"{', '.join(_TARGETS)}){did_you_mean(target, classes)}"
    )


def _check_classes(dataset: Dataset, results: dict[str, Any]) -> None:
    if list(dataset.classes) != results["classes"]:
        raise ValueError(
            f"the data have the classes {', '.join(dataset.classes)}, the run has "
            f"{', '.join(results['classes'])}: the data have changed since"
        )


def _explainer(
    settings: SaliencySettings,
    trained: RunSettings,
    results: dict[str, Any],
    source: RunFolder,
    writer: Writer,
) -> Explainer:
    """The selected network on what it was trained on.

    Raises:
      ValueError: its checkpoint is gone, or it has no such layer.
    """
    devices, classes = parallel.all_devices(), len(results["classes"])
    model = models.create(
        trained.model.name, num_classes=classes, **networks.computed(trained, devices)
    )
    variables, _ = restore(trained, source, "finetune", classes=classes)
    return Explainer(
        settings,
        model,
        variables,
        networks.recorded_preprocessing(source),
        devices,
        image_size=trained.finetuning.image_size,
        writer=writer,
    )


def _explained(
    asked: str, classes: Sequence[str], explainer: Explainer, samples: list[Sample]
) -> list[Explained]:
    """Samples with the network's answers and the classes to explain.

    Args:
      asked: predicted, true, or a class.

    Raises:
      ValueError: the true class is to be explained, and one is not known.
    """
    probabilities = explainer.probabilities(samples)
    found = []
    for sample, shares in zip(samples, probabilities, strict=True):
        target = int(shares.argmax())
        if asked == "true":
            target = sample.label
        elif asked != "predicted":
            target = classes.index(asked)
        if target < 0:
            raise ValueError(
                f"the true class of {sample.name} is not known: set --config.target=predicted or "
                "a class by its name"
            )
        found.append(Explained(sample, shares, target))
    return found


def _make(context: SaliencyContext, method: str) -> list[str]:
    """Makes and keeps the maps that are missing; a line for each that cannot be used."""
    explainer, maps, explained = context.explainer, context.maps, context.explained
    settings = explainer.settings(method)
    todo = [
        one
        for one in explained
        if not maps.is_done(one, method, settings)
        or not repeatability.is_known(maps.record(one, method))
    ]
    if not todo:
        context.writer.say(f"{method}: all {len(explained)} maps are there")
        return []
    found = explainer.maps(
        method,
        [one.sample for one in todo],
        [one.target for one in todo],
        context.statistics.of_trained() if method in WITH_STATISTICS else None,
    )
    failed = []
    for one, repeats in zip(todo, context.writer.track(found, len(todo), method), strict=True):
        heat = repeats.mean(0)
        if np.isfinite(heat).all():
            record = maps.write(one, method, settings, heat)
            alike = repeatability.repeatability(repeats, method)
            if alike:
                maps.update(one, method, record | {"repeatability": alike})
        else:
            maps.remove(one, method)
            failed.append(
                f"{one.sample.name}: the map by {method} has values that are not finite; it is "
                "left out"
            )
    return failed


def _facts(
    context: SaliencyContext, trained: RunSettings, results: dict[str, Any], how: str
) -> list[tuple[str, str]]:
    """What the page says first; `how` the images were chosen."""
    asked = context.settings
    settings = context.explainer.settings(asked.method)
    settings = {k: v for k, v in settings.items() if k not in ("method", "network")}
    if "statistics_images" in settings:  # there may be fewer
        settings["statistics_images"] = min(settings["statistics_images"], results["n"]["train"])
    named = ", ".join(
        f"{name.replace('_', ' ')} {wording.value(value)}" for name, value in settings.items()
    )
    explained = {"predicted": "the predicted one", "true": "the true one"}
    tested = results["n"]["test"]
    return [
        ("run", asked.run),
        ("network", f"{trained.model.name}, {trained.strategy}, step {results['best_step']}"),
        ("accuracy", f"{number(results['accuracy'], 3)} on {report.counted(tested, 'test image')}"),
        ("images", how),
        ("method", report.titled(asked.method)),
        ("settings", named),
        ("explained class", explained.get(asked.target, asked.target)),
    ]
