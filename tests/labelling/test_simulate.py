"""The simulation: fair, resumed exactly, blind to what it measures on, and honest about chance."""

import dataclasses
import json

import numpy as np
import pytest

from dermjax.cli import task
from dermjax.labelling import methods, rehearsal, simulate, simulation_page, simulation_results
from dermjax.labelling.learner import Probe
from dermjax.labelling.pool import Pool
from dermjax.statistics import classification
from tests.labelling.pools import made_up
from tests.labelling.test_choose import config_of

SMALL = ",trial=simulate,start=6,count=4,rounds=2,seeds=2"


def rehearsed(seed=0, images=200, validation=80, kinds=3, cs=(1e-2,), **fields):
    pool, truth = made_up(seed, images=images + validation, kinds=kinds, spread=1.0)
    train = Pool(
        pool.features[:images],
        np.full(images, -1),
        np.ones(images, bool),
        np.arange(images) // 2,
    )
    given = {"start": 10, "count": 10, "rounds": 2} | fields
    return rehearsal.Rehearsal(
        pool=train,
        learner=Probe(train.features, train.patients, pool.features[images:], cs),
        truth=truth[:images],
        labels=truth[images:],
        patients=np.arange(validation) // 2,
        classes=tuple("abcdefgh"[:kinds]),
        **given,
    )


def arms_of(one, names, seeds=3):
    return {
        name: [rehearsal.perform(one, methods.METHODS[name], seed) for seed in range(seeds)]
        for name in names
    }


def test_all_methods_of_a_seed_begin_with_the_same_labels_and_ask_nobody_twice():
    one = rehearsed()
    arms = arms_of(one, sorted(methods.METHODS), seeds=2)
    for seed in (0, 1):
        first = rehearsal.first_rows(one.pool, 10, 1000 * seed)
        assert len(set(one.pool.patients[first])) == 10
        for own in arms.values():
            arm = own[seed]
            assert (arm.predicted[0] == arms["random"][seed].predicted[0]).all()
            assert arm.predicted.shape == (3, 80) and arm.chosen.shape == (2, 10)
            asked = [*first, *arm.chosen.ravel()]
            assert len(set(asked)) == 30
            for batch in arm.chosen:
                assert len(set(one.pool.patients[batch])) == 10
    assert (arms["random"][0].chosen != arms["random"][1].chosen).any()


@pytest.mark.slow
def test_what_is_measured_on_chooses_nothing():
    """Other validation labels: every method asks about the same photographs."""
    one = rehearsed(cs=(1e-3, 1e-1))
    other = dataclasses.replace(one, labels=(one.labels + 1) % 3)
    for name in ("random", "typicality", "margin", "coverage"):
        a, b = (rehearsal.perform(r, methods.METHODS[name], 4) for r in (one, other))
        assert (a.chosen == b.chosen).all() and (a.predicted == b.predicted).all()


def test_a_batch_that_quotas_do_not_fill_is_told():
    one = rehearsed(images=20, count=10, start=2, rounds=2)
    patients = np.repeat([0, 1, 2], [18, 1, 1])
    one = dataclasses.replace(one, pool=dataclasses.replace(one.pool, patients=patients))
    with pytest.raises(ValueError, match=r"only \d of 10 photographs could be chosen with per_pat"):
        rehearsal.perform(one, methods.METHODS["random"], 0)


def test_differences_are_those_of_the_macro_sensitivities():
    one = rehearsed(kinds=4, rounds=3)
    arms = arms_of(one, ["random", "margin"])
    found = simulation_results.compare(one, arms)

    def macro(predicted):
        hits = [np.mean(predicted[one.labels == k] == k) for k in range(4)]
        return np.mean(hits)

    values = {
        name: np.array([[macro(row) for row in arm.predicted] for arm in own])
        for name, own in arms.items()
    }
    told = found["methods"]["margin"]
    by_hand = (values["margin"] - values["random"])[:, 1:].mean()
    assert told["difference"]["value"] == pytest.approx(by_hand)
    assert told["difference"]["low"] < by_hand < told["difference"]["high"]
    np.testing.assert_allclose(
        [row["value"] for row in told["macro_sensitivity"]], values["margin"].mean(0)
    )
    np.testing.assert_allclose(
        [row["value"] for row in told["difference_by_round"]],
        (values["margin"] - values["random"]).mean(0),
        atol=1e-12,
    )
    assert found["labels"] == [10, 20, 30, 40] and found["seeds"] == 3


def test_pairs_of_seeds_and_patients_both_widen_the_interval():
    """The variance of the mean is that of the seeds' differences, and that of the patients."""
    rng = np.random.default_rng(0)
    labels, patients = np.tile([0, 1], 60), np.arange(120)
    other = np.tile(labels, (4, 1))
    first = np.where(rng.random((4, 120)) < 0.2, 1 - other, other)

    def by_class(predicted):
        return classification.by_class("sensitivity", labels, predicted, patients, 2)

    found = simulation_results.paired(by_class(first), by_class(other))
    seeds = (first == other).mean(1) - 1
    assert found.value == pytest.approx(seeds.mean())
    estimate = found.strategy()
    half = (estimate.high - estimate.low) / 2
    assert half > 3.18 * seeds.std(ddof=1) / 2 * 0.999  # Student's of three degrees of freedom


