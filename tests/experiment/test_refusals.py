"""What a run refuses, before it has made or changed anything."""

import pytest

from dermjax.cli import task
from tests.experiment.clinic import tiny_config, write_clinic
from tests.experiment.run_files import config_of


def test_another_config_in_the_same_workdir_is_refused_by_field(base):
    config = config_of(base, finetune__steps=8, data__trial=1)
    with pytest.raises(ValueError) as error:
        task.start(config, str(base / "runs" / "ss"))
    assert "data.trial: 0 there, 1 here" in str(error.value)
    assert "finetune.steps: 6 there, 8 here" in str(error.value)
    assert "pretrain.steps" not in str(error.value)


def test_a_manifest_that_changed_under_a_run_is_noticed(base, tmp_path):
    """Same config, other data: a half-done run must not go on with another split."""
    manifest = write_clinic(tmp_path / "clinic")
    folder = tmp_path / "runs" / "a"
    config = tiny_config("FS", manifest)
    assert task.start(config, str(folder)) == 0
    (folder / "results.json").unlink()
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ValueError, match="the data are not those that the run"):
        task.start(config, str(folder))


def test_bad_values_stop_before_anything_is_made(base):
    folder = base / "runs" / "never"
    cases = {
        "config.data.alpha = 1.5, but it must be above 0 and at most 1": dict(data__alpha=1.5),
        "alpha=VALUE behind the config's colon": dict(data__alpha=0.0),
        "data.on_bad_image = 'ignore', but it must be one of refuse, skip": dict(
            data__on_bad_image="ignore"
        ),
        "config.data.trial = -1, but it must be at least 0": dict(data__trial=-1),
        "efficientnet_b99.*did you mean": dict(model__name="efficientnet_b99"),
        "pretrain.batch_size = 12 cannot be divided over 8 devices; .* 8 or 16": dict(
            pretrain__batch_size=12, pretrain__bn_groups=2
        ),
        "pretrain.positives = 'class', but it must be one of image, lesion, patient": dict(
            pretrain__positives="class"
        ),
        "pretrain.optimizer = 'adam', but it must be one of sgd, adamw": dict(
            pretrain__optimizer="adam"
        ),
        "pretrain.queue_size = 8 must be at least 16": dict(pretrain__queue_size=8),
        "pretrain.queue_size = 24 must be at least 32.*symmetric": dict(pretrain__symmetric=True),
        "pretrain.momentum_end = 0.9 must lie between pretrain.momentum = 0.99": dict(
            pretrain__momentum_end=0.9
        ),
        "pretrain.monitor.every = 3 must be a multiple of": dict(pretrain__monitor__every=3),
        "pretrain.monitor.features = 'head'": dict(pretrain__monitor__features="head"),
        "config.task = 'train'.*run, pretrain": dict(task="train"),
        "pretrain.bn_groups = 3 does not divide": dict(pretrain__bn_groups=3),
        "pretrain.bn_groups = 16 leaves one image": dict(pretrain__bn_groups=16),
        "finetune.accumulate_steps = 0, but it must be at least 1": dict(
            finetune__accumulate_steps=0
        ),
        "finetune.accumulate_steps = 2 .*bn_groups = 1 a device .of 8. holds 1; the nearest that "
        "can: 1; 2 needs bn_groups = 16 and a batch_size that 16 divides, at least 32": dict(
            finetune__accumulate_steps=2
        ),
        "pretrain.accumulate_steps = 3 .*bn_groups = 16 a device .of 8. holds 2; the nearest that "
        "can: 2; 3 needs pretrain.bn_groups = 24": dict(
            pretrain__accumulate_steps=3,
            pretrain__bn_groups=16,
            pretrain__batch_size=48,
            pretrain__queue_size=0,
        ),
        "finetune.warmup_steps = 9 .* below finetune.steps = 6": dict(finetune__warmup_steps=9),
        "finetune.evaluate_every = 3 must be a multiple of": dict(finetune__evaluate_every=3),
        "config.pretrain.augment: hue": dict(pretrain__augment__hue=0.9),
        "config.pretrain.schedule = 'linear'.*cosine, step": dict(pretrain__schedule="linear"),
        "config.finetune.select = 'f1'": dict(finetune__select="f1"),
        "config.init.weights = 'x.npz' would not be used by strategy SS": dict(
            init__weights="x.npz"
        ),
        "config.init.weights: 'x.npz' is not a file": dict(
            init__weights="x.npz", pretrain__init="imagenet"
        ),
        "config.init.weights: timm/resnet50.a1_in1k holds weights of resnet50": dict(
            init__weights="timm/resnet50.a1_in1k", pretrain__init="imagenet"
        ),
        "config.init: std .* must be above 0": dict(init__std=(1.0, 0.0, 1.0)),
    }
    for message, fields in cases.items():
        with pytest.raises(ValueError, match=message) as error:
            task.start(config_of(base, **fields), str(folder))
        assert "\n" not in str(error.value)
    assert not folder.exists()
    with pytest.raises(ValueError, match=r"--config.init.weights=FILE"):
        task.start(config_of(base, "IN"), str(folder))
