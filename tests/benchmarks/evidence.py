"""Does pretraining help? Studies of real photographs, by plans that fit a CPU's or a GPU's time.

    python tests/benchmarks/evidence.py --data=FOLDER --folder=runs/evidence [--plans=cpu] [FLAGS]
    python tests/benchmarks/evidence.py --data=FOLDER --pack=pack [--have=packages.txt]  # see _pack
    python tests/benchmarks/evidence.py --data=pack/photos.csv --folder=runs/evidence \
        --plans=gpu_b0,gpu_b4 --weights=efficientnet_b0=FILE --workers=4 --minutes=9

Each plan of PLANS does `configs/study.py` once for each of its splits into training, validation and
test images, with a pretraining of its own; the study's page has the tables, with intervals over
patients and trainings. Then come linear probes of the frozen encoders, against random features.
Strategies that start from ImageNet weights need the network's file (--weights). FLAGS, such as
--config.run.finetune.steps=800, go to every study. What is done is not done again; after --minutes
all is stopped and saved, and the same command goes on; --only-print shows what there is;
--results=FILE.zip gathers all but checkpoints and features.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import zipfile

import _pack
from etils import epath

from dermjax.runs.run_folder import RunFolder, folder_name
from dermjax.strategies import STRATEGIES, split
from dermjax.study.settings import RUNS
from dermjax.training.writer import MetricsFile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_LEFT_OUT = ("checkpoints", "feature_maps")  # of --results, as are features-*.npz
_GRACE = 60.0  # seconds that a study has to save


@dataclasses.dataclass(frozen=True)
class Plan:
    """One study; `run` has fields as in `--config.run.FIELD=VALUE`."""

    arguments: str  # of configs/study.py: scale, model
    strategies: str
    run: dict
    trials: int = 3
    splits: int = 1
    alphas: str = "0.1+1.0"
    pretraining: str = ""  # a name: plans with the same one share their pretrainings
    by_split: tuple[dict, ...] = ()  # fields of each split's own

    @property
    def model(self) -> str:
        return self.arguments.partition("model=")[2].partition(",")[0]


# Numbers of steps are for HAM10000's public copy: 2,437 training images of 4,061.
_SMALL_128 = {
    "data.max_side": 160,
    "pretrain.image_size": 128,
    "finetune.image_size": 128,
}
_GPU = {
    "pretrain.batch_size": 256,
    "pretrain.steps": 3_808,  # 400 epochs
    "pretrain.save_every": 200,
    "pretrain.monitor.every": 400,
    "finetune.batch_size": 64,
    "finetune.steps": 1_500,  # 39 epochs of all labels
    "finetune.sampling": "balanced",  # better for SS and FS alike in the plan `cpu`
    "finetune.warmup_steps": 100,
    "finetune.evaluate_every": 150,
}
# Two million pairs of the first split in an hour of a core, one million of the second.
_CPU = {
    "pretrain.save_every": 500,
    "pretrain.report_every": 100,
    "finetune.sampling": "balanced",
    "pretrain.batch_size": 128,
    "pretrain.bn_groups": 4,
}
# Of ten settings of learning rate, encoder's rate and sampling those with the highest macro
# sensitivity of each split's own validation images, mean of SS and FS and of two trials
# (tuning.py).
_CHOSEN = (
    {"pretrain.steps": 16_000, "finetune.learning_rate": 3e-3, "finetune.encoder_rate": 0.3},
    {"pretrain.steps": 8_000, "finetune.learning_rate": 1e-2, "finetune.encoder_rate": 0.03},
)
# The resolution of the plan `cpu`. Of five settings of fine-tuning the best of both splits'
# validation images, mean of SS-IN and IN (tuning.py).
_IMAGENET = {
    "data.max_side": 64,
    "pretrain.image_size": 48,
    "pretrain.batch_size": 128,
    "pretrain.steps": 800,
    "pretrain.learning_rate": 5e-4,
    "pretrain.save_every": 100,
    "pretrain.report_every": 20,
    "finetune.image_size": 48,
    "finetune.batch_size": 32,
    "finetune.learning_rate": 3e-3,
    "finetune.sampling": "balanced",
}
PLANS = {
    "cpu": Plan(
        "scale=demo,model=efficientnet_mini",
        "SS+FS",
        alphas="0.1",
        trials=5,
        splits=2,
        pretraining="cpu",
        run={**_CPU, "finetune.steps": 400, "finetune.evaluate_every": 40},
        by_split=_CHOSEN,
    ),
    # With all labels, 21 epochs of them; after the pretrainings of `cpu`.
    "cpu_all": Plan(
        "scale=demo,model=efficientnet_mini",
        "SS+FS",
        alphas="1.0",
        splits=2,
        pretraining="cpu",
        run={**_CPU, "finetune.steps": 800, "finetune.evaluate_every": 80},
        by_split=_CHOSEN,
    ),
    # From ImageNet weights, which EfficientNet-Lite0 has: 42 gentle epochs, a quarter of an hour.
    "cpu_imagenet": Plan(
        "scale=demo,model=tf_efficientnet_lite0",
        "SS-IN+IN",
        alphas="0.1",
        splits=2,
        pretraining="imagenet",
        run={**_IMAGENET, "finetune.steps": 480, "finetune.evaluate_every": 40},
    ),
    "cpu_imagenet_all": Plan(
        "scale=demo,model=tf_efficientnet_lite0",
        "SS-IN+IN",
        alphas="1.0",
        splits=2,
        pretraining="imagenet",
        run={**_IMAGENET, "finetune.steps": 1_200, "finetune.evaluate_every": 120},
    ),
    "gpu_b0": Plan(
        "scale=small,model=efficientnet_b0", "SS+SS-IN+IN+FS", run={**_SMALL_128, **_GPU}
    ),
    "gpu_b4": Plan("scale=small,model=efficientnet_b4", "SS+SS-IN+IN+FS", run=_GPU),
    # Whether all of it holds together.
    "toy": Plan(
        "scale=demo,model=efficientnet_tiny",
        "SS+SS-IN+IN+FS",
        trials=2,
        splits=2,
        alphas="0.5+1.0",
        run={
            "data.max_side": 32,
            "pretrain.steps": 8,
            "pretrain.batch_size": 16,
            "pretrain.image_size": 16,
            "pretrain.hidden_dim": 16,
            "pretrain.warmup_steps": 1,
            "pretrain.report_every": 4,
            "pretrain.save_every": 4,
            "finetune.steps": 8,
            "finetune.batch_size": 16,
            "finetune.image_size": 16,
            "finetune.warmup_steps": 1,
            "finetune.report_every": 4,
            "finetune.evaluate_every": 4,
        },
    ),
}


class Stopped(Exception):
    """The time that was given is over."""


def main() -> int:
    """Does what is missing and prints; the exit status."""
    given, flags = _arguments()
    if given.pack:
        _pack.pack(given.data, given.pack, side=given.side, have=given.have)
        return 0
    deadline = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
    weights = dict(pair.split("=", 1) for pair in given.weights)
    plans = {name: PLANS[name] for name in given.plans.split(",")}
    try:
        for name, plan in plans.items() if not given.only_print else ():
            for number in range(plan.splits):
                study(given, plan, name, number, weights, flags, deadline)
                probe(given, plan, name, number, weights, deadline)
    except Stopped:
        print(f"stopped after {given.minutes:g} minutes; the same command goes on", flush=True)
    for name, plan in plans.items():
        show(given.folder, name, plan)
    if given.results:
        gather(given.folder, given.results)
    return 0


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder or manifest")
    parser.add_argument("--folder", type=pathlib.Path, help="of the studies")
    parser.add_argument("--plans", default="cpu", help=", ".join(PLANS))
    parser.add_argument(
        "--weights", action="append", default=[], metavar="NETWORK=FILE", help="from ImageNet"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that share a study")
    parser.add_argument("--minutes", type=float, default=0, help="then stop; 0: never")
    parser.add_argument("--only-print", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, help="a .zip of what was found")
    parser.add_argument("--pack", type=pathlib.Path, help="make this folder, which can travel")
    parser.add_argument("--side", type=int, default=256, help="px of a packed photograph, at most")
    parser.add_argument("--have", type=pathlib.Path, help="names of packages that are there, lines")
    given, flags = parser.parse_known_args()
    unknown = [name for name in given.plans.split(",") if name not in PLANS]
    if unknown:
        parser.error(f"there is no plan {unknown[0]!r}; there are {', '.join(PLANS)}")
    if not (given.folder or given.pack):
        parser.error("where to? --folder=FOLDER, or --pack=FOLDER")
    if any("=" not in pair for pair in given.weights):
        parser.error("--weights=NETWORK=FILE, such as efficientnet_b0=b0.safetensors")
    return given, flags


def strategies(plan: Plan, weights: dict[str, str]) -> list[str]:
    """Those of a plan that can be done with the weights that are there."""
    found = plan.strategies.split("+")
    return [s for s in found if plan.model in weights or not _base(s).from_weights]


def _base(strategy: str):
    return STRATEGIES[split(strategy)[0]]


def study(given, plan: Plan, name: str, number: int, weights, flags, deadline) -> None:
    """The study of one split, by as many processes as asked for."""
    named = strategies(plan, weights)
    arguments = (
        f"{plan.arguments},data={given.data},strategies={'+'.join(named)},alphas={plan.alphas},"
        f"trials={plan.trials}"
    )
    fields = {"data.split_seed": number, **plan.run}
    fields |= plan.by_split[number] if plan.by_split else {}
    if plan.pretraining:
        shared = given.folder.absolute() / f"pretrain-{plan.pretraining}-split{number}"
        fields["pretrain.directory"] = shared
    if any(_base(strategy).from_weights for strategy in named):
        fields["init.weights"] = weights[plan.model]
    command = [
        f"--config=configs/study.py:{arguments}",
        f"--workdir={folder(given.folder, name, number)}",
        *(f"--config.run.{field}={value}" for field, value in fields.items()),
        *flags,
    ]
    call([command] * given.workers, deadline)


def probe(given, plan: Plan, name: str, number: int, weights, deadline) -> None:
    """Linear probes of what each strategy's fine-tuning starts from; each class weighs the same."""
    for strategy in strategies(plan, weights):
        for alpha, trial in _probes(plan):
            source = _run(given.folder, name, number, strategy, plan, 0)
            path = _probe_file(source, strategy, alpha, trial)
            if path.exists():
                continue
            arguments = f"run={source},alpha={alpha},trial={trial}"
            flag = "--config.balanced=True"
            call([[f"--config=configs/probe.py:{arguments}", flag]], deadline)


