"""Which recipe of pretraining learns most from a core's hour? Successive halving on validation.

    python tests/benchmarks/recipes.py --data=FOLDER --folder=runs/recipes
    python tests/benchmarks/recipes.py --data=FOLDER --folder=runs/recipes --weights=FILE \
        --model=tf_efficientnet_lite0 --size=64   # from ImageNet weights

Every setting of SETTINGS pretrains on the training images for about the same seconds of a core
(--pairs of the base setting, fewer of dearer ones); the better third goes on with --growth times as
many, again and again, from the beginning, as the learning rate's cosine depends on the length. The
score is the mean of three balanced accuracies on the validation images: nearest neighbours and
logistic regression among all labelled training images, and logistic regression among a tenth of
them. The test set is not touched. Rows are kept in FOLDER/rows.jsonl as they come, what is there is
not done again, and a pretraining that was stopped goes on.
"""

import argparse
import json
import pathlib
import time

import numpy as np
from _silent import Silent
from etils import epath
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dermjax.cli import command_line
from dermjax.configs import common
from dermjax.experiment import networks
from dermjax.experiment.context import RunContext
from dermjax.experiment.dataset import prepare
from dermjax.experiment.predictor import Predictor
from dermjax.experiment.pretrain import pretrain
from dermjax.runs.locations import cache_dir
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings
from dermjax.training import compile_cache, parallel

BASE = {
    "batch_size": 128,
    "bn_groups": 1,
    "head_norm": True,
    "hidden_dim": 512,
    "learning_rate": 3e-3,
    "momentum": 0.99,
    "momentum_end": 0.999,
    "warmup_steps": 20,
    "augment.crop_scale": (0.3, 1.0),
    "augment.hue": 0.02,
    "augment.saturation": 0.1,
    "augment.grayscale_probability": 0.0,
}
MOCO_COLOUR = {
    "augment.hue": 0.1,
    "augment.saturation": 0.4,
    "augment.grayscale_probability": 0.2,
}
# What each setting changes; `cost` is the time of a pair, of the base's.
SETTINGS = {
    "base": {},
    "MoCo-v2's colour": MOCO_COLOUR,
    "MoCo-v2's colour and crops": {**MOCO_COLOUR, "augment.crop_scale": (0.2, 1.0)},
    "no hue, no saturation": {"augment.hue": 0.0, "augment.saturation": 0.0},
    "brightness, contrast .4": {"augment.brightness": 0.4, "augment.contrast": 0.4},
    "crops from .08": {"augment.crop_scale": (0.08, 1.0)},
    "crops from .15": {"augment.crop_scale": (0.15, 1.0)},
    "crops from .5": {"augment.crop_scale": (0.5, 1.0)},
    "no rotation": {"augment.rotation": 0.0, "augment.flip_vertical": 0.0},
    "no blur": {"augment.blur_probability": 0.0},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "learning rate 1e-2": {"learning_rate": 1e-2},
    "learning rate 2e-2": {"learning_rate": 2e-2},
    "temperature .1": {"temperature": 0.1},
    "temperature .4": {"temperature": 0.4},
    "momentum .9": {"momentum": 0.9},
    "momentum .996": {"momentum": 0.996},
    "batch 64": {"batch_size": 64},
    "batch 256, learning rate 6e-3": {"batch_size": 256, "learning_rate": 6e-3},
    "no batch norm in the head": {"head_norm": False},
    "no batch norm in the head, 8 groups": {"head_norm": False, "bn_groups": 8},
    "symmetric": {"symmetric": True, "cost": 2.0},
    "queue of 1024": {"queue_size": 1024},
    "queue of 1024 alone": {"queue_size": 1024, "batch_negatives": False, "bn_groups": 8},
    "weight decay 1e-4": {"weight_decay": 1e-4},
    "SGD .1": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4},
    "32 px": {"image_size": 32, "cost": 0.45},
    "64 px": {"image_size": 64, "cost": 1.8},
    "positives of the lesion": {"positives": "lesion"},
    "positives of the patient": {"positives": "patient"},
}


def main() -> None:
    """Does what is missing, rung by rung, and prints each rung's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder or manifest, or `synthetic`")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--model", default="efficientnet_mini")
    parser.add_argument("--size", type=int, default=48, help="px of a view")
    parser.add_argument("--weights", default="", help="start from these, not from random ones")
    parser.add_argument("--base", default="{}", help="JSON: fields of the base that differ")
    parser.add_argument("--pairs", type=int, default=25_000, help="of the base at the first rung")
    parser.add_argument("--growth", type=int, default=3, help="of pairs from rung to rung")
    parser.add_argument("--rungs", type=int, default=3)
    parser.add_argument("--settings", default="", help="names, separated by ;, instead of all")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in given.settings.split(";") if name] or list(SETTINGS)
    for rung in range(given.rungs):
        pairs = given.pairs * given.growth**rung
        rows = [measured(given, name, pairs) for name in names]
        rows.sort(key=lambda row: -row["score"])
        show(rows, f"rung {rung + 1}: {pairs:,} pairs of the base")
        names = [row["setting"] for row in rows[: max(1, len(rows) // given.growth)]]


def measured(given: argparse.Namespace, name: str, pairs: int) -> dict:
    """A setting's row, from the file or made now."""
    path = given.folder / "rows.jsonl"
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for row in known:
        if (row["setting"], row["pairs"]) == (name, pairs):
            return row
    row = {"setting": name, "pairs": pairs, **run(given, name, pairs)}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(_line(row), flush=True)
    return row


