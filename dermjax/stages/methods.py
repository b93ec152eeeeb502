"""The study's methods in words and numbers, from the configs and the records of its runs."""

import json
import statistics
from typing import Any

from ml_collections import ConfigDict

from dermjax.stages.outcomes import Outcomes
from dermjax.stages.planned import VARIANTS

# Rated power of a board, W; an upper bound of what it draws.
_WATTS = {"H100": 700, "H200": 700, "A100": 400, "V100": 300, "L4": 72, "TPU v4": 192}
_DEVIATIONS = (
    "Batch norm and ShuffleBN work by groups of the global batch, not by devices.",
    "Fine-tuning's optimizer, learning rate, batch, augmentation ranges and rule of selection are "
    "this project's: the paper does not give them.",
    "Whole crops are squeezed to a square in evaluation.",
)


def describe(config: ConfigDict, outcomes: Outcomes) -> dict[str, list[tuple[str, str]]]:
    """By heading: names and values."""
    run, first = config.run, outcomes.runs[0].results
    described = {
        "Data": _data(config, outcomes),
        "Network": [
            ("network", run.model.name),
            ("longest side of a crop", f"{run.data.max_side} px"),
            ("dropout, stochastic depth", f"{run.model.drop_rate}, {run.model.drop_path_rate}"),
            *_starts(outcomes),
        ],
    }
    if any(one.planned.config.strategy == "SS" for one in outcomes.runs):
        described["Pretraining (SS): MoCo-v2 on all training images, labels unused"] = _fields(
            run.pretrain
        )
    described["Fine-tuning (all strategies)"] = _fields(run.finetune)
    strategies = {one.planned.strategy for one in outcomes.runs}
    if named := [name for name in VARIANTS if any(s.endswith(f"-{name}") for s in strategies)]:
        described["Fine-tuning for rare classes"] = [
            (name, ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in VARIANTS[name].items()))
            for name in named
        ]
    described["Statistics"] = _statistics(config, outcomes)
    described["Machine and cost"] = _cost(outcomes)
    described["Software"] = [(name, version) for name, version in first["versions"].items()]
    described["Deviations from the paper"] = [
        (f"{i + 1}", text) for i, text in enumerate(_deviations(run))
    ]
    return described


def checklist(outcomes: Outcomes) -> list[tuple[str, str]]:
    """Questions of a reader, and where the answer is; '' for what only the authors know."""
    excluded = outcomes.runs[0].results["excluded"]
    return [
        ("Where do the photographs come from, and who may use them?", ""),
        ("How was the reference label made, by whom, with histology in which share?", ""),
        ("Which patients are these (ages, skin types, sites)?", "Subgroups; audit.html of a run"),
        ("How many images and patients in each set?", "Methods, data"),
        ("Is anybody in two sets?", "No, or by the leave that is listed in Methods, data"),
        (
            "What was left out, and why?",
            f"{excluded['everywhere']} images everywhere, {excluded['test']} of the test set; the "
            "reason is for the authors to say",
        ),
        ("How were images prepared?", "Methods, network and fine-tuning"),
        ("Which weights did training start from?", "Methods, network"),
        ("How was the model selected?", "Methods, fine-tuning: `select`, on validation images"),
        ("Was the test set used before?", "By this study once in each run; else the authors say"),
        ("Measures with intervals?", "Strategies, Differences, Ranking, Calibration, Subgroups"),
        ("Is it calibrated?", "Calibration"),
        ("For whom does it work worse?", "Subgroups"),
        ("How does it compare with dermatologists?", ""),
        ("External validation, at another clinic or camera?", ""),
        ("What is the intended use, and what happens with unknown diseases?", ""),
        ("Is code, data and model available?", ""),
    ]


def _statistics(config: ConfigDict, outcomes: Outcomes) -> list[tuple[str, str]]:
    """Which variances the figures hold, and how."""
    trials = {len(outcomes.of(s, a)) for s in outcomes.strategies() for a in outcomes.alphas()}
    both = (
        "95 %, over other test patients AND other trainings: patients by the jackknife, trainings "
        "by the trials' variance, together as readers and cases are (Obuchowski & Rockette 1995, "
        "degrees of freedom by Satterthwaite)"
    )
    alone = (
        "95 %, over other test patients alone: of these trained networks; a single trial does not "
        "show what another training changes"
    )
    found = []
    if max(trials) > 1:
        found.append(("intervals of strategies (two trials or more)", both))
    if min(trials - {0}) == 1:
        found.append(("intervals of a single trial", alone))
    found += [
        (
            "ends of intervals",
            "of measures in [0, 1] the modified Jeffreys interval at the effective number of "
            "images (Brown et al. 2001; Korn & Graubard 1998), never of no width; none where a "
            "single patient stands behind a measure",
        ),
        (
            "rare classes in macro means",
            "the variance of a class of few patients is drawn towards that of all classes",
        ),
        (
            "tests",
            "of strategies: Student's t with both variances, each strategy's own over trainings "
            "(Welch), over the trials that both have; Holm over all pairs and shares in one "
            "measure",
        ),
        (
            "errors of calibration",
            f"basic bootstrap intervals of {config.report.resamples:,} draws of the test patients, "
            f"seed {config.report.seed}; over patients alone",
        ),
    ]
    if shared := pretrainings_in_words(outcomes):
        found.append(("pretraining", shared))
    return found


