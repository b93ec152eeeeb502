"""The official CIFAR-10 notebook's configuration, on a stand-in in the same file format."""

import json

import numpy as np
import pytest

from dermjax.cli import task
from dermjax.configs import common, moco_cifar10
from dermjax.data import cifar10
from dermjax.data.pipeline import Order
from dermjax.experiment import dataset as prepare
from dermjax.settings import RunSettings
from dermjax.training.writer import Writer
from tests.data.cifar10_files import write_cifar10


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    write_cifar10(tmp_path / "cifar", train_per_file=12, test=20)
    return tmp_path / "cifar"


def test_the_configuration_is_the_notebooks(folder):
    """../shared/facts/moco.md has these numbers."""
    config = moco_cifar10.get_config(f"data={folder}")
    RunSettings.from_config(config)
    stage = config.pretrain
    assert config.model.name == "resnet18_cifar" and config.task == "pretrain"
    assert (stage.batch_size, stage.queue_size, stage.bn_groups) == (512, 4096, 8)
    assert (stage.momentum, stage.momentum_end, stage.temperature) == (0.99, 0.99, 0.1)
    assert (stage.dim, stage.hidden_dim, stage.symmetric) == (128, 0, False)
    assert (stage.learning_rate, stage.schedule, stage.warmup_steps) == (0.06, "cosine", 0)
    assert (stage.weight_decay, stage.sgd_momentum, stage.nesterov) == (5e-4, 0.9, False)
    assert stage.steps == 200 * (50_000 // 512)
    augment = stage.augment
    assert augment.crop_scale == (0.08, 1.0) and augment.flip_horizontal == 0.5
    assert (augment.brightness, augment.contrast, augment.saturation, augment.hue) == (
        0.4, 0.4, 0.4, 0.1
    )  # fmt: skip
    assert (augment.jitter_probability, augment.grayscale_probability) == (0.8, 0.2)
    assert augment.blur_probability == 0 and augment.flip_vertical == 0 and augment.rotation == 0
    assert (stage.monitor.k, stage.monitor.temperature) == (200, 0.1)
    assert stage.monitor.features == "embedding"
    longer = moco_cifar10.get_config(f"data={folder},epochs=400,symmetric=true").pretrain
    assert longer.steps == 2 * stage.steps and longer.symmetric


def test_the_bank_is_the_training_set_and_the_queries_are_the_test_batch(folder):
    config = moco_cifar10.get_config(f"data={folder}")
    dataset = prepare.prepare(RunSettings.from_config(config), Writer(active=False))
    files = cifar10.read_cifar10(folder)
    assert dataset.counts() == {"train": 60, "validation": 20, "train_labelled": 60, "test": 0}
    queries = dataset.rows("validation", labelled=True)
    np.testing.assert_array_equal(queries, np.flatnonzero(files.is_test))
    for row in (0, 59, 60, 79):
        np.testing.assert_array_equal(dataset.pixels(row), files.images[row])
    batch = next(dataset.training_batches(np.arange(60), Order(8, seed=0)))
    np.testing.assert_array_equal(batch["image"], files.images[batch["id"]])


@pytest.mark.slow
def test_it_trains_and_reports_by_the_command_of_the_config(folder, tmp_path, capsys):
    config = moco_cifar10.get_config(f"data={folder}")
    config.model.name = "efficientnet_tiny"  # ResNet-18 takes a minute to compile
    config.pretrain.update(dict(steps=4, batch_size=16, queue_size=32, report_every=2))
    config.pretrain.update(dict(save_every=2))
    config.pretrain.monitor.every = 2
    assert task.start(config, str(tmp_path / "runs" / "cifar")) == 0
    out = capsys.readouterr().out
    assert "kNN accuracy" in out and "20 validation images by 60 labelled" in out
    results = json.loads((tmp_path / "runs" / "cifar" / "results.json").read_text())
    look = results["monitor"]
    assert look["step"] == 4 and look["majority_accuracy"] == 0.1
    assert look["knn_bank"] == 60 and look["knn_queries"] == 20
    assert look["nearest_accuracy"] > 0.5  # every class of the stand-in has its own hue
    assert (tmp_path / "runs" / "cifar" / "pretraining.html").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [("epochs=few", "epochs='few' is not an integer"), ("symmetric=maybe", "not true or false")],
)
def test_a_mistyped_argument_is_named(argument, message):
    with pytest.raises(ValueError, match=message):
        moco_cifar10.get_config(argument)


def test_a_folder_without_the_files_is_named(tmp_path):
    config = moco_cifar10.get_config(f"data={tmp_path}")
    with pytest.raises(ValueError, match=r"cs\.toronto\.edu"):
        task.start(config, str(tmp_path / "run"))


def test_pretraining_alone_needs_the_strategy_that_pretrains():
    config = common.make_config("FS", "scale=demo")
    config.task = "pretrain"
    with pytest.raises(ValueError, match="needs strategy SS"):
        RunSettings.from_config(config)
