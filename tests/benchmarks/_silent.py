"""A writer for benchmarks, which print tables of their own."""

from dermjax.training.writer import Writer


class Silent(Writer):
    """Writes metrics and says nothing."""

    def say(self, line: str) -> None:
        pass
