"""A study's frames of made-up answers: pairs are of the same trials, intervals have a width."""

import itertools
import types

import numpy as np
import pandas as pd
import pytest

from dermjax.study import tables
from dermjax.study.results import Outcome, Outcomes


def outcomes_of(labels, groups, classes, runs):
    """Outcomes of `{(strategy, alpha, trial): answers [B]}`, each answer of probability .9."""
    made = []
    for (strategy, alpha, trial), answers in runs.items():
        shares = np.full((len(labels), classes), 0.1 / max(classes - 1, 1))
        shares[np.arange(len(labels)), answers] = 0.9 if classes > 1 else 1
        made.append(
            Outcome(
                planned=types.SimpleNamespace(strategy=strategy, alpha=alpha, trial=trial),
                results={},
                probabilities=shares.astype(np.float32),
                validation_probabilities=np.full((2, classes), 1 / classes, np.float32),
                validation_labels=np.zeros(2, int),
                labelled=np.ones(classes, int),
            )
        )
    return Outcomes(
        classes=tuple(f"class {i}" for i in range(classes)),
        images=np.array([f"{i}.jpg" for i in range(len(labels))]),
        labels=np.asarray(labels),
        groups=np.array([f"patient:{name}" for name in groups]),
        columns=pd.DataFrame({"sex": ["f"] * len(labels)}),
        runs=tuple(made),
        planned=tuple(dict.fromkeys(strategy for strategy, _, _ in runs)),
    )


def frames_of(outcomes, resamples=50):
    report = types.SimpleNamespace(resamples=resamples, seed=0)
    config = types.SimpleNamespace(report=report)
    cells = tables.make_cells(outcomes, tables.make_weights(config, outcomes))
    return {
        "overall": tables.overall(cells, lambda cells, *_: cells),
        "by_class": tables.by_class(cells),
        "pairs": tables.pairs(cells),
        "subgroups": tables.by_subgroup(cells, ["sex"], 1),
    }


def no_interval_is_of_no_width(frames):
    looked_at = 0
    for frame in frames.values():
        for name in (name.removesuffix("_low") for name in frame if name.endswith("_low")):
            low, high = frame[f"{name}_low"].to_numpy(float), frame[f"{name}_high"].to_numpy(float)
            assert ((high - low > 1e-3) | (np.isnan(low) & np.isnan(high))).all(), name
            if name in frame and "ece" not in name:  # whose values may lie above theirs
                value = frame[name].to_numpy(float)
                assert ((low <= value) & (value <= high) | np.isnan(low)).all(), name
            looked_at += len(low)
    assert looked_at > 20


def answers(rng, labels, share, classes):
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < share, labels, wrong)


