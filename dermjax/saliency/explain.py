"""Maps of what a run's network looks at, their scores, Figure 6's sheet and its page."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dermjax import models, stores
from dermjax.experiment import networks
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.experiment.trained_networks import restore
from dermjax.report import wording
from dermjax.report.numbers import number
from dermjax.runs.folder import RESULTS, cache_dir, exclusive, read_config
from dermjax.saliency import map_store, randomisation, repeatability, sanity_tables, scoring, sheet
from dermjax.saliency import page as report
from dermjax.saliency.explainer import METHODS, WITH_STATISTICS, Explainer, input_iba_settings
from dermjax.saliency.map_store import Explained, Maps
from dermjax.saliency.samples import Sample, choose, from_files
from dermjax.suggestions import did_you_mean
from dermjax.training import parallel, processes
from dermjax.training.writer import Writer

FOLDER = "saliency"
_TARGETS = ("predicted", "true")


def run(config: ConfigDict, workdir: str = "") -> int:
    """Maps that are missing, scores, the sheet and the page; returns the process's exit status.

    Args:
      workdir: where `saliency/` goes; by default the run's own folder.

    Raises:
      ValueError: a user's mistake, in words.
    """
    _check(config)
    processes.check_alone("saliency")
    source = stores.folder(config.run)
    trained, results = read_config(source), _results(source)
    _check_target(config.target, results["classes"])
    directory = stores.folder(workdir or source) / FOLDER
    parallel.keep_compiled(cache_dir(trained) / "xla")
    devices, writer = parallel.all_devices(), Writer()
    explainer = _explainer(config, trained, results, source, devices, writer)
    scoring.check_size(config, explainer.size)
    with exclusive(directory, writer, wait=False):
        dataset = as_recorded(prepare(trained, writer), source)
        _check_classes(dataset, results)
        if config.images:
            samples, how = from_files(config, dataset, trained.data)
        else:
            samples, how = choose(config, dataset, source)
        explained = _explained(config, results, explainer, samples)
        maps = Maps(directory, results["classes"])
        wanted, failed = _wanted(config), []
        statistics = functools.partial(_statistics, config, explainer, dataset, directory, writer)
        for method in wanted:
            failed += _make(explainer, explained, method, maps, statistics, writer)
        if config.scores:
            scoring.score(config, explainer, explained, wanted, maps, writer)
        checked = randomisation.randomise(
            config, explainer, explained, wanted, maps, statistics, directory, writer
        )
        trust = sanity_tables.write(explained, wanted, maps, checked, directory)
        facts = _facts(config, trained, results, explainer, how)
        sheet.write(config, explained, wanted, failed, facts, maps, trust, directory, writer)
    for line in failed:
        writer.warn(line)
    return 1 if failed else 0


def _wanted(config: ConfigDict) -> tuple[str, ...]:
    """The method and those that it is compared with."""
    wanted = dict.fromkeys((config.method, *(config.compare if config.scores else ())))
    same = [name for name in wanted if name in ("input_iba", "input_iba_gan")]
    if config.prior == "gan" and len(same) == 2:  # two names of one method, minutes an image
        del wanted[same[1]]
    return tuple(wanted)


def _check(config: ConfigDict) -> None:
    """Every field against its bounds."""
    if not config.run:
        raise ValueError("which run? name its folder, as in configs/saliency.py:run=runs/mine")
    named = {"method": (config.method,), "compare": tuple(config.compare)}
    for field, names in named.items():
        for name in names:
            if name not in METHODS:
                raise ValueError(
                    f"config.{field} = {name!r} is no method; there are {', '.join(METHODS)}"
                    f"{did_you_mean(name, METHODS)}"
                )
    for field, known in (("prior", ("iba", "gan")), ("choose", ("random", "correct", "wrong"))):
        if config[field] not in known:
            raise ValueError(
                f"config.{field} = {config[field]!r} must be one of {', '.join(known)}"
            )
    if config.images_per_batch < 0:
        raise ValueError(
            f"config.images_per_batch = {config.images_per_batch} must be at least 1, or 0 for as "
            "many as the memory should hold"
        )
    least = {"per_class": 0, "seed": 0, "repeats": 1}
    least |= {"integrated_gradients.steps": 1}
    for field, low in (least | {"input_iba.statistics_images": 2}).items():
        value = config
        for part in field.split("."):
            value = value[part]
        if value < low:
            raise ValueError(f"config.{field} = {value} must be at least {low}")
    input_iba_settings(config, config.layer, config.prior)
    scoring.check(config)
    randomisation.check(config)


def _results(source: epath.Path) -> dict[str, Any]:
    """The results of a finished run that has a classifier.

    Raises:
      ValueError: it is not finished, or a pretraining alone.
    """
    path = source / RESULTS
    if not path.exists():
        raise ValueError(
            f"the run in {source} is not finished: it has no {RESULTS}; the same command as before "
            "continues it"
        )
    results = json.loads(path.read_text())
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


def _explainer(config, trained, results, source, devices, writer) -> Explainer:
    """The selected network on what it was trained on.

    Raises:
      ValueError: its checkpoint is gone, or it has no such layer.
    """
    classes = len(results["classes"])
    model = models.create(
        trained.model.name, num_classes=classes, dtype=networks.dtype(trained, devices)
    )
    variables, _ = restore(trained, source, "finetune", classes=classes)
    return Explainer(
        config,
        model,
        variables,
        networks.recorded_preprocessing(source),
        devices,
        image_size=trained.finetune.image_size,
        writer=writer,
    )


def _explained(config, results, explainer: Explainer, samples: list[Sample]) -> list[Explained]:
    """Samples with the network's answers and the classes to explain.

    Raises:
      ValueError: the true class is to be explained, and one is not known.
    """
    classes = results["classes"]
    probabilities = explainer.probabilities(samples)
    found = []
    for sample, shares in zip(samples, probabilities, strict=True):
        target = int(shares.argmax())
        if config.target == "true":
            target = sample.label
        elif config.target != "predicted":
            target = classes.index(config.target)
        if target < 0:
            raise ValueError(
                f"the true class of {sample.name} is not known: set --config.target=predicted or "
                "a class by its name"
            )
        found.append(Explained(sample, shares, target))
    return found


def _make(
    explainer: Explainer,
    explained: list[Explained],
    method: str,
    maps: Maps,
    statistics: Callable[..., Any],
    writer: Writer,
) -> list[str]:
    """Makes and keeps the maps that are missing; a line for each that cannot be used."""
    settings = explainer.settings(method)
    todo = [
        one
        for one in explained
        if not maps.is_done(one, method, settings)
        or not repeatability.is_known(maps.record(one, method))
    ]
    if not todo:
        writer.say(f"{method}: all {len(explained)} maps are there")
        return []
    found = explainer.maps(
        method,
        [one.sample for one in todo],
        [one.target for one in todo],
        statistics() if method in WITH_STATISTICS else None,
    )
    failed = []
    for one, repeats in zip(todo, writer.track(found, len(todo), method), strict=True):
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


def _statistics(
    config, explainer: Explainer, dataset: Dataset, directory, writer, variables: Any = None
) -> Any:
    """Mean and standard deviation of the layer's output over training images, read if written.

    Args:
      variables: of a network that is not the trained one; its statistics are not written.
    """
    rows = dataset.rows("train", labelled=False)
    count = min(config.input_iba.statistics_images, len(rows))
    rows = np.random.default_rng(config.seed).permutation(rows)[:count]
    mark = {"layer": explainer.layer, "image_size": explainer.size, "images": count}
    mark |= {"data": dataset.fingerprint, "network": explainer.fingerprint, "seed": config.seed}
    path = directory / f"statistics-{explainer.layer}.npz"
    found = map_store.read_statistics(path, mark) if variables is None else None
    if found is None:
        batches = dataset.evaluation_batches(
            rows, size=explainer.size, interpolation=explainer.interpolation, batch_size=16
        )
        real = (batch["image"][batch["id"] >= 0] for batch in batches)
        tracked = writer.track(real, -(-count // 16), f"features of {explainer.layer}, batches")
        found = explainer.statistics(tracked, variables)
        if variables is None:
            map_store.write_statistics(path, mark, found)
    return found


def _facts(config, trained, results, explainer: Explainer, how: str) -> list[tuple[str, str]]:
    """What the page says first."""
    settings = explainer.settings(config.method)
    settings = {k: v for k, v in settings.items() if k not in ("method", "network")}
    if "statistics_images" in settings:  # there may be fewer
        settings["statistics_images"] = min(settings["statistics_images"], results["n"]["train"])
    told = ", ".join(
        f"{name.replace('_', ' ')} {wording.value(value)}" for name, value in settings.items()
    )
    explained = {"predicted": "the predicted one", "true": "the true one"}
    tested = results["n"]["test"]
    return [
        ("run", str(config.run)),
        ("network", f"{trained.model.name}, {trained.strategy}, step {results['best_step']}"),
        ("accuracy", f"{number(results['accuracy'], 3)} on {report.counted(tested, 'test image')}"),
        ("images", how),
        ("method", report.titled(config.method)),
        ("settings", told),
        ("explained class", explained.get(config.target, config.target)),
    ]
