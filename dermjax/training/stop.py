"""SIGTERM and Ctrl-C as requests to stop, which all processes of a run follow at the same step."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from dermjax.training import processes


class Interrupted(Exception):
    """The run was asked to stop, and nothing is lost: the same command continues it."""


class _Request:
    """Whether a signal has come to any process; once it is known it stays."""

    def __init__(self):
        self._here, self._anywhere = False, False
        self._vote = processes.Vote(lambda: self._here)

    def asked(self) -> bool:
        self._anywhere = self._anywhere or self._vote()
        return self._anywhere

    def on_signal(self, number, _frame) -> None:
        if self._here and number == signal.SIGINT:
            raise KeyboardInterrupt  # Ctrl-C twice: the user does not want to wait for a save
        self._here = True


_request: _Request | None = None  # None: a signal ends the process, as it does others


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Inside, a signal ends nothing by itself; the work asks for it between two pieces.

    Work of such pieces may be a piece of larger work: a request stops both.
    """
    global _request
    if _request is not None:
        yield
        return
    _request, handlers = _Request(), {}
    if threading.current_thread() is threading.main_thread():  # Python tells no other of signals
        for number in (signal.SIGTERM, signal.SIGINT):
            handlers[number] = signal.signal(number, _request.on_signal)
    try:
        yield
    finally:
        _request = None
        for number, handler in handlers.items():
            signal.signal(number, handler)


def asked() -> bool:
    """Whether to stop here; all processes have to ask alike, and get the same answer."""
    return _request is not None and _request.asked()


def check() -> None:
    """Stops here where a stop was asked for: what is cut short is made again when the run goes on.

    Raises:
      Interrupted: asked to stop.
    """
    if asked():
        raise Interrupted("stopped")