def pretrainings_in_words(outcomes: Outcomes) -> str:
    """Which part of a pretraining's chance is in the figures; '' where none is pretrained."""
    own = [run for run in outcomes.runs if run.results["pretraining"]]
    count = len({run.results["pretraining"] for run in own})
    if not own:
        return ""
    trials = len({run.planned.trial for run in own})
    if trials == 1:
        return (
            "There is one trial with one pretraining: what another pretraining would change is in "
            "no figure."
        )
    if count == 1:
        return (
            f"All {trials} trials with pretraining share one: what another pretraining would "
            "change is in no figure (pretrainings=" + str(trials) + " gives each its own)."
        )
    if count == trials:
        return f"Each of the {trials} trials has a pretraining of its own: its chance is in them."
    return f"{len(own)} runs start from {count} different pretrainings."


def _data(config: ConfigDict, outcomes: Outcomes) -> list[tuple[str, str]]:
    first = outcomes.runs[0].results
    n, data = first["n"], config.run.data
    labelled = {
        one.planned.alpha: f"{one.planned.alpha:g}: {one.results['n']['train_labelled']:,}"
        for one in outcomes.runs
    }
    allowed = [f"{len(ids)} {name}" for name, ids in first["allowed"].items()]
    return [
        ("source", data.source),
        ("fingerprint", first["data_fingerprint"]),
        (
            "training, validation, test images",
            f"{n['train']:,}, {n['validation']:,}, {n['test']:,}",
        ),
        ("labelled at each share (first trial)", "; ".join(labelled[a] for a in sorted(labelled))),
        ("test patients (groups)", f"{len(set(outcomes.groups)):,}"),
        (
            "sets",
            "as the data name them"
            if data.official_split
            else f"by patient, seed {data.split_seed}, unless the table names them",
        ),
        (
            "kept together",
            "patients, lesions, identical files"
            + (
                f", near duplicates (perceptual hashes within {data.near_duplicates} of 256 bits)"
                if data.near_duplicates
                else ""
            ),
        ),
        ("in two sets by leave", ", ".join(allowed) or "nothing"),
        (
            "left out",
            f"{first['excluded']['everywhere']:,} images everywhere, {first['excluded']['test']:,} "
            "of the test set",
        ),
    ]


def _starts(outcomes: Outcomes) -> list[tuple[str, str]]:
    """What each strategy's first stage started from."""
    found = {}
    for one in outcomes.runs:
        weights = one.results["weights"]
        sha = f", sha256 {weights['sha256'][:12]}" if weights["sha256"] else ""
        found[f"{one.planned.strategy} starts from"] = f"{weights['source']} weights{sha}"
    return list(found.items())


def _fields(stage: ConfigDict) -> list[tuple[str, str]]:
    """Every field of a stage; those of its parts in one line each."""
    return [
        (
            name.replace("_", " "),
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, ConfigDict)
            else str(value),
        )
        for name, value in sorted(stage.items())
        if name not in ("directory", "report_every", "save_every")
    ]


def _cost(outcomes: Outcomes) -> list[tuple[str, str]]:
    """Hours by stage; shared pretrainings count once."""
    results = [one.results for one in outcomes.runs]
    devices = sorted({f"{r['devices']['count']} x {r['devices']['kind']}" for r in results})
    seconds: dict[str, float] = {}
    for stage in ("prepare", "finetune", "evaluate"):
        seconds[stage] = sum(r["seconds"].get(stage, 0) for r in results)
    pretrained = {r["pretraining"]: r["seconds"]["pretrain"] for r in results if r["pretraining"]}
    seconds["pretrain"] = sum(pretrained.values())
    lines = [("devices", ", ".join(devices))]
    lines += [(f"{stage}, hours", f"{value / 3600:.2f}") for stage, value in seconds.items()]
    each = [r["seconds"]["finetune"] for r in results]
    lines.append(("fine-tuning of a run, minutes", f"{statistics.mean(each) / 60:.1f}"))
    return [*lines, ("energy", _energy(results, sum(seconds.values())))]


def _energy(results: list[dict[str, Any]], seconds: float) -> str:
    """kWh at the boards' rated power."""
    device = results[0]["devices"]
    watts = next((w for name, w in _WATTS.items() if name in device["kind"]), None)
    if watts is None:
        return f"not estimated: the rated power of {device['kind']} is not known here"
    kwh = seconds / 3600 * watts * device["count"] / 1000
    return f"at most {kwh:.1f} kWh of the devices ({watts} W each, rated), without the host"


def _deviations(run: ConfigDict) -> list[str]:
    """What is not as the paper has it."""
    found = list(_DEVIATIONS)
    if run.scale != "paper":
        found.insert(
            0,
            f"Scale {run.scale}: {run.model.name}, {run.finetune.image_size} px, "
            f"{run.finetune.steps:,} iterations; the paper has EfficientNet-B4, 512 px, 27,000.",
        )
        settings = {k: run.pretrain[k] for k in ("optimizer", "batch_size", "steps", "queue_size")}
        found.append(f"Pretraining with {json.dumps(settings)}; the authors' values are others.")
    return found
