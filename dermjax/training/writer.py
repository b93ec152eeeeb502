"""Where a run speaks: scalars to `metrics.jsonl`, lines and progress to the screen."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

from etils import epath
from tqdm import tqdm

from dermjax import atomic, stores

_LINE_SECONDS = 10.0  # between progress lines where there is no terminal


class Writer:
    """One per run. With `active=False` (every process but the first) it does nothing."""

    def __init__(self, *, active: bool = True):
        self.active = active
        self._screen = sys.stdout  # held, so that silencing a library's prints leaves ours
        self._terminal = active and sys.stderr.isatty()

    def say(self, line: str) -> None:
        """One line for the user."""
        if self.active:
            tqdm.write(line, file=self._screen)
            self._screen.flush()

    def warn(self, line: str) -> None:
        """One line that deserves attention."""
        self.say(f"warning: {line}")

    def track(self, items: Iterable, total: int, label: str) -> Iterator:
        """`items` as they are, with progress, rate and time left: a bar, or a line now and then."""
        with self.bar(total, label) as bar:
            for item in items:
                yield item
                bar.update(1)

    def bar(self, total: int, label: str, done: int = 0) -> "Progress":
        """Progress of work whose items the caller counts."""
        return Progress(total, label, done, terminal=self._terminal, say=self.say)


class Progress:
    """A bar on a terminal; otherwise at most one line every ten seconds, and one at the end."""

    def __init__(self, total: int, label: str, done: int, *, terminal: bool, say):
        self._total, self._label, self._done, self._say = total, label, done, say
        self._first: int | None = None  # items done when the clock was started
        self._started = self._said = time.monotonic()
        self._note = ""
        self._bar = (
            tqdm(total=total, desc=label, initial=done, leave=False, dynamic_ncols=True)
            if terminal
            else None
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._bar is not None:
            self._bar.close()
        if kind is None and self._first is not None:
            self._line()

    def update(self, count: int) -> None:
        """`count` more items are done."""
        self._done += count
        if self._first is None:
            # The first item starts the clock: it waits for a compiler or for workers to start.
            self._first, self._started = self._done, time.monotonic()
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._said > _LINE_SECONDS:
            self._line()

    def note(self, text: str) -> None:
        """What the newest figures are, beside the progress."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def _line(self) -> None:
        self._said = time.monotonic()
        counted = self._done - (self._first or 0)
        rate = counted / max(self._said - self._started, 1e-9)
        pace = f"  {_pace(rate)}" if rate else ""
        left = (self._total - self._done) / rate if rate else 0.0
        eta = f", {_clock(left)} left" if rate and self._done < self._total else ""
        note = f"  {self._note}" if self._note else ""
        self._say(f"{self._label} {self._done}/{self._total}{pace}{eta}{note}")


def _pace(rate: float) -> str:
    """12.5 -> 12.5/s, .05 -> 20 s each."""
    return f"{rate:.1f}/s" if rate >= 0.5 else f"{1 / rate:.0f} s each"


def _clock(seconds: float) -> str:
    """90 -> 1:30."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, each with `stage` and `step`."""

    def __init__(self, path: epath.PathLike, *, active: bool = True):
        self._path = epath.Path(path)
        self._active = active
        self._text: str | None = None  # of an object store's file, which nothing can be appended to

    def append(self, stage: str, step: int, scalars: Mapping[str, float]) -> None:
        """One line. A line is written whole or, if the process dies, cut off and dropped later."""
        if not self._active:
            return
        line = json.dumps({"stage": stage, "step": step, **_rounded(scalars)}) + "\n"
        if stores.is_remote(self._path):  # written anew: some hundred kB at the end of a long run
            if self._text is None:
                self._text = _text_of(self.read())
            self._text += line
            self._path.write_text(self._text)
            return
        with self._path.open("a") as file:
            file.write(line)

    def read(self) -> list[dict]:
        """All complete lines; a last line cut off by a dying process is left out."""
        if not self._path.exists():
            return []
        lines = []
        for text in self._path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
        return lines

    def rewind(self, stage: str, step: int) -> None:
        """Drop what a run reported after the checkpoint that it resumes from."""
        if not self._active:
            return
        kept = [line for line in self.read() if line["stage"] != stage or line["step"] <= step]
        self.replace(kept)

    def replace(self, lines: list[dict]) -> None:
        """Write the whole file anew, in one move."""
        if not self._active or (not lines and not self._path.exists()):
            return
        self._text = text = _text_of(lines)
        if stores.is_remote(self._path):
            self._path.write_text(text)
            return
        with atomic.replace(self._path) as beside:
            beside.write_text(text)


def _text_of(lines: list[dict]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _rounded(scalars: Mapping[str, float]) -> dict[str, float]:
    """Seven digits: all that a float32 holds."""
    return {name: float(f"{value:.7g}") for name, value in scalars.items()}
