"""What a study consists of: one ordinary run per strategy, share of the labels and trial."""

import collections
import dataclasses
import itertools
import re
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from dermjax import stores
from dermjax.configs import common
from dermjax.runs.folder import RESULTS, read_config
from dermjax.settings import checks as single
from dermjax.settings.first_weights import starts_from_weights
from dermjax.strategies import STRATEGIES, file_name, split

# Fine-tuning for rare classes, as a further strategy: SS-balanced, IN-logit, ... The last two need
# labels that are not smoothed.
VARIANTS: dict[str, dict[str, Any]] = {
    "balanced": {"sampling": "balanced"},
    "weights": {"class_weights": "effective_number"},
    "logit": {"logit_adjustment": 1.0, "label_smoothing": 0.0},
    "focal": {"loss": "focal", "label_smoothing": 0.0},
}
_RUNS = "runs"
_ARGUMENTS = ("scale", "data", "model", "alpha", "trial")


@dataclasses.dataclass(frozen=True, eq=False)  # equal is only itself: configs have no hash
class Planned:
    """A run of the study, done or not."""

    strategy: str  # of STRATEGIES, or such as SS-balanced
    alpha: float
    trial: int
    directory: epath.Path
    config: ConfigDict  # as `dermjax.main` would have it

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{file_name(self.strategy)}-alpha{self.alpha:g}-trial{self.trial}"

    @property
    def title(self) -> str:
        """How a run is called in print, such as `SS alpha 0.1 trial 0`."""
        return f"{self.strategy} alpha {self.alpha:g} trial {self.trial}"

    @property
    def done(self) -> bool:
        """Whether its results are there."""
        return (self.directory / RESULTS).exists()

    def flags(self) -> list[str]:
        """What a user would type behind `python -m dermjax.main` to get this very run."""
        argument = _argument(self.config)
        usual = common.make_config(self.config.strategy, argument)
        return [
            f"--config=configs/{file_name(self.config.strategy)}.py:{argument}",
            f"--workdir={self.directory}",
            *(f"--config.{field}={_typed(value)}" for field, value in _changes(self.config, usual)),
        ]


def plan(config: ConfigDict, directory: epath.Path) -> list[Planned]:
    """All runs: whole trials one after the other, so that an unfinished study can be compared."""
    runs = []
    for trial, alpha, strategy in itertools.product(
        range(config.trials), config.alphas, config.strategies
    ):
        planned = Planned(
            strategy, alpha, trial, directory, _single(config, strategy, alpha, trial)
        )
        runs.append(dataclasses.replace(planned, directory=directory / _RUNS / planned.name))
    return runs


def finished(directory: epath.Path) -> list[Planned]:
    """The runs that are done in a study's folder, whatever is planned there."""
    runs, named = [], {file_name(strategy): strategy for strategy in _known()}
    for results in sorted((directory / _RUNS).glob(f"*/{RESULTS}")):
        config = read_config(results.parent)
        # Of the name that `Planned.name` gave it: the option for rare classes is no field.
        name = results.parent.name.partition("-alpha")[0]
        strategy, data = named.get(name, name.upper()), config.data
        runs.append(Planned(strategy, data.alpha, data.trial, results.parent, config))
    order = {name: i for i, name in enumerate(_known())}
    return sorted(runs, key=lambda run: (run.trial, run.alpha, order.get(run.strategy, -1)))


def check(config: ConfigDict) -> None:
    """Looks at the study's own fields, and at one run of each strategy.

    Raises:
      ValueError: the first that is out of bounds, with its value, the bound and the remedy.
    """
    for name, bad in (
        ("strategies", [s for s in config.strategies if s not in _known()]),
        ("alphas", [alpha for alpha in config.alphas if not 0 < alpha <= 1]),
    ):
        values = config[name]
        if bad or not values or len(set(values)) < len(values):
            options = ", ".join(f"-{option}" for option in VARIANTS)
            bound = f"{' or '.join(STRATEGIES)}, each of these also with {options}"
            bound = bound if name == "strategies" else "above 0 and at most 1"
            raise ValueError(
                f"config.{name} = {tuple(values)} must be different ones, each {bound}"
            )
    runs = config.trials * len(config.alphas) * len(config.strategies)
    for name, low, high in (
        ("trials", 1, 1000),
        ("only", -1, runs - 1),
        ("report.resamples", 100, 1_000_000),
        ("report.minimum", 1, 1_000_000),
    ):
        value = config
        for part in name.split("."):
            value = value[part]
        if not low <= value <= high:
            raise ValueError(f"config.{name} = {value} must be at least {low} and at most {high}")
    if config.pretrainings not in (1, config.trials):
        raise ValueError(
            f"config.pretrainings = {config.pretrainings} must be 1, a pretraining that all trials "
            f"share, or {config.trials}, one for each trial"
        )
    _check_pretraining(config)
    for folder in config.report.beside:
        if not (stores.folder(folder) / _RUNS).exists():
            raise ValueError(
                f"config.report.beside: {folder} is not the folder of a study: it has no {_RUNS}/"
            )
    for strategy in config.strategies:
        single.check(_single(config, strategy, config.alphas[0], 0))


