"""The MoCo-v2 step against plain NumPy, and its independence of devices and of how it is mapped."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh

from dermjax import models
from dermjax.models.norm import BatchNorm
from dermjax.steps import moco
from dermjax.training.parallel import AXIS, Devices

BATCH, SIDE, DIM = 16, 8, 8


class Encoder(nn.Module):
    """The smallest encoder with batch norm groups."""

    groups: int
    axis_name: str | None = AXIS
    num_classes: int = 0

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(6, (3, 3), strides=2)(images)
        x = nn.relu(BatchNorm(self.groups, self.axis_name)(x, train))
        return nn.relu(nn.Conv(6, (3, 3))(x)).mean((1, 2))


def pixels(key, positions, images, sizes):
    """An augmentation that depends on key, position, image and size."""
    noise = jax.vmap(lambda p, i: jax.random.normal(jax.random.fold_in(key, p), i.shape))(
        positions, images
    )
    return images / 255.0 + 0.1 * noise + sizes[:, :1, None, None] / 100.0


def make(
    groups, *, queue_size=40, mask=False, momentum=0.9, learning_rate=0.1, symmetric=False, seed=0
):
    """A fresh state and its per-device step."""
    model = models.ProjectedEncoder(Encoder(groups), hidden_dim=12, dim=DIM)
    variables = model.init(jax.random.key(seed), jnp.zeros((1, SIDE, SIDE, 3)), train=False)
    optimizer = optax.sgd(learning_rate, momentum=0.9)
    state = moco.create_state(
        variables,
        optimizer,
        queue_size=queue_size,
        dim=DIM,
        keys_per_step=BATCH * (2 if symmetric else 1),
        seed=seed,
    )
    step = functools.partial(
        moco.train_step,
        apply=model.apply,
        optimizer=optimizer,
        augment=pixels,
        momentum=lambda step: jnp.float32(momentum),
        temperature=0.2,
        mask_same_image=mask,
        symmetric=symmetric,
        axis=AXIS,
    )
    return state, step


def batches(count, seed=0, images=30):
    rng = np.random.default_rng(seed)
    return [
        {
            "image": rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8),
            "size": np.full((BATCH, 2), SIDE, np.int32),
            "id": rng.integers(0, images, BATCH).astype(np.int32),
        }
        for _ in range(count)
    ]


def run_shard_map(devices, state, step, data):
    """The product's own mapping."""
    placed = Devices(Mesh(np.array(jax.devices()[:devices]), (AXIS,)))
    state, mapped = placed.replicate(state), placed.map_train_step(step)
    for batch in data:
        state, metrics = mapped(state, placed.put(batch))
    return jax.device_get((state, metrics))


def run_stacked(mapped, devices, state, data):
    """pmap and vmap want a leading device axis."""
    state = jax.tree.map(lambda x: jnp.stack([x] * devices), state)
    for batch in data:
        split = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
        state, metrics = mapped(state, split)
    return jax.device_get(jax.tree.map(lambda x: x[0], (state, metrics)))


def assert_same(a, b, tolerance):
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        np.testing.assert_allclose(
            x, y, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path)
        )


def test_pmap_shard_map_and_vmap_give_the_same_state():
    data = batches(3)
    state, step = make(8)
    reference = run_shard_map(8, state, step, data)
    state, step = make(8)
    assert_same(run_stacked(jax.pmap(step, axis_name=AXIS), 8, state, data), reference, 1e-5)
    state, step = make(8)
    vmapped = jax.jit(jax.vmap(step, axis_name=AXIS))
    assert_same(run_stacked(vmapped, 8, state, data), reference, 1e-5)


@pytest.mark.parametrize("groups", [8, 2])
def test_the_device_count_changes_nothing(groups):
    """1 device x 8 groups = 2 x 4 = 8 x 1; with 2 groups, four devices share one."""
    data = batches(4)
    one = run_shard_map(1, *make(groups), data)
    for devices in (2, 8):
        assert_same(run_shard_map(devices, *make(groups), data), one, 2e-5)


def test_groups_change_the_result():
    """Otherwise the equality above would hold for a batch norm that ignores its groups."""
    data = batches(2)
    one, eight = run_shard_map(1, *make(1), data), run_shard_map(1, *make(8), data)
    assert np.abs(one[0].queue - eight[0].queue).max() > 1e-3


def test_no_gradient_reaches_the_key_encoder():
    state, step = make(2)
    batch = batches(1)[0]

    def loss(params_ema):
        stacked = jax.tree.map(lambda x: x[None], (state.replace(params_ema=params_ema), batch))
        return jax.vmap(step, axis_name=AXIS)(*stacked)[1]["loss"][0]

    for leaf in jax.tree.leaves(jax.grad(loss)(state.params_ema)):
        assert not np.any(leaf)