def _probes(plan: Plan) -> list[tuple[str, int]]:
    """With all labels every trial's probe would be the first one's again."""
    shares = [format(float(alpha), "g") for alpha in plan.alphas.split("+")]
    return [(a, t) for a in shares for t in range(plan.trials if float(a) < 1 else 1)]


def call(commands: list[list[str]], deadline: float) -> None:
    """Runs `dermjax.main` with each list of arguments, at the same time.

    Raises:
      Stopped: the deadline came; all were told to stop, and have.
      SystemExit: one failed.
    """
    if time.monotonic() > deadline:
        raise Stopped
    print("$ python -m dermjax.main", *commands[0], flush=True)
    environment = dict(os.environ)
    if len(commands) > 1:  # they share the memory of a device
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "dermjax.main", *c], cwd=REPOSITORY, env=environment
        )
        for c in commands
    ]
    try:
        for process in running:
            left = deadline - time.monotonic()
            process.wait(None if left == float("inf") else max(left, 0.0))
    except subprocess.TimeoutExpired:
        _stop(running)
        raise Stopped from None
    failed = [process.returncode for process in running if process.returncode]
    if failed:
        raise SystemExit(f"ended with status {failed[0]}: {' '.join(commands[0])}")


def _stop(running: list[subprocess.Popen]) -> None:
    """Asks all to save and end; what has not within the grace goes on from its last checkpoint."""
    for process in running:
        process.terminate()
    until = time.monotonic() + _GRACE
    for process in running:
        try:
            process.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def folder(root: pathlib.Path, name: str, number: int) -> pathlib.Path:
    """Of the study of one split."""
    return root.absolute() / f"{name}-split{number}"


