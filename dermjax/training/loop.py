"""The ONE training loop: step, report, evaluate, save, resume. Both stages run on it."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jax

from dermjax.training import stop, watch
from dermjax.training.checkpoint import Checkpoints
from dermjax.training.writer import MetricsFile, Progress, Writer

# In the meta of a checkpoint that a stop has made: what no line of metrics tells yet.
_UNREPORTED = "untold"  # the name that checkpoints of earlier versions have, too
# What a line of progress has room for.
_ON_SCREEN = ("loss", "accuracy", "key_std", "knn_accuracy", "learning_rate", "images_per_second")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a stage does what; all numbers are steps."""

    stage: str
    steps: int
    report_every: int
    save_every: int
    evaluate_every: int = 0  # 0: never
    evaluate_first: int = 0  # this step, too; 0: none
    batch_size: int = 1  # images a step, for the rate

    def __post_init__(self):
        for name in ("save_every", "evaluate_every", "evaluate_first"):
            value = getattr(self, name)
            if value % self.report_every:
                # Otherwise a resumed run would report means over other steps than a whole one.
                raise ValueError(
                    f"{self.stage}.{name} = {value} must be a multiple of "
                    f"{self.stage}.report_every = {self.report_every}"
                )

    def due(self, every: int, step: int) -> bool:
        """Whether something done `every` so many steps, and at the end, is due after `step`."""
        return bool(every) and (step % every == 0 or step == self.steps)

    def evaluation_due(self, step: int) -> bool:
        """Whether the state is evaluated after `step`."""
        return step == self.evaluate_first or self.due(self.evaluate_every, step)


class Meter:
    """Scalars of the steps since the last report, read from the device one step late.

    Reading the scalars of the step just dispatched would stall the device until it is done; those
    of the step before are there.
    """

    def __init__(self, stage: str, unreported: Mapping[str, Any] | None = None):
        """Args:
        unreported: of the meter of a run that was stopped and goes on here.
        """
        self._stage = stage
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
        self._sums: dict[str, float] = {}
        self._begin()
        if unreported:
            self._sums, self._count = dict(unreported["sums"]), unreported["steps"]
            self.waited = unreported["waited"]
            self._since -= unreported["seconds"]

    def _begin(self) -> None:
        self._sums = {}
        self._count = 0
        self.waited = 0.0  # seconds spent waiting for data
        self._since = time.monotonic()

    def __bool__(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._count or self._pending)

    def add(self, step: int, scalars: Mapping[str, jax.Array]) -> None:
        """Take the scalars of `step`; read those of the step before."""
        self.flush()
        self._pending = (step, scalars)

    def flush(self) -> None:
        """Read what is pending.

        Raises:
          ValueError: a scalar is not finite; names stage, scalar and step.
        """
        if self._pending is None:
            return
        step, scalars = self._pending
        self._pending = None
        for name, value in jax.device_get(dict(scalars)).items():
            if not math.isfinite(value):
                raise ValueError(
                    f"{self._stage}: {name} is {value} at step {step}; the last good checkpoint is "
                    f"kept. A lower --config.{self._stage}.learning_rate is the usual remedy"
                )
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1

    def unreported(self) -> dict[str, Any]:
        """All that a meter needs that goes on from here; every scalar is read and finite."""
        self.flush()
        seconds = time.monotonic() - self._since
        return {
            "sums": dict(self._sums),
            "steps": self._count,
            "waited": self.waited,
            "seconds": seconds,
        }

    def report(self, batch_size: int) -> dict[str, float]:
        """Means since the last report, and the pace."""
        unreported = self.unreported()
        scalars = {name: total / unreported["steps"] for name, total in unreported["sums"].items()}
        scalars["images_per_second"] = batch_size * unreported["steps"] / unreported["seconds"]
        scalars["seconds_waiting_for_data"] = unreported["waited"]
        return scalars

    def restart(self) -> None:
        """Begins the next report's means here; call it when the last one is written."""
        self._begin()

    def exclude(self, seconds: float) -> None:
        """Leave time that was not training (compiling, evaluating, saving) out of the pace."""
        self._since += seconds


