"""Which option for rare classes helps them, at which cost? One strategy, few labels, real data.

python tests/benchmarks/imbalance.py --data=FOLDER --folder=runs/imbalance --strategy=IN \
    --weights=FILE [FLAGS]

Runs `dermjax.main` for every option and trial that is not done yet in --folder (SS: one pretraining
serves all) and prints the table. FLAGS go to every run, such as --config.finetune.steps=240. Runs
can be stopped and go on; --only-print shows what there is.

Label smoothing is left out where an option refuses it; `uniform, no smoothing` is what to compare
those with.
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
RAREST = 3
OPTIONS = {
    "uniform": {},
    "uniform, no smoothing": {"label_smoothing": 0},
    "balanced": {"sampling": "balanced"},
    "effective number .999": {"class_weights": "effective_number"},
    "logit adjustment 1": {"logit_adjustment": 1, "label_smoothing": 0},
    "focal 2": {"loss": "focal", "label_smoothing": 0},
}


def main() -> None:
    """Runs what is missing and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder or manifest")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the runs")
    parser.add_argument("--strategy", default="FS", choices=tuple(STRATEGIES))
    parser.add_argument("--weights", help="ImageNet weights of the model, for IN and SS-IN")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--only-print", action="store_true")
    given, flags = parser.parse_known_args()
    if not given.only_print:
        # Trial by trial: what there is so far compares all options.
        for trial in range(given.trials):
            for option in OPTIONS:
                train(given, flags, option, trial)
    show(given)


def train(given, flags: list[str], option: str, trial: int) -> None:
    """One run by the command that a user types."""
    argument = (
        f"alpha={given.alpha:g},trial={trial},scale=demo,model={given.model},data={given.data}"
    )
    command = [
        f"--config=configs/{file_name(given.strategy)}.py:{argument}",
        f"--workdir={workdir(given, option, trial).absolute()}",
        *(f"--config.finetune.{field}={value}" for field, value in OPTIONS[option].items()),
    ]
    if STRATEGIES[given.strategy].from_weights and given.weights:
        command += [f"--config.init.weights={given.weights}"]
    command = [sys.executable, "-m", "dermjax.main", *command, *flags]
    print("$", *command[1:], flush=True)
    subprocess.run(command, cwd=REPOSITORY, check=True)


def workdir(given, option: str, trial: int) -> pathlib.Path:
    """Of one run."""
    words = option.replace(",", "").replace(" ", "-")
    name = f"{file_name(given.strategy)}-alpha{given.alpha:g}-{words}-trial{trial}"
    return given.folder / name


def show(given) -> None:
    """The table of what is there: mean and standard deviation over trials."""
    columns = [*MEASURES, f"sensitivity of the rarest {RAREST}"]
    print(f"\n{given.strategy}, alpha {given.alpha:g}, test set")
    print("| | trials | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    results = None
    for option in OPTIONS:
        paths = [workdir(given, option, t) / "results.json" for t in range(given.trials)]
        found = [json.loads(path.read_text()) for path in paths if path.exists()]
        if found:
            results = found[0]
            values = [[one[m] for one in found] for m in MEASURES] + [[*map(_rarest, found)]]
            print(f"| {option} | {len(found)} | {' | '.join(map(_cell, values))} |")
    if results:
        rows = results["per_class"]
        names = ", ".join(f"{name} ({rows[name]['n']})" for name in _rare_classes(results))
        print(f"\n{results['n']['train_labelled']} labels, {results['n']['test']} test images, of")
        print(f"which the rarest classes have: {names}")


def _rare_classes(results: dict) -> list[str]:
    """The classes with the fewest test images, of those that have any."""
    counts = {name: row["n"] for name, row in results["per_class"].items() if row["n"]}
    return sorted(counts, key=counts.get)[:RAREST]


def _rarest(results: dict) -> float:
    return statistics.mean(
        results["per_class"][name]["sensitivity"] for name in _rare_classes(results)
    )


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
