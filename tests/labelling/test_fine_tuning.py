"""The network as what learns from labels: trained once for each labels, blind, and resumable."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath

from dermjax.cli import task
from dermjax.experiment.trained_networks import restore
from dermjax.labelling import candidates, fine_tuning, simulate, simulation_page
from dermjax.labelling.methods import METHODS, RANDOM
from dermjax.labelling.settings import LabelSettings
from dermjax.labelling.source import load
from dermjax.runs.run_folder import RunFolder
from dermjax.training import stop
from dermjax.training.writer import Writer
from tests.labelling.test_choose import config_of
from tests.labelling.test_simulate import method_of, results_of

NETWORK = ",classifier=finetune"


@pytest.fixture(scope="module")
def source(base, tmp_path_factory):
    """The clinic's photographs as the pretrained encoder of its SS run sees them."""
    settings = LabelSettings.from_config(config_of(base / "runs" / "ss"))
    return load(settings, RunFolder(tmp_path_factory.mktemp("features")), Writer(active=False))


def learner_of(source, folder, steps=3, **fields):
    known = candidates.labelled_only(source, per_patient=1)
    measured = candidates.in_order(source.dataset, source.dataset.rows("validation", labelled=True))
    source = dataclasses.replace(source, **fields)
    writer = Writer(active=False)
    place = epath.Path(folder)
    return fine_tuning.prepare(source, known.rows, measured, place, writer, steps=steps)


def labels_of(learner, count, classes=3):
    """The true labels of the first images of each class."""
    truth = learner.run.dataset.labels[learner.rows].astype(int)
    labels = np.full(len(truth), -1)
    for k in range(classes):
        rows = np.flatnonzero(truth == k)[:count]
        labels[rows] = k
    return labels


def forbidden(*args, **kwargs):
    raise AssertionError("trained again")


def test_the_same_labels_are_trained_on_once(source, tmp_path, monkeypatch):
    learner = learner_of(source, tmp_path)
    labels = labels_of(learner, 3)
    first = learner.fit(labels)
    assert first.classes.tolist() == [0, 1, 2]
    assert first.of_validation().shape == (len(learner.measured), 3)
    np.testing.assert_allclose(first.of_pool(np.array([4, 2])).sum(1), 1)
    assert (first.of_pool(np.array([4, 2])) == first.pool[[4, 2]]).all()
    other = learner.fit(labels_of(learner, 2))
    assert (first.validation != other.validation).any()
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"] * 2  # no checkpoint is left
    monkeypatch.setattr(fine_tuning, "finetune", forbidden)
    assert (learner_of(source, tmp_path).fit(labels).validation == first.validation).all()
    for changed in (dict(steps=4), dict(features=source.features + 1)):
        with pytest.raises(AssertionError, match="trained again"):
            learner_of(source, tmp_path, **changed).fit(labels)


def test_it_starts_from_the_encoder_with_the_labels_that_were_asked_for(
    source, tmp_path, monkeypatch
):
    seen = []

    def spied(run, encoder, *, blind):
        seen.append((run, encoder, blind))
        raise stop.Interrupted("enough")

    monkeypatch.setattr(fine_tuning, "finetune", spied)
    learner = learner_of(source, tmp_path)
    labels = labels_of(learner, 2)
    for _ in range(2):
        with pytest.raises(stop.Interrupted):
            learner.fit(labels)
    (run, encoder, blind), (again, _, _) = seen
    expected, _ = restore(source.trained, source.run, "pretrain")
    jax.tree.map(np.testing.assert_array_equal, encoder, expected)
    assert blind and run.settings.seed == again.settings.seed
    dataset = run.dataset
    own = learner.rows[labels >= 0]
    assert dataset.rows("train", labelled=True).tolist() == sorted(own)
    assert (dataset.labels[own] == source.dataset.labels[own]).all()
    assert not dataset.labelled[dataset.split != "train"].any()


