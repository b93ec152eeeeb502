"""The supervised step against NumPy and across device counts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from dermjax import models
from dermjax.steps import classify, losses
from dermjax.training.parallel import AXIS, Devices

# Compiling is nearly all of the time.
COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def view(key, positions, images, sizes):
    del sizes
    noise = jax.vmap(lambda p: jax.random.normal(jax.random.fold_in(key, p)))(positions)
    return images / 255.0 + 0.1 * noise[:, None, None, None]


def batch_of(n, classes=3, side=16):
    rng = np.random.default_rng(1)
    return {
        "image": rng.integers(0, 256, (n, side, side, 3), np.uint8),
        "size": np.full((n, 2), side, np.int32),
        "id": np.arange(n, dtype=np.int32),
        "label": rng.integers(0, classes, n).astype(np.int32),
    }


def make(devices, *, dtype=jnp.float32, groups=1, parts=1, drop_rate=0.5):
    """A real network with dropout and stochastic depth, so that their draws are tested too."""
    model = models.create(
        "efficientnet_tiny",
        num_classes=3,
        dtype=dtype,
        drop_rate=drop_rate,
        drop_path_rate=drop_rate,
        bn_groups=groups,
        axis_name=AXIS,
    )
    variables = models.initialize(model, 0)
    optimizer = optax.sgd(0.05)
    placed = Devices(Mesh(np.array(jax.devices()[:devices]), (AXIS,)))
    step = placed.map_train_step(
        functools.partial(
            classify.train_step,
            apply=model.apply,
            optimizer=optimizer,
            augment=view,
            config=classify.ClassifierConfig(
                loss=functools.partial(losses.cross_entropy, label_smoothing=0.1),
                axis=AXIS,
                accumulate_steps=parts,
            ),
        )
    )
    state = placed.replicate(classify.create_state(variables, optimizer, seed=0))
    return model, placed, step, state


@functools.cache
def run(devices, steps=3, dtype=jnp.float32):
    model, placed, step, state = make(devices, dtype=dtype)
    batch = batch_of(16)
    step = step.lower(state, placed.put(batch)).compile(compiler_options=COMPILE)
    for _ in range(steps):
        state, metrics = step(state, placed.put(batch))
    predict = placed.map_predict_step(
        functools.partial(classify.predict_step, apply=model.apply, normalize=lambda x: x / 255.0)
    )
    return jax.device_get(state), jax.device_get(metrics), predict(state.variables, batch)


@pytest.mark.slow
def test_bfloat16_computes_and_float32_is_kept():
    """As on GPU and TPU: half precision inside, parameters and statistics float32, same course."""
    full, half = run(1), run(1, dtype=jnp.bfloat16)
    for leaf in jax.tree.leaves((half[0].params, half[0].batch_stats, half[1], half[2]["output"])):
        assert leaf.dtype == np.float32
    np.testing.assert_allclose(half[1]["loss"], full[1]["loss"], rtol=0.03)
    assert half[1]["loss"] != full[1]["loss"]


def test_one_and_eight_devices_agree():
    one, eight = run(1), run(8)
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(eight[2]["id"], np.arange(16))


class Linear(nn.Module):
    """Logits straight from the mean colour: a step that can be done by hand."""

    @nn.compact
    def __call__(self, images, train=False):
        stats = self.variable("batch_stats", "seen", jnp.zeros, ())
        if train:
            stats.value = stats.value + 1
        return nn.Dense(3)(images.mean((1, 2)))


def test_a_step_by_hand():
    model, batch = Linear(), batch_of(8)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    optimizer = optax.sgd(0.5)
    state = classify.create_state(variables, optimizer, seed=0)
    step = functools.partial(
        classify.train_step,
        apply=model.apply,
        optimizer=optimizer,
        augment=lambda key, positions, images, sizes: images / 255.0,
        config=classify.ClassifierConfig(
            loss=functools.partial(losses.cross_entropy, label_smoothing=0.2), axis=AXIS
        ),
    )
    stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], (state, batch))
    after, metrics = jax.vmap(step, axis_name=AXIS)(*stacked)

    x = (batch["image"] / 255.0).mean((1, 2))
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"], np.float64)
    logits = x @ kernel
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = np.eye(3)[batch["label"]] * 0.8 + 0.2 / 3
    np.testing.assert_allclose(metrics["loss"][0], -(target * np.log(p)).sum(1).mean(), rtol=1e-5)
    gradient = x.T @ (p - target) / 8
    np.testing.assert_allclose(
        after.params["Dense_0"]["kernel"][0], kernel - 0.5 * gradient, atol=1e-5
    )
    accuracy = (logits.argmax(1) == batch["label"]).mean()
    np.testing.assert_allclose(metrics["accuracy"][0], accuracy)
    assert after.batch_stats["seen"][0] == 1


@functools.cache
def accumulated(devices, parts, groups=16, drop_rate=0.5):
    """State and metrics after two steps of 32 images in parts; a step's working memory in bytes."""
    _, placed, step, state = make(devices, groups=groups, parts=parts, drop_rate=drop_rate)
    batch = placed.put(batch_of(32))
    step = step.lower(state, batch).compile(compiler_options=COMPILE)
    state, _ = step(state, batch)
    state, metrics = jax.device_get(step(state, batch))
    return state, metrics, step.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("devices", "parts"), [(1, 2), (1, 4), (4, 2), pytest.param(4, 4, marks=pytest.mark.slow)]
)
def test_parts_give_the_step_of_the_whole_batch(devices, parts):
    """Parameters, running statistics, draws and metrics; found to differ by 2.4e-7 at most."""
    whole, found = accumulated(1, 1)[:2], accumulated(devices, parts)[:2]
    compared = zip(jax.tree.leaves(whole), jax.tree.leaves(found), strict=True)
    for expected, value in compared:
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6)
    assert found[0].step == 2


def test_the_comparison_would_see_other_draws_and_other_groups():
    """Otherwise the equality above would hold for parts that drop nothing, or tear groups."""
    whole = accumulated(1, 1)[0].batch_stats
    for other in (accumulated(1, 1, drop_rate=0.0), accumulated(1, 1, groups=8)):
        leaves = zip(jax.tree.leaves(whole), jax.tree.leaves(other[0].batch_stats), strict=True)
        assert max(np.abs(a - b).max() for a, b in leaves) > 1e-3


@pytest.mark.parametrize(
    ("devices", "groups", "parts", "message"),
    [
        (1, 16, 3, "accumulate_steps = 3 does not divide the 32 images of a device.* is 2"),
        (1, 1, 2, r"2 parts .* tear .*\(1 of 1 on each of 1 devices\).* must divide 1"),
        (4, 8, 4, r"4 parts .* tear .*\(2 of 8 on each of 4 devices\).* must divide 2"),
        (4, 2, 2, r"2 parts .* tear .*\(1 of 2 on each of 4 devices\).* must divide 1"),
    ],
)
def test_parts_that_would_tear_groups_are_refused(devices, groups, parts, message):
    _, placed, step, state = make(devices, groups=groups, parts=parts)
    with pytest.raises(ValueError, match=message):
        step.lower(state, placed.put(batch_of(32)))


def test_parts_need_less_memory():
    """Nearly all of the step's working memory is a part's activations."""
    whole, half, quarter = (accumulated(1, parts)[2] for parts in (1, 2, 4))
    assert half < 0.55 * whole and quarter < 0.3 * whole