def _check_pretraining(config: ConfigDict) -> None:
    """Whether SS and SS-IN are two strategies, and have as many folders as pretrainings."""
    there = [base for base in STRATEGIES if base in {split(name)[0] for name in config.strategies}]
    if own := _set_fields(config.ss_in, "ss_in."):
        field, value = own[0]
        if "SS-IN" not in there:
            raise ValueError(
                f"config.{field} = {value} is of SS-IN, which is not among config.strategies = "
                f"{tuple(config.strategies)}: add it, or leave the field out"
            )
    if {"SS", "SS-IN"} <= set(there) and config.run.pretrain.init != "random":
        raise ValueError(
            f"config.run.pretrain.init = {config.run.pretrain.init!r} would make SS what SS-IN is: "
            "leave it at random, or SS-IN out"
        )
    folders: collections.Counter[str] = collections.Counter()
    for base in there:
        if STRATEGIES[base].pretrains:
            folders[pretraining(config, base).directory] += config.pretrainings
    for folder, count in folders.items():
        if folder and count > 1:
            raise ValueError(
                f"config.run.pretrain.directory = {folder} is one folder for {count} pretrainings: "
                "leave it blank, each gets one of its own"
            )


def _known() -> list[str]:
    return [*STRATEGIES, *(f"{s}-{v}" for s in STRATEGIES for v in VARIANTS)]


def _single(config: ConfigDict, strategy: str, alpha: float, trial: int) -> ConfigDict:
    """The config of one run; fields that its strategy does not know are left out."""
    run = ConfigDict(config.run.to_dict())
    base, variant = split(strategy)
    run.strategy, run.data.alpha, run.data.trial = base, alpha, trial
    run.finetune.update(VARIANTS.get(variant, {}))
    if STRATEGIES[base].pretrains:
        run.pretrain = pretraining(config, base)
        if config.pretrainings > 1:
            run.pretrain.repeat = trial
    else:
        del run["pretrain"]
        run.control = False
    if not starts_from_weights(run):
        run.init.weights = ""
    return run


def pretraining(config: ConfigDict, strategy: str) -> ConfigDict:
    """The settings of a strategy's pretraining: `run.pretrain`, and what SS-IN has of its own."""
    stage = ConfigDict(config.run.pretrain.to_dict())
    if STRATEGIES[strategy].from_weights:
        stage.init = "imagenet"
        stage.update_from_flattened_dict(dict(_set_fields(config.ss_in.pretrain)))
    return stage


def _set_fields(section: ConfigDict, prefix: str = "") -> list[tuple[str, Any]]:
    """The fields that are not None, by their whole names."""
    found = []
    for name, value in section.items():
        if isinstance(value, ConfigDict):
            found += _set_fields(value, f"{prefix}{name}.")
        elif value is not None:
            found.append((prefix + name, value))
    return found


def _argument(run: ConfigDict) -> str:
    """`alpha=0.1,...` of the run's config file."""
    data = run.data
    # What would need quotes there is a field of its own, as all that is not as usual.
    source = common.ARGUMENTS["data"] if re.search("[,'\"]|^\\s|\\s$", data.source) else data.source
    given = (run.scale, source, run.model.name, f"{data.alpha:g}", data.trial)
    return ",".join(f"{name}={value}" for name, value in zip(_ARGUMENTS, given, strict=True))


def _changes(config: ConfigDict, usual: ConfigDict, prefix: str = "") -> list[tuple[str, Any]]:
    """Fields that are not as usual."""
    found = []
    for name in sorted(config):
        value, other = config[name], usual[name]
        if isinstance(value, ConfigDict):
            found += _changes(value, other, f"{prefix}{name}.")
        elif value != other:
            found.append((prefix + name, value))
    return found


def _typed(value: Any) -> str:
    """A value as absl reads it back."""
    return str(value)