def _run(
    root, name: str, number: int, strategy: str, plan: Plan, trial: int, alpha=""
) -> pathlib.Path:
    share = float(alpha or plan.alphas.split("+")[0])
    return folder(root, name, number) / RUNS / folder_name(strategy, share, trial)


def _probe_file(source: pathlib.Path, strategy: str, alpha: str, trial: int) -> pathlib.Path:
    encoder = "pretrain" if _base(strategy).pretrains else "start"
    path = RunFolder(epath.Path(source)).probe(encoder, float(alpha), trial, balanced=True)
    return pathlib.Path(path)


def show(root: pathlib.Path, name: str, plan: Plan) -> None:
    """Macro sensitivities of the test images, split by split, and validation's on the way."""
    print(f"\n{name}: macro sensitivity of the test images, trial by trial: mean")
    heads = [f"split {number}" for number in range(plan.splits)]
    print("| | labels | " + " | ".join(heads) + " |\n|---|---|" + "---|" * len(heads))
    for strategy in plan.strategies.split("+"):
        for alpha in plan.alphas.split("+"):
            found = [
                [
                    _results(
                        _run(root, name, number, strategy, plan, trial, alpha) / "results.json"
                    )
                    for trial in range(plan.trials)
                ]
                for number in range(plan.splits)
            ]
            cells = [_cell([r["macro_sensitivity"] for r in trials if r]) for trials in found]
            labels = {r["n"]["train_labelled"] for trials in found for r in trials if r}
            print(f"| {strategy} | {_span(labels)} | {' | '.join(cells)} |")
    print(f"\n{name}: a linear probe of frozen features, validation / test")
    print("| | alpha | " + " | ".join(heads) + " |\n|---|---|" + "---|" * len(heads))
    for strategy in plan.strategies.split("+"):
        for alpha in dict.fromkeys(a for a, _ in _probes(plan)):
            cells = [
                _probe_cell(root, name, number, strategy, plan, alpha)
                for number in range(plan.splits)
            ]
            print(f"| {_frozen(strategy)} | {alpha} | {' | '.join(cells)} |")
    _show_validation(root, name, plan)
    for number in range(plan.splits):
        print(folder(root, name, number) / "report.html")


