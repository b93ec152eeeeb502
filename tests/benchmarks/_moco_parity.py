"""Our MoCo step and the one in PyTorch, side by side from the same start, step after step.

Neither is ever set right by the other: what differs at one step is carried into the next.
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

# Errors of the first are told over the quantity's largest number (parameters, gradients and
# statistics: over each tensor's), of the others as they are: keys have unit norm.
QUANTITIES = (
    *("logits", "loss", "gradient", "parameters", "key_parameters"),
    *("statistics", "key_statistics", "accuracy", "queue", "pointer"),
)


class _Kept(NamedTuple):
    gradients: dict


def _keep_gradients() -> optax.GradientTransformation:
    """Passes gradients on, and leaves them in its state to be looked at."""
    return optax.GradientTransformation(
        lambda params: _Kept(jax.tree.map(jnp.zeros_like, params)),
        lambda grads, state, params=None: (grads, _Kept(grads)),
    )


def errors(
    groups: int, *, symmetric: bool, steps: int, moco=product
) -> Iterator[dict[str, float]]:
    """The errors of each of `QUANTITIES` after each step.

    Args:
      groups: of batch norm.
      symmetric: both directions.
      steps: how many.
      moco: the module whose step it is; a test of this comparison gives a broken one.
    """
    schedule = make_schedule(_moco.LEARNING_RATE, steps=2 * steps, schedule="cosine")
    optimizer = optax.chain(_keep_gradients(), make_sgd(schedule, **_moco.SGD))
    state, step = _moco.make(
        groups, symmetric=symmetric, optimizer=optimizer, step_of=moco.train_step
    )
    oracle = _oracle(groups, state)
    devices, seen = _moco.devices_of(1), {}
    state, data = devices.replicate(state), _moco.batches(steps)
    mapped = devices.map_train_step(step)
    arguments = state, devices.put(data[0])
    plain = moco.contrastive_logits
    moco.contrastive_logits = _watched(plain, seen)  # is called while the step is traced
    try:
        mapped = mapped.lower(*arguments).compile(compiler_options=_moco.COMPILE)
    finally:
        moco.contrastive_logits = plain
    for number, batch in enumerate(data):
        views, shuffles = _drawn(state, batch, 2 if symmetric else 1)
        theirs = oracle.step(*views, shuffles, _cosine(number, 2 * steps))
        state, metrics = mapped(state, devices.put(batch))
        jax.effects_barrier()
        yield _differences(jax.device_get(state), metrics, seen, oracle, theirs)


def _oracle(groups, state):
    """The reference with the weights and the queue of our fresh state."""
    import _moco_torch
    import torch

    hidden_dim, dim = state.params["head"]["output"]["kernel"].shape
    net = _moco_torch.ProjectedEncoder(groups, hidden_dim, dim)
    weights = _named(state.params) | _named(state.batch_stats)
    tensors = {name: torch.tensor(value) for name, value in weights.items()}
    net.load_state_dict(tensors)
    queue = torch.tensor(np.asarray(state.queue.T))
    return _moco_torch.MoCo(net, queue, m=_moco.MOMENTUM, T=_moco.TEMPERATURE, lr=0.0, **_moco.SGD)


def _named(tree) -> dict[str, np.ndarray]:
    """A tree of ours under torch's names, in torch's layout."""
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    flat = {}
    for path, leaf in traverse_util.flatten_dict(jax.device_get(tree)).items():
        axes = {2: (1, 0), 4: (3, 2, 0, 1)}.get(leaf.ndim, (0,))
        flat[".".join((*path[:-1], names.get(path[-1], path[-1])))] = leaf.transpose(axes)
    return flat


def _watched(contrastive_logits, seen):
    """`contrastive_logits` that hands its result of each direction out of the running program."""
    direction = itertools.count()

    def watched(*args, **kwargs):
        logits, place = contrastive_logits(*args, **kwargs), next(direction)
        jax.debug.callback(lambda value: seen.update({place: np.array(value)}), logits)
        return logits

    return watched


def _drawn(state, batch, directions):
    """The two views and the shuffles of a step, drawn from the state as the step says it does."""
    import torch

    rng = jax.random.fold_in(jax.random.wrap_key_data(np.asarray(state.rng)), int(state.step))
    *view_rngs, shuffle_rng, _ = jax.random.split(rng, 4)
    positions = jnp.arange(_moco.BATCH)
    views = [_moco.view(key, positions, batch["image"], batch["size"]) for key in view_rngs]
    shuffles = [
        jax.random.permutation(key, _moco.BATCH)
        for key in jax.random.split(shuffle_rng, directions)
    ]
    return (
        [torch.tensor(np.asarray(view).transpose(0, 3, 1, 2)) for view in views],
        [torch.tensor(np.asarray(shuffle), dtype=torch.long) for shuffle in shuffles],
    )


def _cosine(step, steps):
    """The learning rate as the official code has it, by the step."""
    return _moco.LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * step / steps))


def _differences(state, metrics, seen, oracle, theirs):
    """Every quantity of one step."""
    q, k = oracle.encoder_q, oracle.encoder_k
    kept = state.opt_state[0].gradients
    places = range(len(theirs.logits))
    logits = [_relative(seen.pop(place), theirs.logits[place]) for place in places]
    return {
        "logits": max(logits),
        # What the step reports is the mean of its directions, what it minimises their sum.
        "loss": _relative(metrics["loss"] * len(theirs.logits), theirs.loss),
        "gradient": _worst(kept, theirs.gradients),
        "parameters": _worst(state.params, dict(q.named_parameters())),
        "key_parameters": _worst(state.params_ema, dict(k.named_parameters())),
        "statistics": _worst(state.batch_stats, _statistics(q)),
        "key_statistics": _worst(state.batch_stats_ema, _statistics(k)),
        "accuracy": abs(float(metrics["accuracy"]) - theirs.accuracy),
        "queue": float(np.abs(state.queue - oracle.queue.T.numpy()).max()),
        "pointer": abs(int(state.queue_pointer) - oracle.pointer),
    }


def _statistics(net):
    return {name: value for name, value in net.named_buffers() if "running" in name}


def _worst(ours, theirs) -> float:
    """The largest relative error of a tree's tensors."""
    ours = _named(ours)
    if ours.keys() != theirs.keys():
        raise ValueError(f"{sorted(ours)} and {sorted(theirs)} cannot be compared")
    return max(_relative(ours[name], value.detach()) for name, value in theirs.items())


def _relative(ours, theirs) -> float:
    """Largest difference over largest number."""
    theirs = np.asarray(theirs)
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
