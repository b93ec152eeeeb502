"""What a study plans: its runs, and the pretrainings that they share or do not share."""

import pytest
from dermjax.configs import study as config_file
from etils import epath

from dermjax.stages import planned


def config_of(argument):
    return config_file.get_config(f"scale=demo,strategies=SS+FS,alphas=0.5,{argument}")


def test_each_trial_has_a_pretraining_of_its_own_where_that_is_asked_for(tmp_path):
    config = config_of("trials=3,pretrainings=3")
    planned.check(config)
    runs = planned.plan(config, epath.Path(tmp_path))
    own = [run for run in runs if run.strategy == "SS"]
    assert [run.config.pretrain.repeat for run in own] == [0, 1, 2]
    said = [[flag for flag in run.flags() if "pretrain.repeat" in flag] for run in own]
    assert said == [[], ["--config.pretrain.repeat=1"], ["--config.pretrain.repeat=2"]]
    assert all("pretrain" not in run.config for run in runs if run.strategy == "FS")


def test_otherwise_all_trials_share_one(tmp_path):
    for run in planned.plan(config_of("trials=3"), epath.Path(tmp_path)):
        assert not [flag for flag in run.flags() if "repeat" in flag]
        if run.strategy == "SS":
            assert run.config.pretrain.repeat == 0


@pytest.mark.parametrize("pretrainings", [0, 2, 4])
def test_pretrainings_are_one_or_as_many_as_trials(pretrainings):
    with pytest.raises(ValueError, match=rf"pretrainings = {pretrainings} must be 1.* or 3"):
        planned.check(config_of(f"trials=3,pretrainings={pretrainings}"))
    planned.check(config_of("trials=3,pretrainings=1"))


def test_several_pretrainings_do_not_share_a_named_folder():
    config = config_of("trials=2,pretrainings=2")
    config.run.pretrain.directory = "runs/mine"
    with pytest.raises(ValueError, match="runs/mine is one folder for 2 pretrainings"):
        planned.check(config)