def test_labels_needed_are_read_off_the_curve():
    counts, curve = [50, 150, 250, 350], [0.30, 0.40, 0.38, 0.50]
    assert simulation_results.reached(counts, curve, 0.35) == pytest.approx(100)
    assert simulation_results.reached(counts, curve, 0.45) == pytest.approx(300)
    assert simulation_results.reached(counts, curve, 0.2) == 50
    assert np.isnan(simulation_results.reached(counts, curve, 0.51))


def test_rare_classes():
    truth = np.repeat([0, 1, 2, 3], [70, 12, 13, 5])
    assert simulation_results.rare_classes(truth, 5) == [1, 3]
    assert simulation_results.rare_classes(np.repeat([0, 1], [9, 11]), 2) == [0]


def method_of(value, p, needs=None):
    interval = {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {
        "difference": interval,
        "p": p / 2,
        "p_holm": p,
        "macro_sensitivity": [{"value": 0.5, "low": 0.4, "high": 0.6}] * 3,
        "difference_by_round": [interval] * 3,
        "needs_for_random_s_last": needs,
        "random_needs_for_its_last": None,
        "rare_found": {"value": 4.0, "low": 3.0, "high": 5.0},
    }


def results_of(**own):
    chance = method_of(0, 1)
    kept = ("macro_sensitivity", "needs_for_random_s_last", "random_needs_for_its_last")
    found = {"random": {name: chance[name] for name in (*kept, "rare_found")}} | own
    sizes = {"train": 900, "train_patients": 500, "rare": 40}
    return {
        "run": "runs/mine",
        "encoder": "pretrain",
        "model": "efficientnet_mini",
        "labels": [50, 150, 250],
        "seeds": 10,
        "per_patient": 1,
        "without_patient": 0,
        "classes": ["acne", "面皰"],
        "rare_classes": ["面皰"],
        "n": sizes | {"validation": 300, "validation_patients": 200},
        "methods": found,
        "best": simulation_results.best_of(found),
    }


def test_the_page_says_what_beats_chance_and_what_does_not():
    results = results_of(margin=method_of(0.04, 0.01, 170), coverage=method_of(-0.05, 0.02))
    assert results["best"] == "margin"
    said = " ".join(simulation_page.findings(results))
    assert "margin beats random choice here" in said and "+.040 [+.020, +.060]" in said
    assert "margin reaches with 170 labels what random choice reaches with 250" in said
    assert "Worse than random choice: coverage" in said
    assert simulation_page.warnings(results) == []
    page = simulation_page.render(results)
    assert said.split(".")[0] in page and "面皰" in page


def test_the_page_says_that_nothing_beats_chance_and_that_it_could_not_have_seen_it():
    results = results_of(margin=method_of(0.04, 0.06), coverage=method_of(-0.05, 0.5))
    assert results["best"] == "random"
    said = " ".join(simulation_page.findings(results))
    assert "No method beats random choice here: draw the photographs at random." in said
    assert "No 95 % interval reaches beyond +.060" in said
    assert "beats random choice here: on" not in said
    worse = results_of(margin=method_of(-0.04, 0.01), coverage=method_of(-0.05, 0.02))
    said = " ".join(simulation_page.findings(worse))
    assert "larger gains" not in said and "Worse than random choice: margin (−.040" in said
    results["methods"]["coverage"]["difference"]["high"] = 0.2
    (told,) = simulation_page.warnings(results)
    assert "has little power: its widest interval is ± .135" in told
    results["labels"] = [50, 350, 650]
    assert "72 % of the labelled" in simulation_page.warnings(results)[1]


@pytest.mark.slow
def test_a_killed_simulation_goes_on_where_it_stopped(base, tmp_path, monkeypatch, capsys):
    """On the clinic's own labels, all of which are hidden first."""
    whole, calls = tmp_path / "whole", []

    def counted(*args):
        calls.append(args[2])
        return rehearsal.perform(*args)

    def killed(*args):
        if len(calls) == 7:
            raise KeyboardInterrupt
        return counted(*args)

    assert task.start(config_of(base / "runs" / "ss", SMALL), str(whole)) == 0
    assert "beats chance" in capsys.readouterr().out
    monkeypatch.setattr(simulate, "perform", killed)
    with pytest.raises(KeyboardInterrupt):
        task.start(config_of(base / "runs" / "ss", SMALL), str(tmp_path / "b"))
    assert len(calls) == 7 and not (tmp_path / "b" / "label" / "simulation.json").exists()
    monkeypatch.setattr(simulate, "perform", counted)
    assert task.start(config_of(base / "runs" / "ss", SMALL), str(tmp_path / "b")) == 0
    assert len(calls) == 12
    first, second = (
        json.loads((folder / "label" / "simulation.json").read_text())
        for folder in (whole, tmp_path / "b")
    )
    assert first == second and first["n"]["train"] > 20
    assert first["labels"] == [6, 10, 14] and set(first["methods"]) == set(methods.METHODS)
    page = (whole / "label" / "simulation.html").read_text()
    assert "has little power" in page
    # Another seed is added to those there are.
    more = SMALL.replace("seeds=2", "seeds=3")
    assert task.start(config_of(base / "runs" / "ss", more), str(tmp_path / "b")) == 0
    assert len(calls) == 18 and calls[12:] == [2] * 6


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (",count=10,start=6,rounds=5", "= 56 labels, but .* have one: take count="),
        (",count=20,start=2,rounds=1", "photographs are all that a batch may hold with per_pat"),
    ],
)
def test_too_few_labels_for_a_simulation_are_told(base, tmp_path, argument, message):
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base / "runs" / "ss", ",trial=simulate" + argument), str(tmp_path))
