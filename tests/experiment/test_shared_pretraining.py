"""Which runs share a pretraining, and which have one of their own."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from dermjax.cli import task
from dermjax.training.writer import Writer
from tests.experiment.clinic import write_weights
from tests.experiment.run_files import config_of, read_lines, read_results


def test_another_alpha_and_trial_share_the_pretraining(base, capsys):
    config = config_of(base, data__alpha=1.0, data__trial=1)
    before, second = sorted((base / "runs").glob("pretrain-*")), base / "runs" / "second"
    assert task.start(config, str(second)) == 0
    assert "pretrain: done before" in capsys.readouterr().out
    assert sorted((base / "runs").glob("pretrain-*")) == before
    results = [
        json.loads((base / "runs" / name / "results.json").read_text()) for name in ("ss", "second")
    ]
    assert results[0]["pretraining"] == results[1]["pretraining"]
    assert results[0]["n"]["train_labelled"] < results[1]["n"]["train_labelled"]
    # metrics.jsonl tells of the pretraining in both
    assert sum(x["stage"] == "pretrain" for x in read_lines(second / "metrics.jsonl")) == 3


@pytest.mark.slow
def test_a_pretraining_whose_last_checkpoint_is_damaged_is_finished_again(base, capsys):
    name = pathlib.Path(read_results(base / "runs" / "ss")["pretraining"]).name
    torn = base / "damaged" / name
    shutil.copytree(base / "runs" / name, torn)
    (torn / "checkpoints" / "pretrain" / "6" / "state" / "manifest.ocdbt").write_bytes(b"cut")
    assert task.start(config_of(base), str(torn.parent / "run")) == 0
    said = capsys.readouterr().out
    assert "checkpoints/pretrain/6 cannot be read" in said
    assert "pretrain: continues at step 4" in said
    ends = [base / "runs" / "ss", torn.parent / "run"]
    assert len({(end / "predictions.csv").read_text() for end in ends}) == 1


def test_what_pretraining_depends_on_gives_it_another_folder(base, monkeypatch):
    """The key follows the data, the network and the numbers, and nothing else."""
    from dermjax.experiment import networks, pretrain
    from dermjax.experiment.context import RunContext
    from dermjax.experiment.dataset import prepare
    from dermjax.settings import RunSettings

    settings = RunSettings.from_config(config_of(base))
    quiet = Writer(active=False)
    dataset, beginning = prepare(settings, quiet), networks.begin(settings, quiet)
    run = RunContext(settings, dataset, None, beginning, None, quiet)

    def key(**fields):
        other = RunSettings.from_config(config_of(base, **fields))
        start = networks.begin(other, quiet)
        return pretrain._identity(dataclasses.replace(run, settings=other, beginning=start))

    same = key()
    for fields in (
        dict(data__alpha=0.1),
        dict(data__trial=2),
        dict(finetune__steps=2),
        dict(pretrain__accumulate_steps=2),
        dict(pretrain__report_every=1),
        dict(pretrain__monitor__every=4),
        dict(pretrain__monitor__k=5),
        dict(data__read_threads=1),
    ):
        assert key(**fields) == same
    for fields in (
        dict(pretrain__steps=8),
        dict(pretrain__augment__hue=0.2),
        dict(pretrain__batch_negatives=False),
        dict(pretrain__momentum_end=0.995),
        dict(model__name="efficientnet_b0"),
        dict(seed=1),
        dict(data__max_side=24),
        dict(init__mean=(0.5, 0.5, 0.5)),
        dict(pretrain__init="imagenet", init__weights=str(write_weights(base))),
    ):
        assert key(**fields) != same
    elsewhere = dataclasses.replace(run, dataset=_other_split(dataset))
    assert pretrain._identity(elsewhere) != same


def _other_split(dataset):
    import dataclasses

    return dataclasses.replace(dataset, split=np.roll(dataset.split, 1))
