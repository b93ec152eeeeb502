"""What a study plans: its runs, and the pretrainings that they share or do not share."""

import pytest
from dermjax.configs import study as config_file
from etils import epath

from dermjax.study import plan
from tests.experiment.clinic import with_fields
from tests.study.made_up import write_study


def config_of(argument):
    return config_file.get_config(f"scale=demo,strategies=SS+FS,alphas=0.5,{argument}")


def test_each_trial_has_a_pretraining_of_its_own_where_that_is_asked_for(tmp_path):
    config = config_of("trials=3,pretrainings=3")
    plan.check(config)
    runs = plan.plan(config, epath.Path(tmp_path))
    own = [run for run in runs if run.strategy == "SS"]
    assert [run.config.pretrain.repeat for run in own] == [0, 1, 2]
    said = [[flag for flag in run.flags() if "pretrain.repeat" in flag] for run in own]
    assert said == [[], ["--config.pretrain.repeat=1"], ["--config.pretrain.repeat=2"]]
    assert all("pretrain" not in run.config for run in runs if run.strategy == "FS")


def test_otherwise_all_trials_share_one(tmp_path):
    for run in plan.plan(config_of("trials=3"), epath.Path(tmp_path)):
        assert not [flag for flag in run.flags() if "repeat" in flag]
        if run.strategy == "SS":
            assert run.config.pretrain.repeat == 0


@pytest.mark.parametrize("pretrainings", [0, 2, 4])
def test_pretrainings_are_one_or_as_many_as_trials(pretrainings):
    with pytest.raises(ValueError, match=rf"pretrainings = {pretrainings} must be 1.* or 3"):
        plan.check(config_of(f"trials=3,pretrainings={pretrainings}"))
    plan.check(config_of("trials=3,pretrainings=1"))


def test_several_pretrainings_do_not_share_a_named_folder():
    config = config_of("trials=2,pretrainings=2")
    config.run.pretrain.directory = "runs/mine"
    with pytest.raises(ValueError, match="runs/mine is one folder for 2 pretrainings"):
        plan.check(config)


# --- SS-IN --------------------------------------------------------------------------------------

ALL = "strategies=SS+SS-IN+IN+FS"


def all_of(argument="alphas=0.1,trials=1", **fields):
    config = config_file.get_config(f"scale=demo,model=efficientnet_b0,{ALL},{argument}")
    return with_fields(config, fields)


def test_the_study_that_is_not_told_otherwise_has_the_papers_strategies(tmp_path):
    """And its runs the names and numbers that they had before there was SS-IN."""
    config = config_file.get_config("scale=demo,alphas=0.1+1.0,trials=2")
    names = [run.name for run in plan.plan(config, epath.Path(tmp_path))]
    assert names == [
        f"{strategy}-alpha{alpha}-trial{trial}"
        for trial in (0, 1)
        for alpha in ("0.1", "1")
        for strategy in ("ss", "in", "fs")
    ]


def test_the_four_strategies_differ_in_what_they_start_from_alone(tmp_path):
    ss, ss_in, in_, fs = plan.plan(all_of(run__init__weights="w.npz"), epath.Path(tmp_path))
    assert [run.title.split()[0] for run in (ss, ss_in, in_, fs)] == ["SS", "SS-IN", "IN", "FS"]
    assert ss_in.name == "ss_in-alpha0.1-trial0"
    assert ss_in.config.strategy == "SS-IN" and ss_in.config.pretrain.init == "imagenet"
    assert ss.config.pretrain.init == "random"
    assert [run.config.init.weights for run in (ss, ss_in, in_, fs)] == ["", "w.npz", "w.npz", ""]
    assert ["pretrain" in run.config for run in (ss, ss_in, in_, fs)] == [True, True, False, False]
    first, *others = ss_in.flags()
    assert first.startswith("--config=configs/ss_in.py:scale=demo,")
    assert not [flag for flag in others if "pretrain" in flag]  # all is what the file gives
    rest = [run.config.copy_and_resolve_references() for run in (ss, ss_in)]
    for config in rest:
        config.update({"strategy": "", "init": {"weights": ""}, "pretrain": {"init": ""}})
    assert rest[0] == rest[1]


def test_the_names_of_all_strategies_and_options_are_told_apart_and_found_again(tmp_path):
    """By the folder's name, which alone knows the option."""
    argument = f"strategies={'+'.join(plan._known())},alphas=0.5,trials=1"
    _, runs = write_study(tmp_path, argument=argument, images=20)
    assert len(runs) == 20 == len({run.name for run in runs})
    assert {"ss_in-balanced-alpha0.5-trial0", "ss-balanced-alpha0.5-trial0"} <= {
        run.name for run in runs
    }
    found = plan.finished(epath.Path(tmp_path))
    assert [run.title for run in found] == [run.title for run in runs]
    for run, same in zip(runs, found, strict=True):
        assert run.config.to_json() == same.config.to_json()
        assert run.strategy.startswith(run.config.strategy)
    options = {run.strategy: run.config.finetune for run in runs}
    assert options["SS-IN-balanced"].sampling == "balanced" != options["SS-IN"].sampling


def test_settings_of_ss_in_are_its_own_and_those_of_the_runs_are_both_s(tmp_path):
    config = all_of(
        run__pretrain__steps=50,
        run__pretrain__augment__hue=0.05,
        ss_in__pretrain__augment__hue=0.0,  # no hue is a value, too
        ss_in__pretrain__learning_rate=1e-4,
        ss_in__pretrain__symmetric=False,
    )
    plan.check(config)
    ss, ss_in, *_ = plan.plan(config, epath.Path(tmp_path))
    assert (ss.config.pretrain.steps, ss_in.config.pretrain.steps) == (50, 50)
    assert (ss.config.pretrain.augment.hue, ss_in.config.pretrain.augment.hue) == (0.05, 0.0)
    assert ss_in.config.pretrain.learning_rate == 1e-4 != ss.config.pretrain.learning_rate
    assert ss_in.config.finetune == ss.config.finetune
    assert "--config.pretrain.learning_rate=0.0001" in ss_in.flags()
    # What is checked of a run is checked of its settings as well.
    config.ss_in.pretrain.warmup_steps = 50
    with pytest.raises(ValueError, match="warmup_steps = 50 .* below pretrain.steps = 50"):
        plan.check(config)


def test_pretrainings_of_each_trial_are_of_both(tmp_path):
    config = all_of("alphas=0.1+1.0,trials=3,pretrainings=3")
    plan.check(config)
    for run in plan.plan(config, epath.Path(tmp_path)):
        if "pretrain" in run.config:
            assert run.config.pretrain.repeat == run.trial


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"strategies": ("SS", "FS"), "ss_in__pretrain__augment__hue": 0.0},
            r"ss_in.pretrain.augment.hue = 0.0 is of SS-IN, which is not among .*'SS', 'FS'",
        ),
        ({"run__pretrain__init": "imagenet"}, "init = 'imagenet' would make SS what SS-IN is"),
        ({"run__pretrain__directory": "runs/mine"}, "runs/mine is one folder for 2 pretrainings"),
    ],
)
def test_what_would_mix_ss_and_ss_in_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        plan.check(all_of(**fields))


def test_two_named_folders_are_taken_and_ss_alone_may_start_from_weights(tmp_path):
    named = all_of(run__pretrain__directory=f"{tmp_path}/a")
    named.ss_in.pretrain.directory = f"{tmp_path}/b"
    plan.check(named)
    plan.check(all_of(strategies=("SS", "FS"), run__pretrain__init="imagenet"))
