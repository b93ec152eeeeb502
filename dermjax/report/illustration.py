"""A figure of a page with the words that belong to it."""

import dataclasses
from collections.abc import Mapping

from dermjax.report import looks


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A figure, the name of its files, and its words."""

    name: str
    figure: looks.Chart
    heading: str
    caption: str
    width: int = 920  # CSS px

    @property
    def alt(self) -> str:
        """What a screen reader says."""
        return f"{self.heading}: {self.caption}"

    @property
    def key(self) -> Mapping[int, str]:
        """Whole names by number, of names that are too long to be drawn."""
        return self.figure.key.entries
