"""Which fine-tuning suits a strategy best? Chosen on the validation images of one split.

    python -m dermjax.main --config=configs/ss.py:... --config.task=pretrain --workdir=RUN
    python tests/benchmarks/tuning.py --run=RUN --folder=runs/tuning
    python tests/benchmarks/tuning.py --run=RUN --folder=runs/tuning --strategy=FS --only=uniform

Every setting of SETTINGS fine-tunes the encoder of RUN's pretraining (--strategy=FS: random
weights, which have no rate of their own), on each share of the labels and in each trial. The score
is that by which a run selects its checkpoint: the best macro sensitivity of the validation images.
The test set is not touched. Rows are kept in FOLDER/rows.jsonl as they come, and what is
there is not done again.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
import statistics

from _silent import Silent
from etils import epath

from dermjax.cli import command_line
from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import prepare
from dermjax.experiment.finetune import finetune
from dermjax.experiment.pretrain import pretrain
from dermjax.runs.locations import cache_dir
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training import compile_cache, parallel

# Fields of `finetune`; steps of the schedule to its end.
SETTINGS = {
    "uniform, .003": {"learning_rate": 3e-3},
    "uniform, .01": {"learning_rate": 1e-2},
    "balanced, .003": {"learning_rate": 3e-3, "sampling": "balanced"},
    "balanced, .01": {"learning_rate": 1e-2, "sampling": "balanced"},
    "uniform, .01, encoder .1": {"learning_rate": 1e-2, "encoder_rate": 0.1},
    "balanced, .003, encoder .3": {
        "learning_rate": 3e-3,
        "encoder_rate": 0.3,
        "sampling": "balanced",
    },
    "balanced, .01, encoder .03": {
        "learning_rate": 1e-2,
        "encoder_rate": 0.03,
        "sampling": "balanced",
    },
    "balanced, .01, encoder .1": {
        "learning_rate": 1e-2,
        "encoder_rate": 0.1,
        "sampling": "balanced",
    },
    "balanced, .01, encoder .3": {
        "learning_rate": 1e-2,
        "encoder_rate": 0.3,
        "sampling": "balanced",
    },
    "balanced, .03, encoder .03": {
        "learning_rate": 3e-2,
        "encoder_rate": 0.03,
        "sampling": "balanced",
    },
}
SCORE = "validation_macro_sensitivity"
_LOSS = "validation_log_loss"


def main() -> None:
    """Does what is missing, and prints the table."""
    given = _arguments()
    base = _settings(given)
    devices, writer = parallel.all_devices(), Silent(active=True)
    compile_cache.keep_compiled(cache_dir(base.data.cache_dir) / "xla")
    beginning, folder = networks.begin(base, writer), RunFolder(epath.Path(given.folder))
    dataset = prepare(base, writer)
    context = RunContext(base, dataset, devices, beginning, folder, writer)
    encoder = pretrain(context).encoder if base.kind.pretrains else beginning.encoder
    table = given.folder / "rows.jsonl"
    done = {_key(row) for row in _rows(table)}
    for planned in _plan(given, base):
        if _key(planned) in done:
            continue
        settings = _single(base, planned)
        labelled = prepare(settings, writer)  # the share and the subset of this training
        folder = RunFolder(epath.Path(given.folder) / "run")
        shutil.rmtree(folder.path, ignore_errors=True)
        finetune(
            RunContext(settings, labelled, devices, beginning, folder, writer),
            encoder,
        )
        lines = folder.metrics().read()
        scores = {line["step"]: line[SCORE] for line in lines if SCORE in line}
        losses = {line["step"]: line[_LOSS] for line in lines if _LOSS in line}
        row = planned | {"score": max(scores.values()), "scores": scores, "log_losses": losses}
        with table.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{_title(row)} trial {row['trial']}: {row['score']:.3f}", flush=True)
        shutil.rmtree(folder.path)
    show(_rows(table))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="folder of a run with a pretraining")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the rows")
    parser.add_argument("--strategy", default="", help="the run's own, or FS")
    parser.add_argument("--alphas", default="0.1+1.0", help="shares of the labels")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--steps", default="400+800", help="for each of --alphas")
    parser.add_argument("--evaluations", type=int, default=10, help="in one training")
    parser.add_argument("--only", default="", help="settings whose name holds this")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    given.folder = given.folder.absolute()
    if len(given.steps.split("+")) != len(given.alphas.split("+")):
        parser.error(f"--steps={given.steps} must be as many as --alphas={given.alphas}")
    return given


def _settings(given: argparse.Namespace) -> RunSettings:
    """The run's, of the strategy that is asked for."""
    settings = RunFolder.named(given.run).settings()
    if given.strategy in ("", settings.strategy):
        return settings
    return dataclasses.replace(
        settings, strategy=given.strategy, task="run", control=False, pretrain=None
    )


def _plan(given: argparse.Namespace, base: RunSettings) -> list[dict]:
    """All trainings, trial by trial: after each of them the table can be read."""
    shares = zip(given.alphas.split("+"), given.steps.split("+"), strict=True)
    shares = [(float(alpha), int(steps)) for alpha, steps in shares]
    names = [name for name in SETTINGS if given.only in name]
    if base.strategy == "FS":
        names = [name for name in names if "encoder_rate" not in SETTINGS[name]]
    return [
        {
            "strategy": base.strategy,
            "alpha": alpha,
            "trial": trial,
            "setting": name,
            "steps": steps,
            "evaluations": given.evaluations,
        }
        for trial in range(given.trials)
        for alpha, steps in shares
        for name in names
    ]


def _single(base: RunSettings, planned: dict) -> RunSettings:
    """The settings of one training."""
    every = max(1, planned["steps"] // planned["evaluations"])
    stage = dataclasses.replace(
        base.finetuning,
        steps=planned["steps"],
        report_every=every,
        evaluate_every=every,
        **SETTINGS[planned["setting"]],
    )
    data = dataclasses.replace(base.data, alpha=planned["alpha"], trial=planned["trial"])
    return dataclasses.replace(base, data=data, finetune=stage)


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in ("strategy", "alpha", "trial", "setting", "steps"))


def _rows(table: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in table.open()] if table.exists() else []


def _title(row: dict) -> str:
    return f"{row['strategy']} alpha {row['alpha']:g} {row['steps']} steps {row['setting']}"


def show(rows: list[dict]) -> None:
    """Of each strategy and share the settings, the best first."""
    print("| macro sensitivity of the validation images | by trial | mean |\n|---|---|---|")
    found: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["trial"]):
        found.setdefault(_title(row), []).append(row["score"])
    order = {_title(row): (row["strategy"], row["alpha"]) for row in rows}
    best = sorted(found, key=lambda title: (*order[title], -statistics.mean(found[title])))
    for title in best:
        scores = found[title]
        each = " ".join(f"{score:.3f}" for score in scores)
        print(f"| {title} | {each} | {statistics.mean(scores):.3f} |")


if __name__ == "__main__":
    command_line.restart_with_huge_pages()  # as `dermjax.main` does
    main()