@pytest.mark.slow
def test_validation_labels_change_nothing(source, tmp_path):
    learner = learner_of(source, tmp_path / "a")
    labels = labels_of(learner, 3)
    wrong = source.dataset.labels.copy()
    wrong[learner.measured] = (wrong[learner.measured] + 1) % 3
    dataset = dataclasses.replace(source.dataset, labels=wrong)
    other = learner_of(source, tmp_path / "b", dataset=dataset)
    assert (learner.fit(labels).pool == other.fit(labels).pool).all()


def test_classes_without_a_label_are_not_known(source, tmp_path, monkeypatch):
    learner = learner_of(source, tmp_path)
    two = learner.fit(labels_of(learner, 3, classes=2))
    assert two.classes.tolist() == [0, 1] and two.pool.shape[1] == 2
    np.testing.assert_allclose(two.pool.sum(1), 1)
    monkeypatch.setattr(fine_tuning, "finetune", forbidden)
    one = learner.fit(labels_of(learner, 3, classes=1))
    assert one.classes.tolist() == [0] and (one.of_validation() == 1).all()
    with pytest.raises(ValueError, match="needs labels, and there is none"):
        learner.fit(labels_of(learner, 0))


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on(source, tmp_path, monkeypatch):
    """It ends with the same answers, and what another one had left is gone."""
    whole = learner_of(source, tmp_path / "whole", steps=5)
    labels, asked = labels_of(whole, 3), []

    def at_the_third():
        asked.append(None)
        return len(asked) == 3

    broken = learner_of(source, tmp_path / "broken", steps=5)
    (tmp_path / "broken" / "training-of-others").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(stop, "asked", at_the_third)
        with pytest.raises(stop.Interrupted, match="stopped at step 3, which is saved"):
            broken.fit(labels)
    assert not (tmp_path / "broken" / "training-of-others").exists()
    assert (whole.fit(labels).validation == broken.fit(labels).validation).all()
    assert [path.suffix for path in (tmp_path / "broken").iterdir()] == [".npz"]


def test_a_run_that_says_nothing_of_fine_tuning_is_refused(source, tmp_path):
    trained = dataclasses.replace(source.trained, task="pretrain", finetune=None)
    with pytest.raises(ValueError, match="a pretraining alone: take classifier=probe"):
        learner_of(source, tmp_path, trained=trained)


def test_steps_of_a_probe_are_refused(base):
    with pytest.raises(ValueError, match=r"finetune_steps = 7, .*0 with classifier=probe"):
        LabelSettings.from_config(config_of(base / "runs" / "ss", finetune_steps=7))


def test_the_page_says_what_learnt():
    results = results_of(margin=method_of(0, 1)) | {"finetune": {"steps": 480, "batch_size": 32}}
    page = simulation_page.render(results)
    assert "the network, fine-tuned for 480 steps of 32" in page
    assert "logistic regression" not in page and "classifier=finetune" not in page
    page = simulation_page.render(results_of(margin=method_of(0, 1)))
    assert "logistic regression on the features" in page and "classifier=finetune tries" in page


@pytest.mark.slow
def test_the_commands(base, tmp_path, monkeypatch, capsys):
    """A simulation with the network: each network is trained once, other files than the probe's."""
    few = {name: METHODS[name] for name in (RANDOM, "margin")}
    monkeypatch.setattr(simulate, "METHODS", few)
    run = base / "runs" / "ss"
    argument = f",trial=simulate,start=6,count=4,rounds=1,seeds=2{NETWORK}"
    assert task.start(config_of(run, argument, finetune_steps=2), str(tmp_path)) == 0
    told = capsys.readouterr().out
    assert "beats chance" in told and "simulation_finetune.html" in told
    label = tmp_path / "label"
    results = json.loads((label / "simulation_finetune.json").read_text())
    assert results["labels"] == [6, 10] and results["finetune"]["steps"] == 2
    assert not (label / "simulation.json").exists()
    # Each of two seeds: the first labels, and a batch of each method.
    trained = [*(label / "finetune").glob("*.npz")]
    assert 4 <= len(trained) <= 2 + 2 * 2
    before = {path: path.stat().st_mtime_ns for path in trained}
    assert task.start(config_of(run, argument, finetune_steps=2), str(tmp_path)) == 0
    assert before == {path: path.stat().st_mtime_ns for path in trained}
