"""A study that nobody ran: folders of finished runs with made-up predictions."""

import copy
import json

import numpy as np
import pandas as pd
from etils import epath

from dermjax.configs import study as config_file
from dermjax.study import plan
from dermjax.study.settings import StudySettings

SKILL = {"SS": 2.6, "SS-IN": 2.9, "IN": 2.2, "FS": 1.2}


def changed(section, **fields):
    """A copy of settings with other fields, such as `report__resamples=100`, unchecked."""
    section = copy.copy(section)
    for name, value in fields.items():
        field, _, rest = name.partition("__")
        value = changed(getattr(section, field), **{rest: value}) if rest else value
        object.__setattr__(section, field, value)
    return section


def write_study(
    folder,
    *,
    argument,
    classes=4,
    images=120,
    patients=None,
    features=8,
    seed=0,
    names=None,
    config=None,
):
    """(settings, runs) of a study whose runs are all done.

    Strategies differ in skill, more labels help, rare classes are harder; patients have up to four
    images, or are as many in each set as `patients`. `config` is that of `argument` by default.
    """
    config = config or config_file.get_config(f"scale=demo,{argument}")
    settings = StudySettings.from_config(config)
    runs = plan.plan(settings, epath.Path(folder))
    rng = np.random.default_rng(seed)
    names = names or [f"disease {i}" for i in range(classes)]
    shares = 0.5 ** np.arange(classes) + 0.02
    tables = {}
    for part, count in (("train", 3 * images), ("validation", images), ("test", images)):
        label = rng.choice(classes, count, p=shares / shares.sum())
        label[:classes] = range(classes)
        people = patients or max(count // 3, 2)
        tables[part] = pd.DataFrame(
            {
                "image": [f"{part}/{i}.jpg" for i in range(count)],
                "patient": [f"{part}{i}" for i in rng.integers(0, people, count)],
                "label": [names[i] for i in label],
                "split": part,
                "sex": rng.choice(["f", "m", ""], count),
                "age": rng.integers(18, 90, count).astype(str),
            }
        )
    sets = pd.concat(tables.values(), ignore_index=True)
    sets["group"] = "patient:" + sets["patient"]
    for number, run in enumerate(runs):
        _write_run(run, names, sets, features, np.random.default_rng([seed, number]))
    return settings, runs


def _write_run(run, names, sets, features, rng):
    run.folder.path.mkdir(parents=True, exist_ok=True)
    train = (sets["split"] == "train").to_numpy()
    # A trial has the same subset for all strategies.
    drawn = np.random.default_rng([run.trial, 7]).random(len(sets))
    labelled = ~train | (drawn < run.alpha)
    sets.assign(labelled=labelled.astype(int)).to_csv(run.folder.path / "splits.csv", index=False)
    for part, file in (("validation", "validation_predictions.csv"), ("test", "predictions.csv")):
        own = sets[sets["split"] == part]
        label = np.array([names.index(name) for name in own["label"]])
        skill = SKILL[run.settings.strategy] * (0.6 + 0.4 * run.alpha) - 0.12 * label
        logits = rng.normal(0, 1, (len(own), len(names)))
        logits[np.arange(len(own)), label] += skill
        shares = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
        table = own[["image", "patient", "label"]].assign(
            predicted=[names[i] for i in shares.argmax(1)],
            **{f"p_{name}": shares[:, i] for i, name in enumerate(names)},
        )
        table.to_csv(run.folder.path / file, index=False)
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (label, shares.argmax(1)), 1)
    centres = np.random.default_rng(0).normal(0, skill.mean(), (len(names), features))
    points = centres[label] + rng.normal(0, 1, (len(label), features))
    np.savez(
        run.folder.path / "test_features.npz",
        features=points.astype(np.float16),
        id=own["image"].to_numpy(str),
    )
    _write_results(run, names, sets, labelled, confusion)


def _write_results(run, names, sets, labelled, confusion):
    hits, n = np.diag(confusion), confusion.sum(1)
    counts = sets["split"].value_counts()
    pretraining = f"pretrain-{run.settings.strategy}" if run.settings.pretrain else None
    results = {
        "task": "run",
        "classes": names,
        "n": {
            **{part: int(counts[part]) for part in ("train", "validation", "test")},
            "train_labelled": int((labelled & (sets["split"] == "train")).sum()),
        },
        "excluded": {"everywhere": 0, "test": 3},
        "allowed": {},
        "accuracy": float(hits.sum() / n.sum()),
        "macro_precision": float(np.mean(hits / np.maximum(confusion.sum(0), 1))),
        "macro_sensitivity": float(np.mean(hits / n)),
        "confusion_matrix": confusion.tolist(),
        "best_step": 100,
        "seconds": {"prepare": 1.0, "finetune": 60.0, "evaluate": 2.0}
        | ({"pretrain": 300.0} if pretraining else {}),
        "weights": {"source": "file.npz", "sha256": 64 * "0"}
        if run.settings.starts_from_weights
        else {"source": "random", "sha256": ""},
        "pretraining": pretraining,
        "versions": {"jax": "0", "flax": "0", "dermjax": "0"},
        "devices": {"kind": "cpu", "count": 1},
        "data_fingerprint": "made up",
    }
    (run.folder.path / "config.json").write_text(json.dumps(run.settings.to_dict()))
    (run.folder.path / "results.json").write_text(json.dumps(results))
