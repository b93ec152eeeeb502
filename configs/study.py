"""The study: strategies x shares of the labels x trials, and the report that compares them.

    python -m dermjax.main --config=configs/study.py
    python -m dermjax.main --config=configs/study.py:scale=demo,alphas=0.1+1.0,trials=2
    python -m dermjax.main --config=configs/study.py:trials=3,pretrainings=3
    python -m dermjax.main --config=configs/study.py:strategies=SS+SS-IN+IN+FS \
        --config.ss_in.pretrain.learning_rate=1e-4
    python -m dermjax.main --config=configs/study.py:data=clinic/photos.csv --config.dry_run=True

Every run is an ordinary one, with a folder of its own in the study's; runs that are there are not
done again, and the same command continues. Any field of a run is set for all of them by
`--config.run.FIELD=VALUE`: what concerns pretraining goes to SS and SS-IN, `init.weights` to those
that start from weights. SS-IN, which is not the paper's, is there where `strategies` names it; what
its pretraining has of its own is set by `--config.ss_in.pretrain.FIELD=VALUE`. Processes that share
the folder share the work. SS-balanced, SS-weights, SS-logit, SS-focal (and the same of SS-IN, IN
and FS) are strategies with an option for rare classes.
"""

from ml_collections import ConfigDict, config_dict

from dermjax import strategies
from dermjax.configs import common

ARGUMENTS = {
    "strategies": "SS+IN+FS",  # [paper]; there is SS-IN, too
    "alphas": "0.1+0.2+0.3+0.4+0.5+0.6+0.7+0.8+0.9+1.0",
    "trials": 3,
    "pretrainings": 1,  # of SS, and of SS-IN: 1, which all trials share, or as many as trials
    **{name: common.ARGUMENTS[name] for name in ("scale", "data", "model")},
}


def get_config(argument: str | None = None) -> ConfigDict:
    """Arguments: strategies, alphas, trials, pretrainings, scale, data, model (see `ARGUMENTS`)."""
    given = common.parse_argument(argument, ARGUMENTS)
    config = ConfigDict({"task": "study"})
    config.strategies = tuple(given["strategies"].split("+"))
    config.alphas = tuple(common.numbers("alphas", given["alphas"]))
    config.trials = given["trials"]
    # What another pretraining would change is in the intervals only if each trial has its own; the
    # paper's trials share one.
    config.pretrainings = given["pretrainings"]
    shared = ",".join(f"{name}={given[name]}" for name in ("scale", "model") if given[name])
    bases = [strategies.split(name)[0] for name in config.strategies]
    from_weights = any(
        strategies.STRATEGIES[base].from_weights for base in bases if base in strategies.STRATEGIES
    )
    # SS has every field that a run can have.
    config.run = common.make_config("SS", shared, from_weights=from_weights)
    config.run.data.source = given["data"]
    config.run.control = False  # FS, or IN, is it
    # Fields of pretraining that SS-IN has otherwise than `run`: weights that know something already
    # may want another learning rate, length or augmentation.
    config.ss_in = ConfigDict({"pretrain": _unset(config.run.pretrain, without=("init", "repeat"))})
    config.dry_run = False  # list the runs, their state and cost, and do nothing
    config.only = -1  # number of the one run to do, as an array of a scheduler counts; -1: all
    config.report = ConfigDict(
        {
            "resamples": 2_000,  # of the test patients, for errors of calibration [ours]
            "seed": 0,  # of the resamples and of t-SNE
            "subgroups": ("skin_type", "sex", "age", "site"),  # columns looked at if they are there
            "minimum": 20,  # images of a subgroup; measures of fewer are not shown
            # Folders of other studies of the same data, such as a ResNet-50's: their features and
            # measures stand in this report too (the paper's Figure 5 beside its Figure 4).
            "beside": (),
            "tsne": True,  # Figures 4 and 5; takes longest
        }
    )
    return config


def _unset(section: ConfigDict, without: tuple[str, ...] = ()) -> ConfigDict:
    """The same fields, of the same types, and None until they are set."""
    return ConfigDict(
        {
            name: _unset(value)
            if isinstance(value, ConfigDict)
            else config_dict.placeholder(type(value))
            for name, value in section.items()
            if name not in without
        }
    )
