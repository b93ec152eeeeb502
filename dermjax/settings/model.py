"""Settings of the network and of the weights that it starts from."""

import dataclasses
from typing import ClassVar

from dermjax import models
from dermjax.settings.section import Section

_DTYPES = ("auto", "float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(Section):
    """Which network, and what stage 2 drops of it at random."""

    SECTION: ClassVar[str] = "model"

    name: str
    drop_rate: float
    drop_path_rate: float
    dtype: str  # of _DTYPES

    def __post_init__(self):
        self.check_below_one("drop_rate", "drop_path_rate")
        self.check_choice("dtype", _DTYPES)
        if self.name not in models.list_models():
            models.create(self.name, num_classes=0)  # names what there is, and the nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitSettings(Section):
    """The first weights of strategies that read them, and how images are normalised."""

    SECTION: ClassVar[str] = "init"

    weights: str  # a file or a name of the hub; '': the network's ImageNet weights
    mean: tuple[float, ...]  # of each channel, pixels in [0, 1]; (): the weights' own
    std: tuple[float, ...]

    def __post_init__(self):
        given = {name: getattr(self, name) for name in ("mean", "std") if getattr(self, name)}
        try:
            models.Preprocessing(**given)
        except ValueError as error:
            raise ValueError(f"config.init: {error}") from None
