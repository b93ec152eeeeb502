"""Settings of the data: where they are, how they are read, split and prepared, what is labelled."""

import dataclasses
from typing import ClassVar

from dermjax.data import layouts, links, near_duplicates, records
from dermjax.data.synthetic import SyntheticSettings
from dermjax.settings.section import Section


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSettings(Section):
    """The embedded data set, where `data.source` is `synthetic`."""

    SECTION: ClassVar[str] = "data.synthetic"

    lesions: int
    width: int  # px of a photograph
    height: int
    seed: int
    tail: float = 1.0  # 1: classes as unequal as the paper's; 0: all of one size

    def __post_init__(self):
        self.check_least(0, "seed")
        try:
            self.drawing()
        except ValueError as error:
            raise ValueError(f"config.data.synthetic: {error}") from None

    def drawing(self) -> SyntheticSettings:
        """What is drawn."""
        return SyntheticSettings(**self.to_dict())


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Section):
    """Photographs and labels, their sets, the labelled subset, and how crops are prepared."""

    SECTION: ClassVar[str] = "data"

    source: str
    layout: str
    official_split: bool
    on_bad_image: str
    near_duplicates: int
    allow: tuple[str, ...]
    redact: str
    alpha: float
    trial: int
    split_seed: int
    max_side: int  # px
    records: str
    cache_dir: str
    workers: int
    read_threads: int
    prefetch_batches: int
    synthetic: EmbeddedSettings

    def __post_init__(self):
        self.check_factor("alpha")
        self.check_least(0, "trial", "split_seed", "workers")
        self.check_least(1, "read_threads", "prefetch_batches")
        self.check_least(8, "max_side")
        self.check_between(0, near_duplicates.BITS, "near_duplicates")
        self.check_choice("on_bad_image", layouts.POLICIES)
        self.check_choice("records", tuple(records.FORMS))
        try:
            links.check_allow(self.allow)
        except ValueError as error:
            raise ValueError(f"config.data.allow: {error}") from None
