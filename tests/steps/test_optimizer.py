"""Optimizers against their equations, written again in NumPy."""

import numpy as np
import optax
import pytest

from dermjax.steps import optimizer


def adamw(gradients, start, rate, decay, b1=0.9, b2=0.999, eps=1e-8):
    """Loshchilov & Hutter 2019, algorithm 2, with a learning rate that does not change."""
    parameter, first, second = start.astype(np.float64), 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient**2
        step = first / (1 - b1**t) / (np.sqrt(second / (1 - b2**t)) + eps)
        parameter = parameter - rate * (step + decay * parameter)
    return parameter


@pytest.mark.parametrize("factor", [0.1, 0.25, 1.0])
def test_all_but_the_named_layer_learn_at_a_share_of_the_rate(factor):
    rng = np.random.default_rng(0)
    start = {
        "encoder": {"conv": {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}},
        "classifier": {"kernel": rng.normal(size=(4, 2)), "bias": rng.normal(size=2)},
    }
    gradients = [jax_like(start, rng) for _ in range(5)]
    inner = optimizer.make_adamw(optax.constant_schedule(0.01), weight_decay=0.5)
    updates = optimizer.scale_others(inner, factor, than="classifier")
    params, state = start, updates.init(start)
    for gradient in gradients:
        change, state = updates.update(gradient, state, params)
        params = optax.apply_updates(params, change)
    for path, rate in (
        (("encoder", "conv", "kernel"), 0.01 * factor),
        (("encoder", "conv", "bias"), 0.01 * factor),
        (("classifier", "kernel"), 0.01),
        (("classifier", "bias"), 0.01),
    ):
        decay = 0.5 if path[-1] == "kernel" else 0.0
        expected = adamw([at(g, path) for g in gradients], at(start, path), rate, decay)
        np.testing.assert_allclose(at(params, path), expected, rtol=1e-4, atol=1e-6)


def jax_like(tree, rng):
    """Random numbers of the same shapes."""
    if isinstance(tree, dict):
        return {name: jax_like(part, rng) for name, part in tree.items()}
    return rng.normal(size=tree.shape)


def at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_stops_or_turns_the_training_is_refused(factor):
    with pytest.raises(ValueError, match=f"factor = {factor} of the learning rate must be above 0"):
        optimizer.scale_others(optax.sgd(0.1), factor, than="classifier")
