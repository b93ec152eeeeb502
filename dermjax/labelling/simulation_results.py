"""What a simulation says: each method against random choice, over seeds and validation patients.

The one question of each method is whether its macro sensitivity, averaged over the rounds after
the first labels, exceeds that of random choice from the same first labels. Seeds differ in these
labels and in what is drawn; the differences of the seeds are independent, so that their own
variance counts (as of paired readers), together with the variance over validation patients
(`statistics.measurement`). p is Holm's over the methods.

Letters: S seeds, R rounds, V validation images, N classes.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dermjax.labelling.methods import RANDOM
from dermjax.labelling.rehearsal import Arm, Rehearsal
from dermjax.labelling.settings import PROBE
from dermjax.report.numbers import number, p_value, signed, signed_span
from dermjax.runs.json_numbers import or_none
from dermjax.statistics import classification, comparison, intervals
from dermjax.statistics.intervals import Estimate
from dermjax.statistics.measurement import ByClass, Measurement

LEVEL = 0.05  # of p, adjusted
_RARE = 0.5  # of an equal share of the images: below, a class is rare


def compare(rehearsal: Rehearsal, arms: Mapping[str, Sequence[Arm]]) -> dict[str, Any]:
    """Curves, differences, labels needed and rare images found, ready for JSON.

    Args:
      arms: of each method, random among them, the arms of the same seeds.
    """
    predicted = {name: np.stack([arm.predicted for arm in own]) for name, own in arms.items()}
    by_class = {name: _by_class(rehearsal, one) for name, one in predicted.items()}
    curves = {name: [one.macro() for one in own] for name, own in by_class.items()}
    means = {name: [one.value for one in own] for name, own in curves.items()}
    others = [name for name in arms if name != RANDOM]
    overall = {
        name: paired(averaged(by_class[name][1:]), averaged(by_class[RANDOM][1:]))
        for name in others
    }
    p = comparison.holm(np.array([_known_p(overall[name]) for name in others]))
    rare = rare_classes(rehearsal.truth, len(rehearsal.classes))
    methods = {}
    for name, own in arms.items():
        methods[name] = {
            "macro_sensitivity": [_interval(one.strategy()) for one in curves[name]],
            "needs_for_random_s_last": or_none(
                reached(rehearsal.counts, means[name], means[RANDOM][-1])
            ),
            "random_needs_for_its_last": or_none(
                reached(rehearsal.counts, means[RANDOM], means[name][-1])
            ),
            "rare_found": _interval(_mean([_count(rehearsal, arm, rare) for arm in own])),
        }
        if name != RANDOM:
            methods[name] |= {
                "difference": _interval(overall[name].strategy()),
                "p": _known_p(overall[name]),
                "p_holm": float(p[others.index(name)]),
                "difference_by_round": [
                    _interval(paired(one, other).strategy())
                    for one, other in zip(by_class[name], by_class[RANDOM], strict=True)
                ],
            }
    return {
        "labels": rehearsal.counts,
        "seeds": len(arms[RANDOM]),
        "per_patient": rehearsal.pool.per_patient,
        "classes": list(rehearsal.classes),
        "rare_classes": [rehearsal.classes[k] for k in rare],
        "n": _sizes(rehearsal),
        "methods": methods,
        "best": best_of(methods),
    }


def averaged(parts: Sequence[ByClass]) -> ByClass:
    """The mean of a measure over several rounds of the same seeds and images."""
    return dataclasses.replace(
        parts[0],
        values=np.mean([one.values for one in parts], axis=0),
        influences=np.mean([one.influences for one in parts], axis=0),
    )


def paired(first: ByClass, second: ByClass) -> Measurement:
    """First minus second in the macro mean, seeds being pairs: both begin with the same labels."""
    found = first.minus(second).macro()
    return dataclasses.replace(found, others=(), bounded=False, least=-1.0)


def best_of(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """The method that beats chance by most; `random` where none does."""
    better = {
        name: one["difference"]["value"]
        for name, one in methods.items()
        if name != RANDOM and one["p_holm"] < LEVEL and one["difference"]["value"] > 0
    }
    return max(better, key=lambda name: better[name]) if better else RANDOM


def reached(counts: Sequence[int], curve: Sequence[float], target: float) -> float:
    """Labels at which a curve reaches a target, between its points by a straight line.

    Args:
      counts: labels, ascending.
      curve: the measure at these; a fall is taken as chance, and what was reached before counts.

    Returns:
      NaN where it is not reached.
    """
    highest = np.maximum.accumulate(np.asarray(curve, float))
    if not highest[-1] >= target:
        return math.nan
    place = int(np.argmax(highest >= target))
    if place == 0:
        return float(counts[0])
    low, high = highest[place - 1], highest[place]
    share = (target - low) / (high - low)
    return float(counts[place - 1] + share * (counts[place] - counts[place - 1]))


def rare_classes(truth: np.ndarray, classes: int) -> list[int]:
    """The classes with less than half of an equal share of the images; at least the rarest one."""
    counts = np.bincount(truth, minlength=classes)
    there = np.flatnonzero(counts)
    rare = there[counts[there] < _RARE * len(truth) / len(there)]
    return rare.tolist() if len(rare) else [int(there[np.argmin(counts[there])])]


def name_of(classifier: str) -> str:
    """The files' name, without its end, of a simulation whose labels a classifier learns from."""
    return "simulation" if classifier == PROBE else f"simulation_{classifier}"


