"""How work on many photographs is done: by how many processes, and who shows its progress."""

import dataclasses
from collections.abc import Callable, Iterable

# Wraps an iterable of known length to show progress: (items, total, label) -> items.
Track = Callable[[Iterable, int, str], Iterable]


def untracked(items: Iterable, total: int, label: str) -> Iterable:
    """The items, without a word."""
    return items


@dataclasses.dataclass(frozen=True)
class Work:
    """Processes that open photographs, and what shows their progress."""

    workers: int = 2
    track: Track = untracked


WORK = Work()
