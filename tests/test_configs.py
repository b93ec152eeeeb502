"""The presets: the authors' numbers where they are public, and a source for every other."""

import inspect
import re

import pytest

from dermjax.cli import task
from dermjax.configs import common, scales, ss_in
from dermjax.configs import label as label_file
from dermjax.configs import study as study_file
from dermjax.settings import RunSettings
from dermjax.steps import optimizer


def test_paper_is_the_authors_public_pretraining_file():
    """Every number of ../shared/facts/paper.md on pretraining."""
    config = common.make_config("SS", None)
    stage, augment = config.pretrain, config.pretrain.augment
    assert config.model.name == "efficientnet_b4" and stage.init == "random"
    assert (stage.hidden_dim, stage.dim) == (2048, 128)
    assert (stage.queue_size, stage.temperature) == (65_536, 0.2)
    assert stage.momentum == stage.momentum_end == 0.999
    assert not (stage.symmetric or stage.mask_same_image or stage.batch_negatives)
    assert stage.optimizer == "sgd"
    assert (stage.image_size, stage.batch_size, stage.bn_groups) == (380, 256, 4)
    assert stage.steps == 97_200 == 1200 * (20_926 // 256)
    assert (stage.learning_rate, stage.schedule, stage.warmup_steps) == (0.02, "step", 0)
    assert (stage.sgd_momentum, stage.nesterov, stage.weight_decay) == (0.9, True, 1e-4)
    assert augment.crop_scale == (0.08, 1.0)
    jitter = augment.brightness, augment.contrast, augment.saturation, augment.hue
    assert jitter == (0.4, 0.4, 0.4, 0.1) and augment.jitter_probability == 0.8
    assert (augment.grayscale_probability, augment.blur_probability) == (0.2, 0.5)
    assert augment.blur_sigma == (0.1, 2.0)
    assert (augment.flip_horizontal, augment.flip_vertical, augment.rotation) == (0.5, 0.0, 0.0)


def test_the_papers_learning_rate_falls_at_epochs_720_and_960():
    stage = common.make_config("SS", None).pretrain
    schedule = optimizer.make_schedule(
        stage.learning_rate,
        steps=stage.steps,
        schedule=stage.schedule,
        milestones=stage.milestones,
        decay=stage.decay,
    )
    per_epoch = 20_926 // 256
    for epoch, rate in ((0, 0.02), (719.9, 0.02), (720.1, 0.002), (959.9, 0.002), (960.1, 0.0002)):
        assert float(schedule(int(epoch * per_epoch))) == pytest.approx(rate), epoch


def test_small_fits_the_queue_to_the_data_and_ramps_the_momentum():
    stage = common.make_config("SS", "scale=small").pretrain
    assert stage.queue_size == 0 and stage.mask_same_image and not stage.symmetric
    assert stage.batch_negatives and stage.optimizer == "adamw" and stage.warmup_steps > 0
    assert (stage.momentum, stage.momentum_end, stage.schedule) == (0.99, 0.999, "cosine")
    momentum = optimizer.make_momentum(stage.momentum, stage.momentum_end, steps=stage.steps)
    ramp = [float(momentum(step)) for step in range(0, stage.steps + 1, 500)]
    assert ramp[0] == pytest.approx(0.99) and ramp[-1] == pytest.approx(0.999)
    assert ramp == sorted(ramp) and ramp[len(ramp) // 2] == pytest.approx(0.9945)


@pytest.mark.parametrize(("start", "end"), [(0.999, 0.99), (0.9, 1.0), (-0.1, 0.5)])
def test_a_momentum_that_falls_or_leaves_its_bounds_is_refused(start, end):
    with pytest.raises(ValueError, match=f"momentum {start} to {end}"):
        optimizer.make_momentum(start, end, steps=10)


@pytest.mark.parametrize("scale", ["paper", "small", "demo"])
def test_ss_in_is_ss_from_imagenet_weights_and_nothing_else(scale):
    plain = common.make_config("SS", f"alpha=0.1,scale={scale}", from_weights=True).to_dict()
    config = ss_in.get_config(f"alpha=0.1,scale={scale}").to_dict()
    assert config["strategy"] == "SS-IN" and config["pretrain"]["init"] == "imagenet"
    plain["strategy"], plain["pretrain"]["init"] = "SS-IN", "imagenet"
    assert config == plain


def test_ss_in_without_weights_is_not_ss_in():
    config = common.make_config("SS-IN", None)
    config.pretrain.init = "random"
    with pytest.raises(ValueError, match="init = 'random', but SS-IN starts from weights: leave"):
        RunSettings.from_config(config)


@pytest.mark.parametrize(("own", "other"), [("FS", "SS"), ("SS", "IN"), ("SS-IN", "FS")])
def test_a_strategy_is_its_config_file_s(own, other):
    config = common.make_config(own, None)
    config.strategy = other
    with pytest.raises(ValueError, match=rf"strategy = '{other}' .*configs/{other.lower()}.py"):
        RunSettings.from_config(config)


def test_an_unknown_strategy_is_answered_with_those_there_are():
    config = common.make_config("SS", None)
    config.strategy = "XX"
    with pytest.raises(ValueError, match="strategy = 'XX', .* one of SS, SS-IN, IN, FS"):
        RunSettings.from_config(config)


@pytest.mark.parametrize("strategy", ["SS", "SS-IN", "IN", "FS"])
@pytest.mark.parametrize("scale", ["paper", "small", "demo"])
def test_every_preset_is_within_bounds(strategy, scale):
    RunSettings.from_config(common.make_config(strategy, f"scale={scale}"))


@pytest.mark.parametrize("scale", ["paper", "small", "demo"])
def test_no_preset_does_anything_for_rare_classes(scale):
    stage = common.make_config("FS", f"scale={scale}").finetune
    assert (stage.sampling, stage.loss) == ("uniform", "cross_entropy")
    assert (stage.class_weights, stage.logit_adjustment) == ("none", 0.0)


@pytest.mark.parametrize("preset", [scales._pretrain, scales.small])
def test_every_number_of_pretraining_names_its_source(preset):
    """A comment with [authors], [paper], [moco], [notebook], [byol] or [ours] on or above it."""
    lines = inspect.getsource(preset).splitlines()
    fields = [
        (number, line)
        for number, line in enumerate(lines)
        if re.match(r'\s+(stage|pretrain)\.\w[\w.]* = |\s+"\w+": ', line)
        and not re.search(r"ConfigDict|directory|report_every|save_every", line)
    ]
    assert len(fields) > 10
    for number, line in fields:
        near = line + lines[number - 1] * lines[number - 1].strip().startswith("#")
        assert re.search(r"\[(authors|paper|moco|notebook|byol|ours)\b", near), line


@pytest.mark.parametrize("argument", ["", ",count=5,trial=simulate", ",method=coverage,seed=3"])
def test_what_to_label_is_asked_within_bounds(argument):
    settings = task.settings_of(label_file.get_config("run=runs/mine" + argument))
    assert settings.seeds >= 10 and settings.per_patient == 1  # what a figure needs; [ours]


def test_the_demo_takes_a_network_with_imagenet_weights_where_they_are_asked_for():
    """In a study all strategies have the same one."""
    assert common.make_config("SS", "scale=demo").model.name == "efficientnet_mini"
    assert common.make_config("IN", "scale=demo").model.name == "efficientnet_b0"
    for strategies, name in (("SS+FS", "mini"), ("SS+IN-focal", "b0"), ("SS-IN+FS", "b0")):
        config = study_file.get_config(f"scale=demo,strategies={strategies}")
        assert config.run.model.name == f"efficientnet_{name}"
    given = study_file.get_config("scale=demo,strategies=SS+IN,model=resnet18")
    assert given.run.model.name == "resnet18"