def run(given: argparse.Namespace, name: str, pairs: int) -> dict:
    """Pretrains by a setting, and measures the encoder."""
    changes = {**BASE, **json.loads(given.base), **SETTINGS[name]}
    cost = changes.pop("cost", 1.0)
    settings = RunSettings.from_config(make_config(given, changes, pairs / cost))
    compile_cache.keep_compiled(cache_dir(settings.data.cache_dir) / "xla")
    devices, writer = parallel.all_devices(), Silent()
    dataset, beginning = prepare(settings, writer), networks.begin(settings, writer)
    folder = RunFolder(epath.Path(given.folder) / "run")
    context = RunContext(settings, dataset, devices, beginning, folder, writer)
    used = time.process_time()
    done = pretrain(context)
    used = time.process_time() - used
    scores = measure(context, done.encoder)
    last = [line for line in done.metrics if "loss" in line][-1]
    found = {field: last[field] for field in ("loss", "positive_similarity", "key_std")}
    return {**scores, **found, "steps": settings.pretraining.steps, "core_seconds": round(used)}


def make_config(given: argparse.Namespace, changes: dict, pairs: float):
    """The config of a pretraining alone."""
    argument = f"scale=demo,model={given.model},alpha=0.1"
    config = common.make_config("SS", argument)
    config.data.source, config.task, config.control = given.data, "pretrain", False
    config.pretrain.image_size = given.size
    if given.weights:
        config.init.weights, config.pretrain.init = given.weights, "imagenet"
    for field, value in changes.items():
        *sections, last = field.split(".")
        section = config.pretrain
        for part in sections:
            section = section[part]
        section[last] = tuple(value) if isinstance(value, list) else value
    stage = config.pretrain
    stage.steps = round(pairs / stage.batch_size)
    stage.report_every = 20
    stage.save_every = stage.steps // 20 * 20 or 20
    stage.monitor.every = stage.save_every
    return config


def measure(run: RunContext, encoder) -> dict[str, float]:
    """Balanced accuracies on validation, of frozen features."""
    settings, dataset = run.settings, run.dataset
    predictor = Predictor(
        networks.make_encoder(settings, run.devices),
        dataset,
        run.devices,
        run.preprocessing,
        image_size=settings.pretraining.image_size,
        batch_size=settings.evaluate.batch_size,
    )
    sets = {split: np.flatnonzero(dataset.split == split) for split in ("train", "validation")}
    features = {split: predictor(encoder, rows) for split, rows in sets.items()}
    labels = {split: dataset.labels[rows] for split, rows in sets.items()}
    few = np.isin(sets["train"], dataset.rows("train", labelled=True))
    every = np.ones_like(few)
    scores = {"knn": neighbours(features, labels)}
    for name, kept in (("probe_tenth", few), ("probe_all", every)):
        scores[name] = max(
            balanced_accuracy_score(
                labels["validation"],
                make_pipeline(
                    StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=300)
                )
                .fit(features["train"][kept], labels["train"][kept])
                .predict(features["validation"]),
            )
            for c in (1e-3, 1e-2, 1e-1)
        )
    scores["score"] = float(np.mean(list(scores.values())))
    return {name: round(float(value), 4) for name, value in scores.items()}


def neighbours(features: dict, labels: dict, k: int = 20, temperature: float = 0.1) -> float:
    """Balanced accuracy of nearest neighbours whose votes are divided by their class's images."""
    unit = {name: f / np.linalg.norm(f, axis=1, keepdims=True) for name, f in features.items()}
    similar = unit["validation"] @ unit["train"].T
    nearest = np.argsort(-similar, 1)[:, :k]
    weights = np.exp(np.take_along_axis(similar, nearest, 1) / temperature)
    counts = np.bincount(labels["train"])
    voted = labels["train"][nearest]
    votes = np.stack([(weights * (voted == c)).sum(1) / n for c, n in enumerate(counts)], 1)
    return balanced_accuracy_score(labels["validation"], votes.argmax(1))


def show(rows: list[dict], title: str) -> None:
    """A rung's table, best first."""
    print(
        f"\n{title}\n| setting | kNN | probe, a tenth | probe, all | mean | loss | core seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(_line(row))
    print(flush=True)


def _line(row: dict) -> str:
    scores = " | ".join(f"{row[n]:.3f}" for n in ("knn", "probe_tenth", "probe_all", "score"))
    return f"| {row['setting']} | {scores} | {row['loss']:.2f} | {row['core_seconds']} |"


if __name__ == "__main__":
    command_line.restart_with_huge_pages()  # as `dermjax.main` does
    main()
