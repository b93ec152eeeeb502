"""One run from config to results: prepare, pretrain, fine-tune, evaluate."""

import json
import time
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

import dermjax
from dermjax import stores
from dermjax.audit import report
from dermjax.experiment import networks
from dermjax.experiment.control import FOLDER, without_pretraining
from dermjax.experiment.dataset import Dataset, as_recorded, prepare, write_splits
from dermjax.experiment.evaluate import evaluate, write_results
from dermjax.experiment.finetune import finetune
from dermjax.experiment.pretrain import Pretraining, find_partners, pretrain
from dermjax.experiment.pretraining_overview import picture
from dermjax.experiment.summary import summary
from dermjax.runs.folder import (
    RESULTS,
    cache_dir,
    check_claim,
    claim,
    default_workdir,
    exclusive_together,
)
from dermjax.settings import checks
from dermjax.strategies import STRATEGIES
from dermjax.training import parallel, processes, stop
from dermjax.training.writer import MetricsFile, Writer


def run(config: ConfigDict, workdir: str = "") -> int:
    """Does what is not done yet; returns the process's exit status.

    Raises:
      ValueError: a user's mistake, in words.
    """
    checks.check(config)
    directory = stores.writable_folder(workdir or default_workdir(config))
    parallel.keep_compiled(cache_dir(config) / "xla")
    processes.join(config.distributed, patience=config.patience)
    devices = parallel.all_devices()
    checks.check_devices(config, devices)
    writer = Writer(active=processes.is_first())
    with exclusive_together(directory, writer, wait=False):
        check_claim(directory, config.to_dict())
        results = directory / RESULTS
        if processes.first_says(results.exists()):
            writer.say(f"this run is done\n\n{summary(json.loads(results.read_text()), directory)}")
            return 0
        try:
            writer.say("\n" + summary(_run(config, directory, devices, writer), directory))
        except stop.Interrupted as why:
            writer.say(f"{why}; the same command continues it")
        processes.finish()
    return 0


def _run(config, directory: epath.Path, devices, writer: Writer) -> dict[str, Any]:
    """The stages in order; returns the results."""
    where = f"{devices.count} x {devices.kind}{processes.of_how_many()}"
    writer.say(f"{config.strategy} in {directory}, on {where}")
    clock = time.monotonic()
    beginning = networks.begin(config, writer)
    dataset = as_recorded(prepare(config, writer), directory)
    _check_same(config, dataset)
    claim(directory, config.to_dict())  # only now: a manifest to be mended claims no folder
    write_splits(dataset, directory)
    report.write_once(dataset.manifest, dataset.split, directory)
    networks.write_beginning(beginning, directory)
    seconds = {"prepare": time.monotonic() - clock}

    encoder, pretraining, positives = beginning.encoder, None, {}
    if STRATEGIES[config.strategy].pretrains:
        done = pretrain(config, dataset, devices, writer, directory, beginning)
        encoder, pretraining = done.encoder, str(done.directory)
        seconds["pretrain"] = done.seconds
        positives = {"positives": done.positives} if done.positives else {}
        _adopt_metrics(directory, done.metrics)
        picture(config, dataset, devices, writer, directory, done, beginning.preprocessing)
    common = dict(
        seconds=seconds,
        weights=beginning.record(),
        pretraining=pretraining,
        path=directory / RESULTS,
    )
    if config.task == "pretrain":
        measured = {"monitor": _last_look(done), **positives}
        return write_results(config, dataset, devices, measured, **common)

    variables, best_step, seconds["finetune"] = finetune(
        config, dataset, devices, writer, directory, encoder, beginning.preprocessing
    )
    clock = time.monotonic()
    with stop.deferred_signals():
        measured = evaluate(config, dataset, devices, variables, beginning.preprocessing, directory)
    seconds["evaluate"] = time.monotonic() - clock
    measured |= {"best_step": best_step, **positives}
    if config.control:
        control, seconds["control"] = without_pretraining(
            config, dataset, devices, writer, directory, beginning
        )
        measured[FOLDER] = control
    return write_results(config, dataset, devices, measured, **common)


def _check_same(config: ConfigDict, dataset: Dataset) -> None:
    """Whether all processes do the same.

    Raises:
      ValueError: one has another config, version, or other data; or the data do not have the
        positives that the config asks for.
    """
    same = {name: value for name, value in config.to_dict().items() if name != "distributed"}
    same["versions"] = (dermjax.__version__, jax.__version__)
    processes.check_same(json.dumps(same, sort_keys=True), "a config")
    processes.check_same(f"{dataset.fingerprint} {dataset.split_key()}", "data")
    pairs = find_partners(config, dataset) if STRATEGIES[config.strategy].pretrains else None
    if pairs is not None:
        processes.check_same(pairs.key(), "lesions, patients or sites")


def _last_look(done: Pretraining) -> dict[str, float]:
    """The newest scalars of pretraining's monitor."""
    return next(line for line in reversed(done.metrics) if "monitor_seconds" in line)


def _adopt_metrics(directory: epath.Path, lines: list[dict]) -> None:
    """The run's metrics begin with those of its pretraining, whichever run trained it."""
    metrics_file = MetricsFile(directory / "metrics.jsonl", active=processes.is_first())
    own = [line for line in metrics_file.read() if line["stage"] != "pretrain"]
    metrics_file.replace(lines + own)
