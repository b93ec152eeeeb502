"""The loop: resuming exactly, stopping, refusing what is not finite, choosing the best."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import dermjax
from dermjax.training import checkpoint, loop, stop
from dermjax.training.checkpoint import Checkpoints, restore_subtree
from dermjax.training.parallel import all_devices
from dermjax.training.writer import MetricsFile, Writer


@struct.dataclass
class State:
    step: jax.Array
    total: jax.Array


def fresh():
    return State(step=jnp.int32(0), total=jnp.float32(0))


@jax.jit
def add(state, batch):
    """Remembers the order of all batches: any repeated, lost or swapped one shows."""
    total = state.total * 1.01 + batch["x"]
    return State(step=state.step + 1, total=total), {"loss": total}


def numbers(start):
    """Batches whose content is a function of their step."""
    step = start
    while True:
        yield {"x": jnp.float32(np.sin(step))}
        step += 1


def train(folder, *, steps=12, save_every=4, **options):
    devices = all_devices()
    settings = dict(
        train_step=add,
        batches=numbers,
        schedule=loop.Schedule("stage", steps, 2, save_every, options.pop("evaluate_every", 0)),
        metrics_file=MetricsFile(folder / "metrics.jsonl"),
        writer=Writer(active=False),
        abstract=devices.abstract,
    )
    scored = options.get("evaluate") is not None
    with Checkpoints(folder / "checkpoints", scored=scored) as checkpoints:
        training = loop.Training(checkpoints=checkpoints, **settings | options)
        state, _ = training.run(devices.replicate(fresh()))
        return float(state.total), checkpoints.best_step


def lines(folder):
    """What was reported, without what the clock says."""
    clocked = ("images_per_second", "seconds_waiting_for_data", "seconds")
    return [
        {k: v for k, v in json.loads(line).items() if k not in clocked}
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


class Dies(Exception):
    pass


def dying(at):
    """Batches that stop a run without warning before step `at`."""

    def batches(start):
        for step, batch in enumerate(numbers(start), start):
            if step == at:
                raise Dies
            yield batch

    return batches


@pytest.mark.parametrize("at", [1, 3, 4, 5, 9, 11])
def test_a_run_that_died_ends_as_if_it_had_not(tmp_path, at):
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(Dies):
        train(tmp_path / "torn", batches=dying(at))
    resumed, _ = train(tmp_path / "torn")
    assert resumed == whole
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(tmp_path):
    whole, _ = train(tmp_path)
    again, _ = train(tmp_path, batches=dying(0))
    assert again == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [1, 5, 6, 7, 8, 11, 12])
def test_a_signal_saves_and_stops_and_leaves_no_trace(tmp_path, number, at):
    """Reports are every two steps, also of a run that was stopped between two of them."""

    def batches(start):
        for step, batch in enumerate(numbers(start), start + 1):
            if step == at:
                os.kill(os.getpid(), number)
            yield batch

    whole, _ = train(tmp_path / "whole")
    with pytest.raises(stop.Interrupted, match=f"stopped at step {at}, which is saved"):
        train(tmp_path / "torn", batches=batches)
    assert (tmp_path / "torn" / "checkpoints" / str(at)).is_dir()
    assert train(tmp_path / "torn")[0] == whole
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


def test_a_stop_s_means_and_pace_go_on():
    meter = loop.Meter("stage")
    meter.waited = 3.0
    meter.exclude(-100)
    for step, loss in enumerate((1.0, 2.0)):
        meter.add(step, {"loss": jnp.float32(loss)})
    later = loop.Meter("stage", json.loads(json.dumps(meter.unreported())))
    assert later
    later.exclude(-100)
    later.add(2, {"loss": jnp.float32(6)})
    line = later.report(10)
    assert line["loss"] == 3 and line["seconds_waiting_for_data"] == 3
    assert line["images_per_second"] == pytest.approx(10 * 3 / 200, rel=0.05)
    later.restart()
    assert not later and later.waited == 0


def evaluation(*, told_at=0, scored=True):
    """Of three pieces; SIGTERM comes in the second of the one at step `told_at`."""
    pieces = []

    def evaluate(state):
        step = int(state.step)
        for piece in range(3):
            stop.check()
            pieces.append((step, piece))
            if (step, piece) == (told_at, 1):
                os.kill(os.getpid(), signal.SIGTERM)
        value = float(np.sin(step))
        return {"validation": value}, value if scored else None

    return evaluate, pieces


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("at", [4, 8, 12])
def test_a_stop_does_not_wait_for_an_evaluation_which_is_made_up_for(tmp_path, at, scored):
    """The state is saved; a stop while it is made up for changes nothing."""
    options = dict(evaluate_every=4, save_every=6)
    whole = train(tmp_path / "whole", evaluate=evaluation(scored=scored)[0], **options)
    torn = tmp_path / "torn"
    for _ in range(2):
        evaluate, pieces = evaluation(told_at=at, scored=scored)
        with pytest.raises(stop.Interrupted, match=f"stage: stopped at step {at}, which is saved"):
            train(torn, evaluate=evaluate, **options)
        assert pieces[-1] == (at, 1)
        assert (torn / "checkpoints" / str(at)).is_dir()
    evaluate, pieces = evaluation(scored=scored)
    assert train(torn, evaluate=evaluate, **options) == whole
    assert pieces[0] == (at, 0)
    assert lines(torn) == lines(tmp_path / "whole")
    assert train(torn, evaluate=evaluation(told_at=at)[0], **options) == whole  # nothing is owed


def test_a_run_told_to_stop_begins_no_evaluation(tmp_path):
    def batches(start):
        for step, batch in enumerate(numbers(start)):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    evaluate, pieces = evaluation()
    with pytest.raises(stop.Interrupted, match="stopped at step 4"):
        train(tmp_path, batches=batches, evaluate=evaluate, evaluate_every=4)
    assert not pieces


def test_a_signal_outside_of_what_heeds_it_ends_the_process_as_ever():
    before = signal.getsignal(signal.SIGTERM)
    with stop.deferred_signals():
        assert signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(stop.Interrupted):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before
    stop.check()
    with stop.deferred_signals():  # a new one: the request was followed
        assert not stop.asked()


def test_a_loss_that_is_not_finite_stops_by_name_and_keeps_the_last_good_state(tmp_path):
    @jax.jit
    def breaking(state, batch):
        state, scalars = add(state, batch)
        return state, {"loss": jnp.where(state.step >= 7, jnp.nan, scalars["loss"])}

    with pytest.raises(ValueError, match="stage: loss is nan at step 7; the last good checkpoint"):
        train(tmp_path, train_step=breaking)
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("[0-9]*")) == ["4"]


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path):
    scores = {2: 0.1, 4: 0.9, 6: 0.3, 8: 0.2, 10: 0.4, 12: 0.05}

    def evaluate(state):
        score = scores[int(state.step)]
        return {"validation": score}, score

    _, best = train(tmp_path, evaluate=evaluate, evaluate_every=2, save_every=2)
    assert best == 4
    kept = {int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")}
    assert kept == {4, 10, 12}
    assert [line["validation"] for line in lines(tmp_path)] == list(scores.values())
    target = {"total": jax.ShapeDtypeStruct((), jnp.float32, sharding=all_devices().replicated)}
    restored = restore_subtree(tmp_path / "checkpoints", 4, target)
    expected = fresh()
    for _, batch in zip(range(4), numbers(0), strict=False):
        expected, _ = add(expected, batch)
    assert float(restored["total"]) == float(expected.total)


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, capsys):
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(Dies):
        train(tmp_path / "torn", batches=dying(11))
    newest = tmp_path / "torn" / "checkpoints" / "8"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:3])
    resumed, _ = train(tmp_path / "torn", writer=Writer())
    assert resumed == whole
    assert "torn/checkpoints/8 cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_a_checkpoint_whose_score_is_damaged_is_passed_over(tmp_path, capsys, how):
    """Orbax would open none of them, or take another one for the best without a word."""
    options = dict(evaluate=lambda state: ({}, float(state.step)), evaluate_every=2, save_every=2)
    whole = train(tmp_path / "whole", **options)
    torn = tmp_path / "torn"
    assert train(torn, **options) == whole
    score = torn / "checkpoints" / "12" / "metrics" / "metrics"
    if how == "cut":
        score.write_text(score.read_text()[:5])
    else:
        score.unlink()
    assert train(torn, **options | {"writer": Writer()}) == whole
    said = capsys.readouterr().out
    assert "torn/checkpoints/12 cannot be read (its score" in said
    assert "stage: continues at step 10" in said


@struct.dataclass
class LaterState(State):
    momentum: jax.Array


def test_a_checkpoint_of_another_version_is_refused_by_what_differs(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr(checkpoint, "_VERSIONS", {"dermjax": "9.1"})
    later = LaterState(step=jnp.int32(0), total=jnp.zeros(3), momentum=jnp.ones((2, 5)))
    devices = all_devices()
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        with pytest.raises(ValueError) as refusal:
            checkpoints.restore_latest(devices.abstract(devices.replicate(later)), print)
    said = str(refusal.value)
    assert f"checkpoints/12 is of another version (dermjax {dermjax.__version__}, jax" in said
    assert "this is dermjax 9.1" in said and "\n" not in said
    assert "momentum: none there, float32 [2, 5] here" in said
    assert "total: float32 [] there, float32 [3] here" in said and "step:" not in said
    assert (tmp_path / "checkpoints" / "12").is_dir()


@pytest.mark.parametrize(("versions", "noted"), [({"jax": "0.1"}, True), (None, False)])
def test_a_version_that_fits_continues(tmp_path, capsys, monkeypatch, versions, noted):
    """With a note where the number is another; without one from before it was written down."""
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(Dies):
        train(tmp_path / "torn", batches=dying(11))
    meta = tmp_path / "torn" / "checkpoints" / "8" / "meta" / "metadata"
    content = json.loads(meta.read_text())
    assert content.pop("versions")["jax"] == jax.__version__
    meta.write_text(json.dumps(content | ({"versions": versions} if versions else {})))
    assert train(tmp_path / "torn", writer=Writer())[0] == whole
    said = capsys.readouterr().out
    assert "continues at step 8" in said
    assert ("torn/checkpoints/8 is of jax 0.1, this is dermjax" in said) == noted


def test_intervals_that_would_change_a_resumed_run_s_report_are_refused():
    with pytest.raises(ValueError, match=r"save_every = 5 must be a multiple .*report_every = 2"):
        loop.Schedule("stage", 10, 2, 5)


def test_metrics_are_read_one_step_late(tmp_path):
    """The scalars of a step must not be asked for before the next step is dispatched."""
    events = []

    class Scalar:
        def __init__(self, step):
            self.step = step

        def __array__(self, *_, **__):
            events.append(f"read {self.step}")
            return np.float32(1)

    def step(state, batch):
        state, _ = add(state, batch)
        events.append(f"step {int(state.step)}")
        return state, {"loss": Scalar(int(state.step))}

    train(tmp_path, train_step=step, steps=4, save_every=4)
    first_read = events.index("read 1")
    assert events.index("step 2") < first_read