def supported(
    directory: epath.Path, classifier: str, encoder: str, default: str
) -> tuple[str, str]:
    """The method that a simulation in a folder speaks for, and why, in words.

    Args:
      directory: with the simulation's JSON, or without.
      classifier: what says what is uncertain: a simulation of another one says nothing of it.
      encoder: whose features are chosen by: a simulation of other ones says nothing of them.
      default: taken where there was no simulation.
    """
    path = directory / f"{name_of(classifier)}.json"
    if not path.exists():
        return default, "for nobody has tried the methods on labels of this run (trial=simulate)"
    try:
        results = json.loads(path.read_text())
        of, best = results["encoder"], results["best"]
        labels = results["labels"]
    except (json.JSONDecodeError, KeyError):
        raise ValueError(f"{path} is damaged: remove it, or run trial=simulate again") from None
    if of != encoder:
        return default, f"for the simulation is of the features of encoder={of}"
    if best == RANDOM:
        return RANDOM, "for no method beat chance in the simulation"
    found = results["methods"][best]["difference"]
    gain = f"{signed(found['value'])} {signed_span(found['low'], found['high'])}"
    return best, (
        f"which beat random choice in the simulation: {gain} macro sensitivity on average from "
        f"{labels[1]:,} to {labels[-1]:,} labels"
    )


def summary(results: Mapping[str, Any]) -> str:
    """The comparison in the terminal."""
    lines = [
        f"{'method':11} {'- random':>9} {'95 %':>16} {'p, Holm':>8} {'at the end':>10} "
        f"{'rare found':>10}"
    ]
    for name, one in results["methods"].items():
        rest = f"{number(one['macro_sensitivity'][-1]['value'], 3):>10} " + (
            f"{one['rare_found']['value']:>10.1f}"
        )
        if name == RANDOM:
            lines.append(f"{name:11} {'':>9} {'':>16} {'':>8} {rest}")
            continue
        found = one["difference"]
        span = signed_span(nan_of(found["low"]), nan_of(found["high"]))
        lines.append(
            f"{name:11} {signed(nan_of(found['value'])):>9} {span:>16} "
            f"{p_value(one['p_holm']):>8} {rest}"
        )
    best = results["best"]
    verdict = "no method beats chance" if best == RANDOM else f"{best} beats chance"
    return "\n".join([*lines, "", f"{verdict} (Holm over the methods, {LEVEL:g})"])


def nan_of(value: float | None) -> float:
    """A number of JSON, where NaN is null."""
    return math.nan if value is None else value


def _by_class(rehearsal: Rehearsal, predicted: np.ndarray) -> list[ByClass]:
    """Sensitivities of `[S, R + 1, V]` predictions, one of each round."""
    return [
        classification.by_class(
            "sensitivity",
            rehearsal.labels,
            predicted[:, number],
            rehearsal.patients,
            len(rehearsal.classes),
        )
        for number in range(predicted.shape[1])
    ]


def _known_p(found: Measurement) -> float:
    """p of a difference; 1 where there is none, as with a single validation patient."""
    p = found.p_strategy()
    return 1.0 if math.isnan(p) else p


def _count(rehearsal: Rehearsal, arm: Arm, rare: Sequence[int]) -> int:
    """Images of rare classes that were chosen."""
    return int(np.isin(rehearsal.truth[arm.chosen.ravel()], rare).sum())


def _mean(values: Sequence[float]) -> Estimate:
    """The mean over seeds, with Student's interval."""
    array = np.asarray(values, float)
    return intervals.student(array.mean(), array.var(ddof=1) / len(array), len(array) - 1)


def _interval(found: Estimate) -> dict[str, float | None]:
    return {"value": or_none(found.value), "low": or_none(found.low), "high": or_none(found.high)}


def _sizes(rehearsal: Rehearsal) -> dict[str, int]:
    return {
        "train": len(rehearsal.truth),
        "train_patients": len(np.unique(rehearsal.pool.patients)),
        "rare": int(
            np.isin(rehearsal.truth, rare_classes(rehearsal.truth, len(rehearsal.classes))).sum()
        ),
        "validation": len(rehearsal.labels),
        "validation_patients": len(np.unique(rehearsal.patients)),
    }
