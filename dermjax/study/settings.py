"""Settings of a study; `configs/study.py` says what each is."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from ml_collections import ConfigDict

from dermjax import stores
from dermjax.settings import PretrainSettings, RunFields, RunSettings
from dermjax.settings.section import Section, flat
from dermjax.strategies import STRATEGIES, VARIANTS, split

RUNS = "runs"  # the folder of a study's runs
_MOST = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSettings(Section):
    """The report of a study."""

    SECTION: ClassVar[str] = "report"

    resamples: int
    seed: int
    subgroups: tuple[str, ...]  # columns
    minimum: int  # images of a subgroup
    beside: tuple[str, ...]  # folders of other studies
    tsne: bool

    def __post_init__(self):
        self.check_between(100, _MOST, "resamples")
        self.check_between(1, _MOST, "minimum")
        self.check_least(0, "seed")
        for folder in self.beside:
            if not (stores.folder(folder) / RUNS).exists():
                raise ValueError(
                    f"config.report.beside: {folder} is not the folder of a study: it has no "
                    f"{RUNS}/"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySettings(Section):
    """Strategies x shares of the labels x trials, and what all their runs have in common."""

    task: str
    strategies: tuple[str, ...]  # of STRATEGIES, or such as SS-balanced
    alphas: tuple[float, ...]
    trials: int
    pretrainings: int = 1
    run: RunFields  # the fields of all runs; those of pretraining are SS's
    ss_in: Mapping[str, Any]  # fields of pretraining that SS-IN has otherwise, {} for none
    dry_run: bool
    only: int  # number of the one run to do; -1: all
    report: ReportSettings

    @classmethod
    def from_config(cls, config: ConfigDict | Mapping[str, Any]) -> Self:
        """As of any section; of `ss_in` the fields that are set."""
        given = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        return super().from_config(given | {"ss_in": _set_fields(given["ss_in"]["pretrain"])})

    def __post_init__(self):
        options = ", ".join(f"-{option}" for option in VARIANTS)
        known = set(known_strategies())
        self._check_several(
            "strategies",
            known.issuperset(self.strategies),
            f"{' or '.join(STRATEGIES)}, each of these also with {options}",
        )
        self._check_several(
            "alphas", all(0 < one <= 1 for one in self.alphas), "above 0 and at most 1"
        )
        self.check_between(1, 1000, "trials")
        self.check_between(-1, self.trials * len(self.alphas) * len(self.strategies) - 1, "only")
        if self.pretrainings not in (1, self.trials):
            raise ValueError(
                f"config.pretrainings = {self.pretrainings} must be 1, a pretraining that all "
                f"trials share, or {self.trials}, one for each trial"
            )
        self._check_ss_in()
        self._check_folders()
        for strategy in self.strategies:
            self.single(strategy, self.alphas[0], 0)

    def single(self, strategy: str, alpha: float, trial: int) -> RunSettings:
        """The settings of one run; what its strategy does not know is left out.

        Raises:
          ValueError: they do not fit together.
        """
        base, variant = split(strategy)
        kind, run = STRATEGIES[base], self.run
        fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
        pretrain = None
        if kind.pretrains:
            pretrain = self.pretraining(base)
            if self.pretrainings > 1:
                pretrain = dataclasses.replace(pretrain, repeat=trial)
        starts = pretrain.init == "imagenet" if pretrain else kind.from_weights
        return RunSettings(
            **fields
            | {
                "strategy": base,
                "variant": variant,
                "control": run.control and kind.pretrains,
                "data": dataclasses.replace(run.data, alpha=alpha, trial=trial),
                "init": run.init if starts else dataclasses.replace(run.init, weights=""),
                "pretrain": pretrain,
                "finetune": dataclasses.replace(run.finetuning, **VARIANTS.get(variant, {})),
            }
        )

    def pretraining(self, strategy: str) -> PretrainSettings:
        """The settings of a strategy's pretraining: `run.pretrain`, and what SS-IN has of its own.

        Raises:
          ValueError: they do not fit together.
        """
        stage = self.run.pretraining
        if not STRATEGIES[strategy].from_weights:
            return stage
        return _replaced(stage, {**self.ss_in, "init": "imagenet"})

    def bases(self) -> list[str]:
        """The strategies without their options for rare classes, each once."""
        named = {split(name)[0] for name in self.strategies}
        return [base for base in STRATEGIES if base in named]

    def _check_several(self, field: str, known: bool, bound: str) -> None:
        """Whether values are known ones, and each is there once."""
        values = getattr(self, field)
        if not known or not values or len(set(values)) < len(values):
            raise ValueError(f"config.{field} = {values} must be different ones, each {bound}")

    def _check_ss_in(self) -> None:
        """Whether SS and SS-IN are two strategies, and SS-IN's fields have a run."""
        if self.ss_in and "SS-IN" not in self.bases():
            field, value = next(iter(flat(self.ss_in).items()))
            raise ValueError(
                f"config.ss_in.pretrain.{field} = {value} is of SS-IN, which is not among "
                f"config.strategies = {self.strategies}: add it, or leave the field out"
            )
        if {"SS", "SS-IN"} <= set(self.bases()) and self.run.pretraining.init != "random":
            raise ValueError(
                f"config.run.pretrain.init = {self.run.pretraining.init!r} would make SS what "
                "SS-IN is: leave it at random, or SS-IN out"
            )

    def _check_folders(self) -> None:
        """Whether a folder that is named for a pretraining is for one alone."""
        folders: collections.Counter[str] = collections.Counter()
        for base in self.bases():
            if STRATEGIES[base].pretrains:
                folders[self.pretraining(base).directory] += self.pretrainings
        for folder, count in folders.items():
            if folder and count > 1:
                raise ValueError(
                    f"config.run.pretrain.directory = {folder} is one folder for {count} "
                    "pretrainings: leave it blank, each gets one of its own"
                )


def known_strategies() -> list[str]:
    """Every strategy, alone and with each option for rare classes."""
    return [*STRATEGIES, *(f"{s}-{v}" for s in STRATEGIES for v in VARIANTS)]


def _replaced(section: Section, changes: Mapping[str, Any]) -> Any:
    """A section with other values, also in sections within it."""
    return dataclasses.replace(
        section,
        **{
            name: _replaced(getattr(section, name), value) if isinstance(value, Mapping) else value
            for name, value in changes.items()
        },
    )


def _set_fields(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None; sections without any are left out."""
    found = {
        name: _set_fields(value) if isinstance(value, Mapping) else value
        for name, value in section.items()
    }
    return {name: value for name, value in found.items() if value not in (None, {})}
