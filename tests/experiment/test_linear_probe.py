"""The linear probe of a finished run, and its features as a file."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dermjax.cli import task
from dermjax.configs import probe as config_file
from tests.experiment.run_files import read_csv


def config_of(folder, argument="", **fields):
    config = config_file.get_config(f"run={folder}{argument}")
    config.update(fields)
    return config


def test_features_carry_ids_and_labels_and_the_probe_is_a_logistic_regression_on_them(base):
    folder = base / "runs" / "ss"
    assert task.start(config_of(folder, cs=(0.01,))) == 0
    with np.load(folder / "features-pretrain.npz") as file:  # no pickled objects
        kept = {name: file[name] for name in file}
    by_name = {row["image"]: row for row in read_csv(folder / "splits.csv")}
    assert len(kept["id"]) == len(by_name) == len(kept["features"])
    for name, label, split in zip(kept["id"], kept["label"], kept["split"], strict=True):
        assert (by_name[name]["label"], by_name[name]["split"]) == (label, split)

    results = json.loads((folder / "probe-pretrain-alpha0.5-trial0.json").read_text())
    train = np.array(
        [by_name[n]["split"] == "train" and by_name[n]["labelled"] == "1" for n in kept["id"]]
    )
    mean, std = kept["features"][train].mean(0), kept["features"][train].std(0)
    x = (kept["features"] - mean) / np.where(std > 0, std, 1)
    fitted = LogisticRegression(C=0.01, max_iter=1000).fit(x[train], kept["label"][train])
    test = kept["split"] == "test"
    assert results["test"]["accuracy"] == pytest.approx(fitted.score(x[test], kept["label"][test]))
    assert results["n"]["train_labelled"] == train.sum()


def test_features_are_computed_once(base, capsys):
    folder = base / "runs" / "ss"
    assert task.start(config_of(folder, cs=(0.01,))) == 0
    capsys.readouterr()
    assert task.start(config_of(folder, ",alpha=1.0,trial=3")) == 0
    told = capsys.readouterr().out
    assert "read from" in told and "all trials keep all labels" in told
    results = json.loads((folder / "probe-pretrain-alpha1-trial3.json").read_text())
    assert results["n"]["train_labelled"] == results["n"]["train"]
    assert results["c"] in {float(c) for c in results["scores_on_validation"]}


def test_the_encoders_differ(base):
    """start: before any training; pretrain: MoCo's; finetune: the selected classifier's."""
    folder, features = base / "runs" / "ss", {}
    for encoder in ("start", "pretrain", "finetune"):
        assert task.start(config_of(folder, f",encoder={encoder}", cs=(0.01,))) == 0
        with np.load(folder / f"features-{encoder}.npz") as file:
            features[encoder] = file["features"]
    for a, b in (("start", "pretrain"), ("pretrain", "finetune"), ("start", "finetune")):
        assert np.abs(features[a] - features[b]).max() > 1e-3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (",encoder=head", "config.encoder = 'head', but it must be one of auto, pretrain"),
        (",alpha=1.5", "config.alpha = 1.5 must be"),
        (",trial=-2", "config.trial = -2 must be"),
    ],
)
def test_mistakes_are_named(base, argument, message):
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base / "runs" / "ss", argument))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="not the folder of a run"):
        task.start(config_of(tmp_path))
    with pytest.raises(ValueError, match="which run"):
        task.start(config_file.get_config())
    assert not list(tmp_path.iterdir())


def test_an_unfinished_pretraining_is_named(base, tmp_path):
    text = (base / "runs" / "ss" / "config.json").read_text()
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="pretrain stage of the run in .* is not finished"):
        task.start(config_of(tmp_path))


def test_features_are_found_again_by_their_images_names(base, table, capsys):
    folder = base / "runs" / "ss"
    path = folder / "probe-pretrain-alpha0.5-trial0.json"
    assert task.start(config_of(folder, cs=(0.01,))) == 0
    first = json.loads(path.read_text())
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::-1]]) + "\n")
    # As an older version wrote them, in the order of the table.
    with np.load(folder / "features-pretrain.npz") as file:
        kept = {name: file[name] for name in file}
    turned = {name: value[::-1] if value.ndim else value for name, value in kept.items()}
    np.savez(folder / "features-pretrain.npz", **turned)
    capsys.readouterr()
    assert task.start(config_of(folder, cs=(0.01,))) == 0
    assert "read from" in capsys.readouterr().out
    assert json.loads(path.read_text()) == first


@pytest.mark.parametrize("argument", ["", ",alpha=1.0", ",encoder=start"])
def test_other_data_than_the_runs_are_refused(base, table, argument):
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ValueError, match="the data are not those that the run in .*ss began"):
        task.start(config_of(base / "runs" / "ss", argument))
