"""A process that waits for others in vain ends: a hung one would keep all of them for ever."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

GONE = 75  # exit status (EX_TEMPFAIL): the same again may go well


class _Watch:
    """Looks at the time since something moved, where something should."""

    def __init__(self):
        self.patience, self.named = 0.0, str
        self.since: float | None = None  # when something moved; None: nothing has to

    def look(self) -> None:
        while True:
            time.sleep(min(1.0, self.patience / 10))
            since = self.since
            if since is not None and time.monotonic() - since > self.patience:
                leave(f"{self.named()}nothing has moved for {self.patience:g} s: another one hangs")


_watch = _Watch()


def start(patience: float, named: Callable[[], str]) -> None:
    """From here on this process ends when nothing moves for `patience` seconds.

    Args:
      named: what it calls itself when it does.
    """
    _watch.patience, _watch.named = patience, named
    threading.Thread(target=_watch.look, daemon=True).start()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Inside, from the first call of `moved` on, it has to be called again and again.

    The first takes as long as it takes: a step is compiled. So do preparing and waiting for locks.
    """
    before, _watch.since = _watch.since, None
    try:
        yield
    finally:
        _watch.since = None if before is None else time.monotonic()


def moved() -> None:
    """Something is done that took all processes, such as a step."""
    _watch.since = time.monotonic()


def leave(why: str) -> NoReturn:
    """Ends this process at once, with a line; a clean end would wait for the others, too."""
    print(
        f"dermjax: {why}. This one ends; the same command on all of them continues at the last "
        "checkpoint",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    os._exit(GONE)