@pytest.mark.parametrize("gone", [("IN", 0), ("SS", 1), ("IN", 2)])
def test_strategies_are_compared_in_the_trials_that_both_have(gone):
    """Identical predictions, one trial of one strategy missing: no difference, whichever it is."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 120), rng.integers(0, 40, 120)
    runs = {}
    for trial in range(3):
        same = answers(rng, labels, 0.5 + 0.15 * trial, 3)
        runs |= {(strategy, 0.5, trial): same for strategy in ("SS", "IN")}
    del runs[gone[0], 0.5, gone[1]]
    outcomes = outcomes_of(labels, groups, 3, runs)
    pairs = tables.pairs(tables.make_cells(outcomes, None))
    assert (pairs["difference"] == 0).all()
    for name in ("p", "p_holm", "networks_p", "networks_p_holm"):
        assert (pairs[name] == 1).all()
    shared = [trial for trial in range(3) if trial != gone[1]]
    assert (pairs["trial_numbers"] == " ".join(map(str, shared))).all()
    assert (pairs["mcnemar_p"] == "1 1").all()


def test_the_sign_of_a_difference_does_not_hang_on_which_run_is_missing():
    rng = np.random.default_rng(1)
    labels, groups = rng.integers(0, 3, 150), np.arange(150)
    shares = {"SS": 0.9, "IN": 0.6, "FS": 0.4}
    runs = {
        (strategy, 0.5, trial): answers(rng, labels, share, 3)
        for trial, (strategy, share) in itertools.product(range(3), shares.items())
    }
    for gone in runs:
        rest = [key for key in runs if key != gone]
        outcomes = outcomes_of(labels, groups, 3, {key: runs[key] for key in rest})
        outcomes = Outcomes(**{**vars(outcomes), "planned": ("SS", "IN", "FS")})
        pairs = tables.pairs(tables.make_cells(outcomes, None))
        own = pairs[pairs["measure"] == "accuracy"]
        compared = list(zip(own["first"], own["second"], strict=True))
        assert compared == [("SS", "IN"), ("SS", "FS"), ("IN", "FS")]
        assert (own["difference"] > 0).all()


def test_strategies_without_a_common_trial_are_not_compared():
    labels = np.array([0, 1, 0, 1])
    runs = {("SS", 0.5, 0): labels, ("IN", 0.5, 1): 1 - labels}
    frames = frames_of(outcomes_of(labels, range(4), 2, runs))
    assert len(frames["pairs"]) == 0 and len(frames["overall"]) == 2


def test_large_differences_are_significant_among_sixty_comparisons():
    """Ten shares, four strategies: a p of 2 / (R + 1) times 60 never was below .05."""
    rng = np.random.default_rng(2)
    labels, groups = rng.integers(0, 3, 300), np.arange(300) // 2
    shares = {"SS": 0.93, "SS-logit": 0.8, "IN": 0.65, "FS": 0.45}
    alphas = np.round(np.arange(1, 11) / 10, 1)
    runs = {
        (strategy, alpha, trial): answers(rng, labels, share, 3)
        for trial, alpha, (strategy, share) in itertools.product(range(3), alphas, shares.items())
    }
    outcomes = outcomes_of(labels, groups, 3, runs)
    pairs = tables.pairs(tables.make_cells(outcomes, None))
    assert (pairs.groupby("measure").size() == 60).all()
    assert (pairs["networks_p_holm"] < 0.05).mean() > 0.95
    assert (pairs["p_holm"] < 0.05).mean() > 0.8
    assert pairs["networks_p_holm"].min() < 1e-6


def test_a_single_trial_has_no_p_of_strategies():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 90)
    one = {("SS", 1.0, 0): answers(rng, labels, 0.9, 3), ("FS", 1.0, 0): answers(rng, labels, 0, 3)}
    frames = frames_of(outcomes_of(labels, np.arange(90), 3, one))
    pairs = frames["pairs"]
    assert pairs["p"].isna().all() and pairs["p_holm"].isna().all()
    assert (pairs["networks_p_holm"] < 1e-6).all()
    assert (pairs["low"] == pairs["networks_low"]).all()
    two = one | {("SS", 1.0, 1): answers(rng, labels, 0.8, 3), ("FS", 1.0, 1): labels * 0}
    both = frames_of(outcomes_of(labels, np.arange(90), 3, two))
    for frame, name in ((both["pairs"], ""), (both["overall"], "accuracy_")):
        assert (frame[f"{name}low"] <= frame[f"{name}networks_low"]).all()
        assert (frame[f"{name}high"] >= frame[f"{name}networks_high"]).all()
    assert both["pairs"]["p"].notna().all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize(
    "labels, groups, classes",
    [
        ([0, 1], "ab", 2),  # two test images
        ([0, 0], "ab", 1),  # one class
        ([0] * 15 + [1], "abcdefghijklmnop", 5),  # a class of one patient, and classes of none
        ([0, 1, 2, 0], "aaaa", 4),  # one patient
        ([0, 1, 0, 1, 2, 2], "ababab", 3),  # two patients with images of all classes
    ],
)
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_tiny_studies_have_no_interval_of_no_width(labels, groups, classes, trials, share):
    rng, labels = np.random.default_rng(0), np.array(labels)
    runs = {
        (strategy, 1.0, trial): answers(rng, labels, share if classes > 1 else 1, max(classes, 2))
        for trial in range(trials)
        for strategy in ("SS", "FS")
    }
    frames = frames_of(outcomes_of(labels, groups, classes, runs))
    no_interval_is_of_no_width(frames)
    rare = frames["by_class"][frames["by_class"]["patients"] < 2]
    assert rare[["sensitivity_low", "sensitivity_high", "f1_low"]].isna().all(axis=None)
    if len(set(groups)) == 1:
        ends = frames["overall"].filter(regex="_(low|high)$")
        assert ends.isna().all(axis=None) and frames["pairs"]["networks_p"].isna().all()


def test_top_3_needs_more_than_three_classes():
    for classes in (2, 3, 4):
        labels = np.arange(12) % classes
        frames = frames_of(outcomes_of(labels, range(12), classes, {("FS", 1.0, 0): labels}))
        assert ("top3" in frames["overall"]) == (classes > 3)
