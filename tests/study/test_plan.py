"""What a study plans: its runs, and the pretrainings that they share or do not share."""

import pytest
from etils import epath

from dermjax.configs import study as config_file
from dermjax.study import plan
from dermjax.study.settings import StudySettings, known_strategies
from tests.experiment.clinic import with_fields
from tests.study.made_up import write_study


def config_of(argument):
    return config_file.get_config(f"scale=demo,strategies=SS+FS,alphas=0.5,{argument}")


def settings_of(argument):
    return StudySettings.from_config(config_of(argument))


def test_each_trial_has_a_pretraining_of_its_own_where_that_is_asked_for(tmp_path):
    config = config_of("trials=3,pretrainings=3")
    StudySettings.from_config(config)
    runs = plan.plan(StudySettings.from_config(config), epath.Path(tmp_path))
    own = [run for run in runs if run.strategy == "SS"]
    assert [run.settings.pretrain.repeat for run in own] == [0, 1, 2]
    said = [[flag for flag in run.flags() if "pretrain.repeat" in flag] for run in own]
    assert said == [[], ["--config.pretrain.repeat=1"], ["--config.pretrain.repeat=2"]]
    assert all(run.settings.pretrain is None for run in runs if run.strategy == "FS")


def test_otherwise_all_trials_share_one(tmp_path):
    for run in plan.plan(settings_of("trials=3"), epath.Path(tmp_path)):
        assert not [flag for flag in run.flags() if "repeat" in flag]
        if run.strategy == "SS":
            assert run.settings.pretrain.repeat == 0


@pytest.mark.parametrize("pretrainings", [0, 2, 4])
def test_pretrainings_are_one_or_as_many_as_trials(pretrainings):
    with pytest.raises(ValueError, match=rf"pretrainings = {pretrainings} must be 1.* or 3"):
        StudySettings.from_config(config_of(f"trials=3,pretrainings={pretrainings}"))
    StudySettings.from_config(config_of("trials=3,pretrainings=1"))


def test_several_pretrainings_do_not_share_a_named_folder():
    config = config_of("trials=2,pretrainings=2")
    config.run.pretrain.directory = "runs/mine"
    with pytest.raises(ValueError, match="runs/mine is one folder for 2 pretrainings"):
        StudySettings.from_config(config)


# --- SS-IN --------------------------------------------------------------------------------------

ALL = "strategies=SS+SS-IN+IN+FS"


def all_of(argument="alphas=0.1,trials=1", **fields):
    config = config_file.get_config(f"scale=demo,model=efficientnet_b0,{ALL},{argument}")
    return with_fields(config, fields)


def test_the_study_that_is_not_told_otherwise_has_the_papers_strategies(tmp_path):
    """And its runs the names and numbers that they had before there was SS-IN."""
    config = config_file.get_config("scale=demo,alphas=0.1+1.0,trials=2")
    names = [run.name for run in plan.plan(StudySettings.from_config(config), epath.Path(tmp_path))]
    assert names == [
        f"{strategy}-alpha{alpha}-trial{trial}"
        for trial in (0, 1)
        for alpha in ("0.1", "1")
        for strategy in ("ss", "in", "fs")
    ]


def test_the_four_strategies_differ_in_what_they_start_from_alone(tmp_path):
    ss, ss_in, in_, fs = plan.plan(
        StudySettings.from_config(all_of(run__init__weights="w.npz")), epath.Path(tmp_path)
    )
    assert [run.title.split()[0] for run in (ss, ss_in, in_, fs)] == ["SS", "SS-IN", "IN", "FS"]
    assert ss_in.name == "ss_in-alpha0.1-trial0"
    assert ss_in.settings.strategy == "SS-IN" and ss_in.settings.pretrain.init == "imagenet"
    assert ss.settings.pretrain.init == "random"
    assert [run.settings.init.weights for run in (ss, ss_in, in_, fs)] == ["", "w.npz", "w.npz", ""]
    assert [run.settings.pretrain is not None for run in (ss, ss_in, in_, fs)] == [
        True,
        True,
        False,
        False,
    ]
    first, *others = ss_in.flags()
    assert first.startswith("--config=configs/ss_in.py:scale=demo,")
    assert not [flag for flag in others if "pretrain" in flag]  # all is what the file gives
    rest = [run.settings.to_dict() for run in (ss, ss_in)]
    for fields in rest:
        fields["strategy"] = fields["init"]["weights"] = fields["pretrain"]["init"] = ""
    assert rest[0] == rest[1]


def test_the_names_of_all_strategies_and_options_are_told_apart_and_found_again(tmp_path):
    argument = f"strategies={'+'.join(known_strategies())},alphas=0.5,trials=1"
    _, runs = write_study(tmp_path, argument=argument, images=20)
    assert len(runs) == 20 == len({run.name for run in runs})
    assert {"ss_in-balanced-alpha0.5-trial0", "ss-balanced-alpha0.5-trial0"} <= {
        run.name for run in runs
    }
    found = plan.finished(epath.Path(tmp_path))
    assert [run.title for run in found] == [run.title for run in runs]
    for run, same in zip(runs, found, strict=True):
        assert run.settings == same.settings
        assert run.strategy.startswith(run.settings.strategy)
    options = {run.strategy: run.settings.finetune for run in runs}
    assert options["SS-IN-balanced"].sampling == "balanced" != options["SS-IN"].sampling


def test_settings_of_ss_in_are_its_own_and_those_of_the_runs_are_both_s(tmp_path):
    config = all_of(
        run__pretrain__steps=50,
        run__pretrain__augment__hue=0.05,
        ss_in__pretrain__augment__hue=0.0,  # no hue is a value, too
        ss_in__pretrain__learning_rate=1e-4,
        ss_in__pretrain__symmetric=False,
    )
    StudySettings.from_config(config)
    ss, ss_in, *_ = plan.plan(StudySettings.from_config(config), epath.Path(tmp_path))
    assert (ss.settings.pretrain.steps, ss_in.settings.pretrain.steps) == (50, 50)
    assert (ss.settings.pretrain.augment.hue, ss_in.settings.pretrain.augment.hue) == (0.05, 0.0)
    assert ss_in.settings.pretrain.learning_rate == 1e-4 != ss.settings.pretrain.learning_rate
    assert ss_in.settings.finetune == ss.settings.finetune
    assert "--config.pretrain.learning_rate=0.0001" in ss_in.flags()
    # What is checked of a run is checked of its settings as well.
    config.ss_in.pretrain.warmup_steps = 50
    with pytest.raises(ValueError, match="warmup_steps = 50 .* below pretrain.steps = 50"):
        StudySettings.from_config(config)


def test_pretrainings_of_each_trial_are_of_both(tmp_path):
    config = all_of("alphas=0.1+1.0,trials=3,pretrainings=3")
    StudySettings.from_config(config)
    for run in plan.plan(StudySettings.from_config(config), epath.Path(tmp_path)):
        if run.settings.pretrain:
            assert run.settings.pretrain.repeat == run.trial


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
        StudySettings.from_config(all_of(**fields))


def test_two_named_folders_are_taken_and_ss_alone_may_start_from_weights(tmp_path):
    named = all_of(run__pretrain__directory=f"{tmp_path}/a")
    named.ss_in.pretrain.directory = f"{tmp_path}/b"
    StudySettings.from_config(named)
    StudySettings.from_config(all_of(strategies=("SS", "FS"), run__pretrain__init="imagenet"))
