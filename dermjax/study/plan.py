"""What a study consists of: one ordinary run per strategy, share of the labels and trial."""

import dataclasses
import itertools
import re

from etils import epath

from dermjax.configs import common
from dermjax.runs.run_folder import RESULTS, RunFolder, folder_name
from dermjax.settings import RunFields, RunSettings
from dermjax.settings.section import flat
from dermjax.strategies import file_name
from dermjax.study.settings import RUNS, StudySettings, known_strategies

_ARGUMENTS = ("scale", "data", "model", "alpha", "trial")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A run of the study, done or not."""

    settings: RunSettings  # as `dermjax.main` would have them
    folder: RunFolder

    @property
    def strategy(self) -> str:
        """Of STRATEGIES, or such as SS-balanced."""
        return "-".join(filter(None, (self.settings.strategy, self.settings.variant)))

    @property
    def alpha(self) -> float:
        """The share of the training images that keep their labels."""
        return self.settings.data.alpha

    @property
    def trial(self) -> int:
        """Which labelled subset, and which seed."""
        return self.settings.data.trial

    @property
    def name(self) -> str:
        """The name of its folder."""
        return folder_name(self.strategy, self.alpha, self.trial)

    @property
    def title(self) -> str:
        """How a run is called in print, such as `SS alpha 0.1 trial 0`."""
        return f"{self.strategy} alpha {self.alpha:g} trial {self.trial}"

    @property
    def done(self) -> bool:
        """Whether its results are there."""
        return self.folder.is_finished

    def flags(self) -> list[str]:
        """What a user would type behind `python -m dermjax.main` to get this very run."""
        argument, strategy = _argument(self.settings), self.settings.strategy
        usual = flat(RunFields.from_config(common.make_config(strategy, argument)).to_dict())
        fields = flat(self.settings.to_dict())
        return [
            f"--config=configs/{file_name(strategy)}.py:{argument}",
            f"--workdir={self.folder}",
            *(
                f"--config.{field}={value}"
                for field, value in sorted(fields.items())
                if value != usual[field]
            ),
        ]


def plan(settings: StudySettings, directory: epath.Path) -> list[Planned]:
    """All runs: whole trials one after the other, so that an unfinished study can be compared."""
    cells = itertools.product(range(settings.trials), settings.alphas, settings.strategies)
    return [
        Planned(
            settings.single(strategy, alpha, trial),
            RunFolder(directory / RUNS / folder_name(strategy, alpha, trial)),
        )
        for trial, alpha, strategy in cells
    ]


def finished(directory: epath.Path) -> list[Planned]:
    """The runs that are done in a study's folder, whatever is planned there."""
    folders = [RunFolder(one.parent) for one in sorted((directory / RUNS).glob(f"*/{RESULTS}"))]
    order = {name: i for i, name in enumerate(known_strategies())}
    runs = [Planned(folder.settings(), folder) for folder in folders]
    return sorted(runs, key=lambda run: (run.trial, run.alpha, order[run.strategy]))


def _argument(run: RunSettings) -> str:
    """`alpha=0.1,...` of the run's config file."""
    data = run.data
    # What would need quotes there is a field of its own, as all that is not as usual.
    source = common.ARGUMENTS["data"] if re.search("[,'\"]|^\\s|\\s$", data.source) else data.source
    given = (run.scale, source, run.model.name, f"{data.alpha:g}", data.trial)
    return ",".join(f"{name}={value}" for name, value in zip(_ARGUMENTS, given, strict=True))