@dataclasses.dataclass
class Training:
    """One stage's training: `Training(...).run(state)`."""

    train_step: Callable  # mapped `(state, batch) -> (state, scalars)`; the state is donated
    # step -> iterator of device batches from that step on: the step is all of the data's position
    batches: Callable[[int], Iterator[Mapping[str, Any]]]
    schedule: Schedule
    checkpoints: Checkpoints
    metrics_file: MetricsFile
    writer: Writer
    abstract: Callable[[Any], Any]  # state -> shapes, dtypes and layout to restore into
    # state -> scalars, and the score (higher is better) that selects the best checkpoint, if any
    evaluate: Callable[[Any], tuple[dict[str, float], float | None]] | None = None
    # step -> scalars known without the device, such as the learning rate
    host_scalars: Callable[[int], dict[str, float]] = lambda step: {}

    def run(self, state: Any) -> tuple[Any, float]:
        """Trains from the newest checkpoint, or from `state`, to the last step.

        Args:
          state: fresh, replicated, with a `step`.

        Returns:
          The state after the last step, and the seconds the stage has taken over all its runs.

        Raises:
          stop.Interrupted: asked to stop by SIGTERM or Ctrl-C; saved before.
          ValueError: a scalar is not finite; the last good checkpoint is kept.
        """
        state, seconds, meter = self._resume(state)
        schedule, start = self.schedule, int(state.step)
        if start >= schedule.steps and not meter:
            return state, seconds
        begun = time.monotonic() - seconds
        with (
            stop.deferred_signals(),
            self.writer.bar(schedule.steps, schedule.stage, start) as bar,
            watch.watched(),
        ):
            if meter and schedule.due(schedule.report_every, start):
                self._report(state, start, meter, bar, begun=begun)  # a stop has cut it short
            if start < schedule.steps:
                state = self._train(state, start, meter, bar, begun=begun)
        self.checkpoints.wait()
        return state, time.monotonic() - begun

    def _resume(self, state: Any) -> tuple[Any, float, Meter]:
        """The newest checkpoint's state and seconds, if there is one; metrics go back with it."""
        stage, seconds, meter = self.schedule.stage, 0.0, Meter(self.schedule.stage)
        restored = self.checkpoints.restore_latest(self.abstract(state), self.writer.warn)
        if restored is not None:
            state, meta = restored
            seconds, meter = meta["seconds"], Meter(stage, meta.get(_UNREPORTED))
            if int(state.step) < self.schedule.steps or meter:
                self.writer.say(f"{stage}: continues at step {int(state.step)}")
        self.metrics_file.rewind(stage, int(state.step) - bool(meter))
        return state, seconds, meter

    def _train(self, state: Any, start: int, meter: Meter, bar: Progress, *, begun: float) -> Any:
        """The steps after `start`."""
        schedule, iterator = self.schedule, self.batches(start)
        for step in range(start + 1, schedule.steps + 1):
            asked = time.monotonic()
            batch = next(iterator)
            dispatched = time.monotonic()
            meter.waited += dispatched - asked
            state, scalars = self.train_step(state, batch)
            if step == start + 1:
                meter.exclude(time.monotonic() - dispatched)  # the first call compiles
            meter.add(step, scalars)
            watch.moved()
            bar.update(1)
            if schedule.due(schedule.report_every, step):
                self._report(state, step, meter, bar, begun=begun)
            if stop.asked():
                self._stop(state, step, meter, begun=begun)
        return state

    def _report(self, state: Any, step: int, meter: Meter, bar: Progress, *, begun: float) -> None:
        """A line of metrics; where they are due, an evaluation and a checkpoint."""
        schedule, score = self.schedule, None
        line = meter.report(schedule.batch_size) | self.host_scalars(step)
        paused = time.monotonic()
        if self.evaluate is not None and schedule.evaluation_due(step):
            try:
                stop.check()
                measured, score = self.evaluate(state)
            except stop.Interrupted:  # it may take longer than a machine is left to us
                meter.exclude(time.monotonic() - paused)
                self._stop(state, step, meter, begun=begun)
            line |= measured
        seconds = time.monotonic() - begun
        self.metrics_file.append(schedule.stage, step, line | {"seconds": seconds})
        bar.note(_brief(line))
        # The report has read every scalar up to here: what is saved now is known to be finite.
        if score is not None or schedule.due(schedule.save_every, step):
            self.checkpoints.save(state, {"seconds": seconds}, score=score)
        meter.restart()

    def _stop(self, state: Any, step: int, meter: Meter, *, begun: float) -> NoReturn:
        """Saves the state, with the sums that no line of metrics has yet.

        Raises:
          stop.Interrupted: always.
        """
        self.checkpoints.wait()
        if self.checkpoints.latest_step != step:
            meta: dict[str, Any] = {"seconds": time.monotonic() - begun}
            if meter:
                meta[_UNREPORTED] = meter.unreported()
            self.checkpoints.save(state, meta)
            self.checkpoints.wait()
        raise stop.Interrupted(f"{self.schedule.stage}: stopped at step {step}, which is saved")


def _brief(line: Mapping[str, float]) -> str:
    """The scalars that fit on a line of the screen."""
    shown = [name for name in _ON_SCREEN if name in line]
    shown += [name for name in line if name.startswith("validation_")]
    return "  ".join(f"{name} {line[name]:.4g}" for name in shown)