def test_one_step_in_the_order_of_the_official_code():
    """EMA first, then keys, loss, SGD, enqueue: with a NumPy account of what each step sees."""
    data = batches(3)
    state, step = make(2, momentum=0.75)
    placed = Devices(Mesh(np.array(jax.devices()[:1]), (AXIS,)))
    mapped, state = placed.map_train_step(step), placed.replicate(state)
    for number, batch in enumerate(data):
        before = jax.device_get(state)
        state, metrics = mapped(state, placed.put(batch))
        after = jax.device_get(state)
        expected_ema = jax.tree.map(
            lambda e, p: 0.75 * e + 0.25 * p, before.params_ema, before.params
        )
        assert_same(after.params_ema, expected_ema, 1e-6)
        slots = (BATCH * number + np.arange(BATCH)) % 40
        untouched = np.setdiff1d(np.arange(40), slots)
        np.testing.assert_array_equal(after.queue[untouched], before.queue[untouched])
        np.testing.assert_array_equal(after.queue_ids[slots], batch["id"])
        assert after.queue_pointer == BATCH * (number + 1) % 40
        np.testing.assert_allclose(np.linalg.norm(after.queue, axis=1), 1, rtol=1e-5)
        assert after.step == number + 1
        # Each encoder keeps its own statistics: from the second step on they differ.
        means = [jax.tree.leaves(stats)[0] for stats in (after.batch_stats, after.batch_stats_ema)]
        assert np.abs(means[0] - means[1]).max() > 0


def test_keys_are_those_of_the_unshuffled_batch():
    """With ONE batch norm group the shuffle must not show: key i belongs to image i."""
    state, step = make(1)
    batch = batches(1)[0]
    after, _ = run_shard_map(1, state, step, [batch])
    model = models.ProjectedEncoder(Encoder(1, None), hidden_dim=12, dim=DIM)
    rng = jax.random.fold_in(jax.random.wrap_key_data(after.rng), 0)
    _, key_rng, _, _ = jax.random.split(rng, 4)
    view = pixels(key_rng, jnp.arange(BATCH), batch["image"], batch["size"])
    fresh, _ = make(1)
    output, _ = model.apply(
        {"params": fresh.params, "batch_stats": fresh.batch_stats},
        view,
        train=True,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(after.queue[:BATCH], moco.l2_normalize(output), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(size=st.integers(4, 23), batch=st.integers(1, 4), writes=st.integers(1, 12))
def test_queue_is_a_ring(size, batch, writes):
    """Whatever the sizes, the queue holds the newest keys, and ids stay with their keys."""
    queue, ids = jnp.zeros((size, 1)), jnp.full((size,), moco.NO_ID)
    pointer = jnp.int32(0)
    ring, place = np.zeros(size), 0
    ring_ids = np.full(size, moco.NO_ID)
    for write in range(writes):
        keys = np.arange(batch) + 100 * write + 1
        queue, ids, pointer = moco.enqueue(
            queue, ids, pointer, jnp.asarray(keys[:, None], jnp.float32), jnp.asarray(keys * 2)
        )
        for key in keys:
            ring[place], ring_ids[place] = key, key * 2
            place = (place + 1) % size
    np.testing.assert_array_equal(queue[:, 0], ring)
    np.testing.assert_array_equal(ids, ring_ids)
    assert pointer == place


def test_info_nce_against_numpy():
    rng = np.random.default_rng(0)
    unit = lambda *shape: (x := rng.normal(size=shape)) / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    query, key, queue = unit(5, 8), unit(5, 8), unit(11, 8)
    masked = rng.random((5, 11)) < 0.3
    losses, hits = [], []
    for i in range(5):
        logits = [query[i] @ key[i] / 0.2]
        logits += [query[i] @ queue[j] / 0.2 for j in range(11) if not masked[i, j]]
        losses.append(-logits[0] + np.log(np.exp(logits).sum()))
        hits.append(logits[0] >= max(logits))
    logits = moco.contrastive_logits(query, key, queue, temperature=0.2, masked=jnp.asarray(masked))
    loss, accuracy = moco.info_nce(logits)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(accuracy) == pytest.approx(np.mean(hits))


def test_masking_leaves_the_query_s_own_image_out():
    """One image only: with the mask every filled slot of the queue is the query's own."""
    data = batches(2, images=1)
    _, plain = run_shard_map(1, *make(2, queue_size=BATCH), data)
    _, masked = run_shard_map(1, *make(2, queue_size=BATCH, mask=True), data)
    assert masked["loss"] == pytest.approx(0, abs=1e-6)  # nothing but the positive is left
    assert plain["loss"] > 1


def test_momentum_is_not_lost():
    """m = .999 in float32: a thousand updates towards 1 arrive at 1 - .999 ** 1000."""
    ema = {"w": jnp.zeros(3)}
    update = jax.jit(lambda e: moco.momentum_update(e, {"w": jnp.ones(3)}, 0.999))
    for _ in range(1000):
        ema = update(ema)
    np.testing.assert_allclose(ema["w"], 1 - 0.999**1000, rtol=1e-4)
    assert ema["w"].dtype == jnp.float32


def test_a_queue_smaller_than_the_batch_is_refused():
    with pytest.raises(ValueError, match=r"queue_size = 10 is smaller than the 16 keys"):
        make(1, queue_size=10)
