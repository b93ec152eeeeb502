"""Batch normalisation: PyTorch's convention, and one result however the batch is spread."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

from dermjax.models.norm import BatchNorm, moments_in_one_pass, moments_in_two_passes

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(16, 3, 5, 4)).astype(np.float32) * [1, 2, 3, 4] + [0, 5, -5, 20]
X = X.astype(np.float32)
PARAMS = {"scale": jnp.array([1.0, 2.0, 0.5, 1.5]), "bias": jnp.array([0.0, 1.0, -1.0, 2.0])}
STATS = {"mean": jnp.array([0.5, 5.0, -4.0, 18.0]), "var": jnp.array([1.0, 3.0, 8.0, 20.0])}
WEIGHTS = DRAW.normal(size=X.shape).astype(np.float32)


def oracle(groups, momentum=0.1, epsilon=1e-5):
    """What PyTorch computes for each group, in float64; running statistics averaged."""
    outputs, means, variances = [], [], []
    for x in np.split(X.astype(np.float64), groups):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        normal = (x - mean) / np.sqrt(var + epsilon)
        outputs.append(normal * np.asarray(PARAMS["scale"]) + np.asarray(PARAMS["bias"]))
        means.append(mean)
        variances.append(x.var((0, 1, 2), ddof=1))
    new_mean = (1 - momentum) * np.asarray(STATS["mean"]) + momentum * np.mean(means, 0)
    new_var = (1 - momentum) * np.asarray(STATS["var"]) + momentum * np.mean(variances, 0)
    return np.concatenate(outputs), new_mean, new_var


def device_step(norm, axis):
    """Per device: output, running statistics and gradients of a loss over the global batch."""

    def step(x, weights):
        def loss(params, x):
            variables = {"params": params, "batch_stats": STATS}
            y, new = norm.apply(variables, x, train=True, mutable=["batch_stats"])
            return jnp.mean(y**2 * weights), (y, new["batch_stats"])

        grads, (y, stats) = jax.grad(loss, argnums=(0, 1), has_aux=True)(PARAMS, x)
        if axis is None:
            return y, stats, *grads
        devices = jax.lax.axis_size(axis)
        # Averages what the step averages; the loss of the global batch is the mean over devices.
        return y, *jax.lax.pmean((stats, grads[0]), axis), grads[1] / devices

    return step


@functools.cache
def run(kind, groups, devices):
    """The results on one device or over several, laid out as on one."""
    axis = None if kind == "plain" else "batch"
    step = device_step(BatchNorm(groups=groups, axis_name=axis), axis)
    split = [a.reshape(devices, -1, *a.shape[1:]) for a in (X, WEIGHTS)]
    join = [lambda a: a.reshape(-1, *a.shape[2:]), lambda a: a[0]]
    if kind == "plain":
        return jax.jit(step)(X, WEIGHTS)
    if kind == "shard_map":
        mesh = Mesh(np.array(jax.devices()[:devices]), ("batch",))
        spread, same = PartitionSpec("batch"), PartitionSpec()
        out = (spread, same, same, spread)
        mapped = jax.shard_map(
            step, mesh=mesh, in_specs=(spread, spread), out_specs=out, check_vma=False
        )
        return jax.jit(mapped)(X, WEIGHTS)
    if kind == "pmap":
        results = jax.pmap(step, axis_name="batch", devices=jax.devices()[:devices])(*split)
    else:
        results = jax.jit(jax.vmap(step, axis_name="batch"))(*split)
    return tuple(
        jax.tree.map(join[index in (1, 2)], result) for index, result in enumerate(results)
    )


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_one_device_is_pytorch_per_group(groups):
    y, stats, _, _ = run("plain", groups, 1)
    expected, mean, var = oracle(groups)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pmap", "shard_map", "vmap"])
@pytest.mark.parametrize(("groups", "devices"), [(8, 8), (1, 8), (2, 8), (8, 2)])
def test_devices_do_not_matter(kind, groups, devices):
    expected, found = run("plain", groups, 1), run(kind, groups, devices)
    for one, many in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(many, one, rtol=2e-4, atol=2e-6)


def test_gradients_are_right():
    def loss(x):
        variables = {"params": PARAMS, "batch_stats": STATS}
        norm = BatchNorm(groups=2)
        y, _ = norm.apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y**2 * WEIGHTS[:4])

    x = X[:4] - np.float32([0, 5, -5, 20])  # finite differences lose digits far from zero
    check_grads(jax.jit(loss), (x,), order=1, modes=["rev"], rtol=2e-2, atol=2e-2)


def test_variance_survives_a_large_mean():
    x = 1e4 + X[..., :1] * 0.1
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, train=False)
    y, _ = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(np.std(y), 1.0, atol=2e-2)


def test_evaluation_uses_running_statistics_and_leaves_them():
    norm = BatchNorm(groups=3, axis_name="absent")  # neither matters without training
    y, new = norm.apply({"params": PARAMS, "batch_stats": STATS}, X, train=False, mutable=True)
    expected = (X - STATS["mean"]) / np.sqrt(STATS["var"] + 1e-5) * PARAMS["scale"]
    np.testing.assert_allclose(y, expected + PARAMS["bias"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(new["batch_stats"]["mean"], STATS["mean"])


def test_features_without_pixels_and_bfloat16():
    norm = BatchNorm(dtype=jnp.bfloat16)
    x = jnp.asarray(X[:, 0, 0], jnp.bfloat16)
    variables = norm.init(jax.random.key(0), x, train=False)
    y, new = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16 and new["batch_stats"]["var"].dtype == jnp.float32
    np.testing.assert_allclose(y.astype(jnp.float32).mean(0), 0.0, atol=1e-2)


@pytest.mark.parametrize(
    ("groups", "devices", "batch", "message"),
    [
        (3, 8, 16, "3 batch-norm groups do not fit 8 devices.* 2 and 4"),
        (12, 8, 48, "12 batch-norm groups do not fit 8 devices.* 8 and 16"),
        (4, 1, 6, "batch of 6 per device .* 4 batch-norm groups .* 4 or 8"),
    ],
)
def test_impossible_groups_are_refused(groups, devices, batch, message):
    norm = BatchNorm(groups=groups, axis_name="batch")
    x = jnp.zeros((devices, batch // devices, 2, 2, 4))

    def step(x):
        variables = {"params": PARAMS, "batch_stats": STATS}
        return norm.apply(variables, x, train=True, mutable=["batch_stats"])

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(jax.vmap(step, axis_name="batch"), x)


def test_a_group_of_one_element_is_refused():
    with pytest.raises(ValueError, match="1 element"):
        BatchNorm(groups=2).apply(
            {"params": PARAMS, "batch_stats": STATS}, X[:2, 0, 0], train=True, mutable=True
        )


@pytest.mark.parametrize("offset", [0, 30, 300])
def test_one_pass_over_bfloat16_loses_less_than_its_rounding(offset):
    """Channels far from zero: against float64, the mean is exact and the variance nearly so."""
    x = jnp.asarray(DRAW.normal(size=(8, 16, 16, 4)) + offset, jnp.bfloat16)
    exact = np.asarray(x, np.float64).reshape(2, -1, 4)
    rounding = offset**2 * 2.0**-16 / 12
    for form in (moments_in_one_pass, moments_in_two_passes):
        mean, var = jax.jit(functools.partial(form, groups=2))((x,))
        np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(var, exact.var(1), rtol=1e-5, atol=rounding)


def test_only_tpus_and_gpus_take_one_pass_and_only_over_bfloat16():
    def lowered(dtype, platform):
        x = jnp.ones((2, 4, 4, 3), dtype)
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), x, train=False)
        step = jax.jit(lambda x: norm.apply(variables, x, train=True, mutable=["batch_stats"]))
        return step.trace(x).lower(lowering_platforms=(platform,)).as_text()

    # One pass alone keeps a difference of squares from falling below 0.
    for platform in ("tpu", "cuda"):
        assert "stablehlo.maximum" in lowered(jnp.bfloat16, platform)
        assert "stablehlo.maximum" not in lowered(jnp.float32, platform)
    assert "stablehlo.maximum" not in lowered(jnp.bfloat16, "cpu")


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
def test_several_arrays_are_normalised_together(groups, train):
    """As one array that has their pixels beside each other: results, statistics, gradients."""
    norm, variables = BatchNorm(groups=groups), {"params": PARAMS, "batch_stats": STATS}
    parts = tuple(X[:, :, i : i + 2] for i in (0, 2))

    @functools.partial(jax.jit, static_argnums=1)
    def both(variables, is_joined):
        def loss(params, given):
            given = jnp.concatenate(given, 2) if is_joined else given
            y, new = norm.apply(
                variables | {"params": params}, given, train=train, mutable=["batch_stats"]
            )
            y = y if is_joined else jnp.concatenate(y, 2)
            return jnp.mean(y**2 * WEIGHTS[:, :, :4]), (y, new)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], parts)

    together, joined = both(variables, False), both(variables, True)
    for found, expected in zip(jax.tree.leaves(together), jax.tree.leaves(joined), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
