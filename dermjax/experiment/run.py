"""One run from settings to results: prepare, pretrain, fine-tune, evaluate."""

import json
import time
from typing import Any

import jax

import dermjax
from dermjax import stores
from dermjax.audit import report
from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.control import FOLDER, without_pretraining
from dermjax.experiment.dataset import Dataset, as_recorded, prepare, write_splits
from dermjax.experiment.evaluate import evaluate, write_results
from dermjax.experiment.finetune import finetune
from dermjax.experiment.pretrain import Pretraining, find_partners, pretrain
from dermjax.experiment.pretraining_overview import picture
from dermjax.experiment.summary import summary
from dermjax.runs.locations import cache_dir, default_workdir
from dermjax.runs.lock import exclusive_together
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.settings.devices import check_devices
from dermjax.training import compile_cache, parallel, processes, stop
from dermjax.training.writer import Writer


def run(settings: RunSettings, workdir: str = "") -> int:
    """Does what is not done yet; returns the process's exit status.

    Raises:
      ValueError: a user's mistake, in words.
    """
    settings.check_files()
    folder = RunFolder(stores.writable_folder(workdir or default_workdir(settings)))
    compile_cache.keep_compiled(cache_dir(settings.data.cache_dir) / "xla")
    processes.join(settings.distributed, patience=settings.patience)
    devices = parallel.all_devices()
    check_devices(settings, devices)
    writer = Writer(active=processes.is_first())
    with exclusive_together(folder.path, writer, wait=False):
        folder.check_claim(settings)
        if processes.first_says(folder.is_finished):
            writer.say(f"this run is done\n\n{summary(folder.results(), str(folder))}")
            return 0
        try:
            begun, prepared = _begin(settings, folder, devices, writer)
            results = _stages(begun, prepared)
            writer.say("\n" + summary(results, str(folder)))
        except stop.Interrupted as why:
            writer.say(f"{why}; the same command continues it")
        processes.finish()
    return 0


def _begin(
    settings: RunSettings, folder: RunFolder, devices: parallel.Devices, writer: Writer
) -> tuple[RunContext, float]:
    """Data and first weights, recorded in the folder; and the seconds that it took."""
    where = f"{devices.count} x {devices.kind}{processes.of_how_many()}"
    writer.say(f"{settings.strategy} in {folder}, on {where}")
    clock = time.monotonic()
    beginning = networks.begin(settings, writer)
    dataset = as_recorded(prepare(settings, writer), folder)
    _check_same(settings, dataset)
    folder.claim(settings)  # only now: a manifest to be mended claims no folder
    write_splits(dataset, folder)
    report.write_once(dataset.manifest, dataset.split, folder.path)
    folder.write_weights(beginning.record())
    context = RunContext(settings, dataset, devices, beginning, folder, writer)
    return context, time.monotonic() - clock


def _stages(run: RunContext, prepared: float) -> dict[str, Any]:
    """The stages in order; returns the results. `prepared` are the seconds before them."""
    seconds = {"prepare": prepared}
    encoder, pretraining, positives = run.beginning.encoder, None, {}
    if run.settings.kind.pretrains:
        done = pretrain(run)
        encoder, pretraining = done.encoder, str(done.directory)
        seconds["pretrain"] = done.seconds
        positives = {"positives": done.positives} if done.positives else {}
        _adopt_metrics(run.folder, done.metrics)
        picture(run, done)
        if run.settings.task == "pretrain":
            measured = {"monitor": _last_look(done), **positives}
            return write_results(run, measured, seconds=seconds, pretraining=pretraining)

    variables, best_step, seconds["finetune"] = finetune(run, encoder)
    clock = time.monotonic()
    with stop.deferred_signals():
        measured = evaluate(run, variables)
    seconds["evaluate"] = time.monotonic() - clock
    measured |= {"best_step": best_step, **positives}
    if run.settings.control:
        measured[FOLDER], seconds["control"] = without_pretraining(run)
    return write_results(run, measured, seconds=seconds, pretraining=pretraining)


def _check_same(settings: RunSettings, dataset: Dataset) -> None:
    """Whether all processes do the same.

    Raises:
      ValueError: one has other settings, another version, or other data; or the data do not have
        the positives that the settings ask for.
    """
    same = {name: one for name, one in settings.to_dict().items() if name != "distributed"}
    same["versions"] = (dermjax.__version__, jax.__version__)
    processes.check_same(json.dumps(same, sort_keys=True), "a config")
    processes.check_same(f"{dataset.fingerprint} {dataset.split_key()}", "data")
    pairs = find_partners(settings, dataset) if settings.kind.pretrains else None
    if pairs is not None:
        processes.check_same(pairs.key(), "lesions, patients or sites")


def _last_look(done: Pretraining) -> dict[str, float]:
    """The newest scalars of pretraining's monitor."""
    return next(line for line in reversed(done.metrics) if "monitor_seconds" in line)


def _adopt_metrics(folder: RunFolder, lines: list[dict]) -> None:
    """The run's metrics begin with those of its pretraining, whichever run trained it."""
    metrics_file = folder.metrics()
    own = [line for line in metrics_file.read() if line["stage"] != "pretrain"]
    metrics_file.replace(lines + own)
