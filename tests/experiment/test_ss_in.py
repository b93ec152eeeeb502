"""SS-IN: MoCo-v2 from a file of weights, alone and in a study, probed, exported and continued."""

import json

import jax
import numpy as np
import pytest
from etils import epath

import dermjax
from dermjax.cli import task
from dermjax.configs import probe as probe_file
from dermjax.configs import study as study_file
from dermjax.experiment import export, knn_monitor
from dermjax.experiment.predictor import Predictor
from dermjax.runs.locations import default_workdir
from dermjax.settings import RunSettings
from dermjax.study import plan
from tests.experiment.clinic import cache_in, tiny_config, with_fields, write_clinic, write_weights
from tests.experiment.ends import differences, end_of, final_params

pytestmark = pytest.mark.slow

STILL = dict(pretrain__learning_rate=1e-9, pretrain__weight_decay=0.0)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """(folder, manifest, weights) with one finished SS-IN run whose pretraining moves nothing."""
    folder = tmp_path_factory.mktemp("ss_in")
    manifest, weights = write_clinic(folder), write_weights(folder)
    with cache_in(folder):
        config = config_of(manifest, weights, **STILL)
        assert task.start(config, str(folder / "runs" / "ss_in")) == 0
        yield folder, manifest, weights


def config_of(manifest, weights, strategy="SS-IN", **fields):
    return tiny_config(strategy, manifest, init__weights=str(weights), **fields)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_pretraining_starts_from_the_weights_and_fine_tuning_from_the_pretraining(clinic):
    folder, _, weights = clinic
    found = results_of(folder / "runs" / "ss_in")
    assert found["strategy"] == "SS-IN" and found["weights"]["source"] == str(weights)
    assert found["weights"]["mean"] == [0.1, 0.9, 0.2]
    lines = (folder / "runs" / "ss_in" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == 3 * ["pretrain"] + 3 * ["finetune"]
    assert "first weights" in (folder / "runs" / "ss_in" / "pretraining.html").read_text()
    _, variables = dermjax.create_model("efficientnet_tiny", 0, weights)
    restored = final_params(folder / "runs" / "ss_in", "pretrain", 6, encoder=variables["params"])
    for a, b in zip(
        jax.tree.leaves(restored["encoder"]), jax.tree.leaves(variables["params"]), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_ss_with_the_same_weights_keeps_its_name_and_has_the_same_pretraining(clinic, capsys):
    """Who set `pretrain.init` in ss.py before there was SS-IN finds the run and goes on with it."""
    folder, manifest, weights = clinic
    config = config_of(manifest, weights, "SS", pretrain__init="imagenet", **STILL)
    assert default_workdir(RunSettings.from_config(config)).startswith("runs/ss-")
    assert task.start(config, str(folder / "runs" / "ss")) == 0
    assert "pretrain: done before" in capsys.readouterr().out
    ss, ss_in = (results_of(folder / "runs" / name) for name in ("ss", "ss_in"))
    assert ss["strategy"] == "SS" and ss["pretraining"] == ss_in["pretraining"]
    assert ss["confusion_matrix"] == ss_in["confusion_matrix"]


def test_its_folder_is_named_by_its_config_file(clinic):
    _, manifest, weights = clinic
    assert default_workdir(RunSettings.from_config(config_of(manifest, weights))).startswith(
        "runs/ss_in-demo-"
    )


def test_a_pretraining_alone_is_possible(clinic, tmp_path):
    _, manifest, weights = clinic
    config = config_of(manifest, weights, task="pretrain", **STILL)
    assert task.start(config, str(tmp_path / "alone")) == 0
    assert results_of(tmp_path / "alone")["task"] == "pretrain"


def test_its_pretrained_encoder_is_exported_and_probed(clinic, tmp_path):
    folder, _, weights = clinic
    path = tmp_path / "encoder.safetensors"
    export.export(str(folder / "runs" / "ss_in"), str(path), "pretrain")
    model, variables = dermjax.create_model("efficientnet_tiny", 0, path)
    assert model.preprocessing.mean == (0.1, 0.9, 0.2)
    _, first = dermjax.create_model("efficientnet_tiny", 0, weights)
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(first), strict=True):
        assert a.shape == b.shape
    config = probe_file.get_config(f"run={folder / 'runs' / 'ss_in'}")
    config.cs = (0.01,)
    assert task.start(config) == 0
    found = json.loads(
        (folder / "runs" / "ss_in" / "probe-pretrain-alpha0.5-trial0.json").read_text()
    )
    assert (found["encoder"], found["strategy"]) == ("pretrain", "SS-IN")


class Killed(Exception):
    """What ends a run from outside."""


class KilledPredictor(Predictor):
    """Predicts nothing: the run is killed at that moment."""

    def __call__(self, variables, rows):
        raise Killed


def test_a_run_that_was_cut_off_in_its_pretraining_ends_as_a_quiet_one(
    clinic, tmp_path, monkeypatch, capsys
):
    _, manifest, weights = clinic
    fields = dict(pretrain__monitor__every=4, finetune__evaluate_every=4)
    config = config_of(manifest, weights, **fields)

    monkeypatch.setattr(knn_monitor, "Predictor", KilledPredictor)
    with pytest.raises(Killed):
        task.start(config, str(tmp_path / "cut" / "run"))
    assert not (tmp_path / "cut" / "run" / "results.json").exists()
    monkeypatch.undo()
    for name in ("cut", "quiet"):
        assert task.start(config, str(tmp_path / name / "run")) == 0
    assert capsys.readouterr().out.count("pretrain: continues at step 2") == 1
    assert not differences(*(end_of(tmp_path / name / "run") for name in ("cut", "quiet")))


def study_of(manifest, weights, argument, **fields):
    config = study_file.get_config(f"scale=demo,data={manifest},{argument}")
    config.run = tiny_config("SS", manifest)
    config.run.init.weights = str(weights)
    return with_fields(config, fields)


def test_a_study_pretrains_for_ss_and_for_ss_in_once(clinic, tmp_path, capsys):
    """It begins with SS; SS-IN comes later, with a learning rate of its own."""
    _, manifest, weights = clinic
    folder = tmp_path / "study"
    begun = study_of(manifest, weights, "strategies=SS,alphas=0.5,trials=1")
    assert task.start(begun, str(folder)) == 0
    more = "strategies=SS+SS-IN,alphas=0.5+1.0,trials=1"
    config = study_of(manifest, weights, more, ss_in__pretrain__learning_rate=1e-5)
    assert task.start(config, str(folder)) == 0
    said = capsys.readouterr().out
    assert "[2 of 4] SS-IN alpha 0.5 trial 0" in said and "all 4 runs are done" in said
    found = {}
    for planned_run in plan.finished(epath.Path(folder)):
        results = planned_run.folder.results()
        found.setdefault(planned_run.strategy, set()).add(results["pretraining"])
        rates = {"SS": config.run.pretrain.learning_rate, "SS-IN": 1e-5}
        rate = planned_run.settings.pretraining.learning_rate
        assert rate == rates[planned_run.strategy]
    assert found["SS"] != found["SS-IN"]
    assert len(found["SS"]) == len(found["SS-IN"]) == 1
    assert len(list((folder / "runs").glob("pretrain-*"))) == 2
    assert "SS-IN" in (folder / "report.html").read_text()

    config.ss_in.pretrain.learning_rate = 1e-4
    with pytest.raises(ValueError, match="ss_in-alpha0.5-trial0 .*learning_rate: 1e-05 there"):
        task.start(config, str(folder))
