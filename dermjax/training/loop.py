"""The ONE training loop: step, report, evaluate, save, resume. Both stages run on it."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from dermjax.training import stop, watch
from dermjax.training.checkpoint import Checkpoints
from dermjax.training.writer import MetricsFile, Writer

# In a checkpoint's meta: the line of metrics that an evaluation still has to complete.
_OWED = "owed"
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

    def __init__(self, stage: str):
        self._stage = stage
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
        self._sums: dict[str, float] = {}
        self._count = 0
        self.waited = 0.0  # seconds spent waiting for data
        self._since = time.monotonic()

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

    def report(self, batch_size: int) -> dict[str, float]:
        """Means since the last report, and the pace; starts anew."""
        self.flush()
        seconds = time.monotonic() - self._since
        scalars = {name: total / self._count for name, total in self._sums.items()}
        scalars["images_per_second"] = batch_size * self._count / seconds
        scalars["seconds_waiting_for_data"] = self.waited
        self._sums, self._count, self.waited = {}, 0, 0.0
        self._since = time.monotonic()
        return scalars

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
        state, seconds, owed = self._resume(state)
        done = int(state.step) >= self.schedule.steps
        if done and owed is None:
            return state, seconds
        begun = time.monotonic() - seconds
        with stop.heeded(), watch.watched():
            if owed is not None:
                self._close(state, int(state.step), owed, begun=begun)
            if not done:
                state = self._train(state, begun=begun)
        self.checkpoints.wait()
        return state, time.monotonic() - begun

    def _resume(self, state: Any) -> tuple[Any, float, dict[str, float] | None]:
        """The newest checkpoint's state and seconds, if there is one; metrics go back with it.

        The third is the line of metrics of a step whose evaluation a stop has cut short.
        """
        stage, seconds, owed = self.schedule.stage, 0.0, None
        restored = self.checkpoints.restore_latest(self.abstract(state), self.writer.warn)
        if restored is not None:
            state, meta = restored
            seconds, owed = meta["seconds"], meta.get(_OWED)
            if int(state.step) < self.schedule.steps or owed is not None:
                self.writer.say(f"{stage}: continues at step {int(state.step)}")
        self.metrics_file.rewind(stage, int(state.step) - (owed is not None))
        return state, seconds, owed

    def _train(self, state: Any, *, begun: float) -> Any:
        """The steps that are left."""
        schedule, start = self.schedule, int(state.step)
        iterator = self.batches(start)
        meter = Meter(schedule.stage)
        with self.writer.bar(schedule.steps, schedule.stage, start) as bar:
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
                if stop.asked() or schedule.due(schedule.report_every, step):
                    line = meter.report(schedule.batch_size) | self.host_scalars(step)
                    paused = time.monotonic()
                    # The report has read every scalar up to here: what is saved is finite.
                    bar.note(_brief(self._close(state, step, line, begun=begun)))
                    meter.exclude(time.monotonic() - paused)
        return state

    def _close(
        self, state: Any, step: int, line: dict[str, float], *, begun: float
    ) -> dict[str, float]:
        """What is due after a step whose line of metrics is made: evaluation, checkpoint, stop.

        A stop does not wait for an evaluation: the state is saved with the line, and what is owed
        to it is made up for when the run goes on.

        Returns:
          The whole line.

        Raises:
          stop.Interrupted: asked to stop; saved.
        """
        schedule, score = self.schedule, None
        stopped = stop.Interrupted(f"{schedule.stage}: stopped at step {step}, which is saved")
        if self.evaluate is not None and schedule.evaluation_due(step):
            try:
                stop.check()
                measured, score = self.evaluate(state)
            except stop.Interrupted:
                if self.checkpoints.latest_step != step:
                    meta = {"seconds": time.monotonic() - begun, _OWED: line}
                    self.checkpoints.save(state, meta)
                    self.checkpoints.wait()
                raise stopped from None
            line = line | measured
        seconds = time.monotonic() - begun
        self.metrics_file.append(schedule.stage, step, line | {"seconds": seconds})
        stopping = stop.asked()
        if stopping or score is not None or schedule.due(schedule.save_every, step):
            self.checkpoints.save(state, {"seconds": seconds}, score=score)
        if stopping:
            self.checkpoints.wait()
            raise stopped
        return line


def _brief(line: Mapping[str, float]) -> str:
    """The scalars that fit on a line of the screen."""
    shown = [name for name in _ON_SCREEN if name in line]
    shown += [name for name in line if name.startswith("validation_")]
    return "  ".join(f"{name} {line[name]:.4g}" for name in shown)