def _show_validation(root: pathlib.Path, name: str, plan: Plan) -> None:
    """Whether fine-tuning was long enough: mean over splits and trials at each evaluation."""
    print(f"\n{name}: macro sensitivity of the validation images during fine-tuning")
    measure = "validation_macro_sensitivity"
    for strategy in plan.strategies.split("+"):
        for alpha in plan.alphas.split("+"):
            by_step: dict[int, list[float]] = {}
            for number in range(plan.splits):
                for trial in range(plan.trials):
                    run = _run(root, name, number, strategy, plan, trial, alpha)
                    for line in MetricsFile(run / "metrics.jsonl", active=False).read():
                        if line["stage"] == "finetune" and measure in line:
                            by_step.setdefault(line["step"], []).append(line[measure])
            curve = ", ".join(f"{step}: {statistics.mean(v):.3f}" for step, v in by_step.items())
            print(f"{strategy} alpha {alpha}: {curve or 'nothing yet'}")


def _frozen(strategy: str) -> str:
    return "random features" if strategy == "FS" else strategy


def _probe_cell(root, name: str, number: int, strategy: str, plan: Plan, alpha: str) -> str:
    source = _run(root, name, number, strategy, plan, 0)
    trials = [t for a, t in _probes(plan) if a == alpha]
    found = [_results(_probe_file(source, strategy, alpha, trial)) for trial in trials]
    found = [results for results in found if results]
    if not found:
        return "-"
    means = [
        statistics.mean(results[which]["macro_sensitivity"] for results in found)
        for which in ("validation", "test")
    ]
    return " / ".join(f"{mean:.3f}" for mean in means)


def _results(path: pathlib.Path) -> dict | None:
    return json.loads(path.read_text()) if path.exists() else None


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{' '.join(f'{value:.3f}' for value in values)}: {statistics.mean(values):.3f}"


def _span(numbers: set[int]) -> str:
    return "-" if not numbers else "-".join(f"{n:,}" for n in sorted({min(numbers), max(numbers)}))


def gather(root: pathlib.Path, target: pathlib.Path) -> None:
    """All that was found, without what only serves to go on."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(root.rglob("*")):
            place = path.relative_to(root)
            if path.is_file() and not set(place.parts) & set(_LEFT_OUT) and path.suffix != ".npz":
                file.write(path, place)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
