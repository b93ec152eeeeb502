"""Does pretraining help? SS, SS-IN, IN and FS on real photographs, with few labels and with all.

python tests/benchmarks/evidence.py --data=FOLDER --folder=runs/evidence [--weights=FILE] [FLAGS]

Runs `dermjax.main` for every strategy, alpha and trial that is not done yet in --folder (one
pretraining serves all of SS, and one all of SS-IN, where --strategies=SS,SS-IN,FS,IN names it),
then linear probes of the encoders, and prints the tables. FLAGS go to every run that has such a
field. Runs can be stopped and go on; --only-print shows what there is.
The README's table has EfficientNet-Lite0's ImageNet weights as FILE, and of PAD-UFES-20 the flags
--config.pretrain.{batch_size=64,queue_size=128,steps=500} --config.finetune.steps=240
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from dermjax.strategies import STRATEGIES, file_name

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MEASURES = ("accuracy", "macro_precision", "macro_sensitivity")
# 64 px, a quarter of an hour of pretraining on one core (HAM10000's 2,437 images: 42 epochs); what
# is not here is the demo's.
PRETRAIN = {
    "steps": 800,
    "batch_size": 128,
    "queue_size": 256,
    "batch_negatives": True,
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "weight_decay": 0.05,
    "warmup_steps": 100,
    "report_every": 20,
    "save_every": 60,
    "monitor.every": 100,
}
FINETUNE = {"steps": 480, "evaluate_every": 60}


def main() -> None:
    """Runs what is missing and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder or manifest")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the runs")
    parser.add_argument("--weights", help="ImageNet weights of the model; without: no IN, no SS-IN")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--strategies", default="SS,FS,IN")
    parser.add_argument("--alphas", default="0.1,1.0")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--only-print", action="store_true")
    given, flags = parser.parse_known_args()
    wanted = given.strategies.split(",")
    strategies = [s for s in wanted if given.weights or not STRATEGIES[s].from_weights]
    plan = [
        (strategy, float(alpha), trial)
        for trial in range(given.trials)
        for alpha in given.alphas.split(",")
        for strategy in strategies
    ]
    if not given.only_print:
        for strategy, alpha, trial in plan:
            train(given, flags, strategy, alpha, trial)
        for strategy, alpha, trial in plan:
            if _has_probe(alpha, trial):
                probe(given, strategy, alpha, trial)
    show(given.folder, plan)


def train(given, flags: list[str], strategy: str, alpha: float, trial: int) -> None:
    """One run by the command that a user types."""
    argument = f"alpha={alpha:g},trial={trial},scale=demo,model={given.model},data={given.data}"
    command = [
        f"--config=configs/{file_name(strategy)}.py:{argument}",
        f"--workdir={given.folder / name(strategy, alpha, trial)}",
        *(f"--config.finetune.{field}={value}" for field, value in FINETUNE.items()),
    ]
    pretrains = STRATEGIES[strategy].pretrains
    if pretrains:
        command += [f"--config.pretrain.{field}={value}" for field, value in PRETRAIN.items()]
    if STRATEGIES[strategy].from_weights:
        command += [f"--config.init.weights={given.weights}"]
    own = [flag for flag in flags if "pretrain" not in flag or pretrains]
    call([*command, *own])


def probe(given, strategy: str, alpha: float, trial: int) -> None:
    """The linear probe of what the strategy's fine-tuning starts from; one encoder for all."""
    folder = given.folder / name(strategy, float(given.alphas.split(",")[0]), 0)
    call([f"--config=configs/probe.py:run={folder},alpha={alpha:g},trial={trial}"])


def call(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "dermjax.main", *arguments]
    print("$", *command[1:], flush=True)
    subprocess.run(command, cwd=REPOSITORY, check=True)


def name(strategy: str, alpha: float, trial: int) -> str:
    """Of a run's folder."""
    return f"{file_name(strategy)}-alpha{alpha:g}-trial{trial}"


def show(folder: pathlib.Path, plan: list[tuple[str, float, int]]) -> None:
    """The tables of what is there: mean and standard deviation over trials."""
    first = min(alpha for _, alpha, _ in plan)
    for title, read in (
        ("fine-tuned, test set", lambda *run: _results(folder / name(*run) / "results.json")),
        (
            "linear probe, test set",
            lambda strategy, alpha, trial: _probe(folder, strategy, first, alpha, trial),
        ),
    ):
        print(f"\n{title}\n| | alpha | trials | " + " | ".join(MEASURES) + " |")
        print("|---|---|---|" + "---|" * len(MEASURES))
        for strategy, alpha in dict.fromkeys((s, a) for s, a, _ in plan):
            found = [read(*run) for run in plan if run[:2] == (strategy, alpha)]
            found = [results for results in found if results]
            if found:
                cells = [_cell([results[m] for results in found]) for m in MEASURES]
                print(f"| {strategy} | {alpha:g} | {len(found)} | {' | '.join(cells)} |")
    for run in plan:
        results = _results(folder / name(*run) / "results.json")
        if results:
            majority = max(row["n"] for row in results["per_class"].values()) / results["n"]["test"]
            print(f"\ntest images {results['n']['test']}, majority {majority:.3f}; macro")
            print("sensitivity is also called balanced accuracy")
            break


def _results(path: pathlib.Path) -> dict | None:
    return json.loads(path.read_text()) if path.exists() else None


def _has_probe(alpha: float, trial: int) -> bool:
    """With all labels every trial's probe would be the first one's again."""
    return alpha < 1 or trial == 0


def _probe(folder, strategy: str, first: float, alpha: float, trial: int) -> dict | None:
    """A probe's measures; its file lies in the first run's folder."""
    if not _has_probe(alpha, trial):
        return None
    encoder = "pretrain" if STRATEGIES[strategy].pretrains else "start"
    file = f"probe-{encoder}-alpha{alpha:g}-trial{trial}.json"
    results = _results(folder / name(strategy, first, 0) / file)
    return results and results["test"]


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
