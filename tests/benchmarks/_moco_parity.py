"""Our MoCo step and the official one, stated in PyTorch, from one start and then each for itself.

The reference computes in double precision, so that what is measured is our rounding alone. Neither
is set right by the other: what differs at one step is carried into the next.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import _moco
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from dermjax.steps import moco as product
from dermjax.steps.optimizer import make_schedule, make_sgd

# Errors are relative to the tensor's length; those of accuracy, queue (unit norm) and pointer are
# absolute. Of several tensors the worst counts.
QUANTITIES = (
    *("logits", "loss", "accuracy", "gradient", "parameters", "key_parameters"),
    *("statistics", "key_statistics", "queue", "pointer"),
)


class Step(NamedTuple):
    """What our step drew and computed, of NumPy arrays."""

    views: list  # two of `[B, H, W, 3]`
    shuffles: list  # a permutation `[B]` for each direction
    learning_rate: float  # by the official code's formula
    logits: list  # `[B, 1 + K]` of each direction
    metrics: dict
    state: product.MoCoState  # after the step


class Record(NamedTuple):
    """A run of ours."""

    groups: int
    start: product.MoCoState
    steps: list[Step]


class _Kept(NamedTuple):
    gradients: dict


def record(groups: int, *, symmetric: bool, steps: int, moco=product) -> Record:
    """Runs our step on one device, and looks at its gradients and logits from outside.

    Args:
      groups: of batch norm.
      symmetric: both directions.
      steps: how many; the learning rate would fall to 0 in twice as many.
      moco: the module whose step it is.
    """
    schedule = make_schedule(_moco.LEARNING_RATE, steps=2 * steps, schedule="cosine")
    optimizer = optax.chain(_keep_gradients(), make_sgd(schedule, **_moco.SGD))
    state, step = _moco.make(
        groups, symmetric=symmetric, optimizer=optimizer, step_of=moco.train_step
    )
    start = jax.device_get(state)
    devices, seen, data = _moco.devices_of(1), {}, _moco.batches(steps)
    plain = moco.contrastive_logits
    moco.contrastive_logits = _watched(plain, seen)  # called while the step is traced
    try:
        mapped = devices.map_train_step(step)
        mapped = mapped.lower(devices.replicate(state), devices.put(data[0]))
        mapped = mapped.compile(compiler_options=_moco.COMPILE)
    finally:
        moco.contrastive_logits = plain
    state, done = devices.replicate(state), []
    for number, batch in enumerate(data):
        views, shuffles = _drawn(start.rng, number, batch, directions=2 if symmetric else 1)
        rate = _moco.LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * number / (2 * steps)))
        state, metrics = mapped(state, devices.put(batch))
        jax.effects_barrier()
        logits = [seen.pop(direction) for direction in range(len(shuffles))]
        after = jax.device_get((metrics, state))
        done.append(Step(views, shuffles, rate, logits, *after))
    return Record(groups, start, done)


def _keep_gradients() -> optax.GradientTransformation:
    """Passes gradients on, and leaves them in its state to be looked at."""
    return optax.GradientTransformation(
        lambda params: _Kept(jax.tree.map(jnp.zeros_like, params)),
        lambda grads, state, params=None: (grads, _Kept(grads)),
    )


def _watched(contrastive_logits, seen):
    """`contrastive_logits` that hands its result of each direction out of the running program."""
    direction = itertools.count()

    def watched(*args, **kwargs):
        logits, place = contrastive_logits(*args, **kwargs), next(direction)
        jax.debug.callback(lambda value: seen.update({place: np.array(value)}), logits)
        return logits

    return watched


def _drawn(rng, step, batch, *, directions):
    """The views and the shuffles of a step, drawn as it says that it draws them."""
    rng = jax.random.fold_in(jax.random.wrap_key_data(rng), step)
    *view_rngs, shuffle_rng, _ = jax.random.split(rng, 4)
    positions = np.arange(_moco.BATCH)
    views = [_moco.view(key, positions, batch["image"], batch["size"]) for key in view_rngs]
    keys = jax.random.split(shuffle_rng, directions)
    return jax.device_get((views, [jax.random.permutation(key, positions) for key in keys]))


def errors(record: Record, *, moco=None, **sgd) -> Iterator[dict[str, float]]:
    """The errors of `QUANTITIES` after each step.

    Args:
      record: ours.
      moco: the reference; a wrong one shows what the comparison notices.
      sgd: what the reference's optimizer has that ours has not.
    """
    import _moco_torch
    import torch

    hidden_dim, dim = record.start.params["head"]["output"]["kernel"].shape
    net = _moco_torch.ProjectedEncoder(record.groups, hidden_dim, dim)
    weights = _named(record.start.params) | _named(record.start.batch_stats)
    net.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    reference = (moco or _moco_torch.MoCo)(
        net.double(),
        torch.tensor(record.start.queue).double(),
        m=_moco.MOMENTUM,
        T=_moco.TEMPERATURE,
        sgd=_moco.SGD | sgd,
    )
    threads = torch.get_num_threads()
    for ours in record.steps:
        views = [torch.tensor(view).double().permute(0, 3, 1, 2) for view in ours.views]
        shuffles = [torch.tensor(shuffle).long() for shuffle in ours.shuffles]
        torch.set_num_threads(1)  # for tensors this small, more only wait for each other
        theirs = reference.step(*views, shuffles, ours.learning_rate)
        torch.set_num_threads(threads)
        yield _differences(ours, theirs, reference)


def _differences(ours, theirs, reference):
    """Every quantity of one step."""
    q, k, state = reference.encoder_q, reference.encoder_k, ours.state
    return {
        "logits": max(_relative(*pair) for pair in zip(ours.logits, theirs.logits, strict=True)),
        # What the step reports is the mean of its directions, what it minimises their sum.
        "loss": _relative(ours.metrics["loss"] * len(theirs.logits), theirs.loss),
        "accuracy": abs(float(ours.metrics["accuracy"]) - theirs.accuracy),
        "gradient": _worst(state.opt_state[0].gradients, theirs.gradients),
        "parameters": _worst(state.params, dict(q.named_parameters())),
        "key_parameters": _worst(state.params_ema, dict(k.named_parameters())),
        "statistics": _worst(state.batch_stats, _statistics(q)),
        "key_statistics": _worst(state.batch_stats_ema, _statistics(k)),
        "queue": float(np.abs(state.queue - reference.queue.T.numpy()).max()),
        "pointer": abs(int(state.queue_pointer) - reference.pointer),
    }


def _statistics(net):
    return {name: value for name, value in net.named_buffers() if "running" in name}


def _worst(ours, theirs) -> float:
    """The largest error of a tree's tensors."""
    ours = _named(ours)
    if ours.keys() != theirs.keys():
        raise ValueError(f"{sorted(ours)} and {sorted(theirs)} cannot be compared")
    return max(_relative(ours[name], value.detach()) for name, value in theirs.items())


def _named(tree) -> dict[str, np.ndarray]:
    """A tree of ours under torch's names, in torch's layout."""
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    flat = {}
    for path, leaf in traverse_util.flatten_dict(tree).items():
        axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[leaf.ndim]
        flat[".".join((*path[:-1], names.get(path[-1], path[-1])))] = leaf.transpose(axes)
    return flat


def _relative(ours, theirs) -> float:
    """Length of the difference over length; where there is nothing, nothing may be."""
    theirs = np.asarray(theirs, np.float64)
    difference = np.linalg.norm(np.asarray(ours, np.float64) - theirs)
    return float(difference / np.linalg.norm(theirs)) if difference != 0 else 0.0
