"""The MoCo-v2 step against plain NumPy, and its independence of devices and of how it is mapped.

tests/steps/test_moco_oracle.py has it beside the official code's, test_processes.py over processes.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _moco import (
    BATCH,
    COMPILE,
    DIM,
    LESIONS,
    MOMENTUM,
    QUEUE,
    TEMPERATURE,
    batches,
    make,
    network,
    trajectory,
    variables,
    view,
    with_partners,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dermjax.steps import moco
from dermjax.steps.optimizer import make_momentum, make_sgd
from dermjax.training.parallel import AXIS

# Float32 sums in another order: within 20 steps device counts were found to differ by 7e-7 in
# parameters, statistics and queue, and by 3e-6 in SGD's momentum, whose numbers are larger.
DRIFT = 1e-5


def assert_same(a, b, tolerance=DRIFT):
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        np.testing.assert_allclose(
            x, y, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path)
        )


def stacked(mapped, devices, data):
    """The last state and metrics of a mapping that wants a leading device axis."""
    state, _ = make(devices)
    state = jax.tree.map(lambda x: np.stack([x] * devices), jax.device_get(state))
    data = [jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch) for batch in data]
    step = mapped.lower(state, data[0]).compile(compiler_options=COMPILE)
    for batch in data:
        state, metrics = step(state, batch)
    return jax.tree.map(lambda x: x[0], jax.device_get((state, metrics)))


def test_pmap_shard_map_and_vmap_give_the_same_state():
    data = batches(3)
    states, metrics = trajectory(8, 8, data)
    _, step = make(8)
    mappings = jax.pmap(step, axis_name=AXIS), jax.jit(jax.vmap(step, axis_name=AXIS))
    for mapped in mappings:
        assert_same(stacked(mapped, 8, data), (states[-1], metrics[-1]))


@pytest.mark.parametrize(
    ("symmetric", "steps"), [(False, 20), (True, 8)], ids=["asymmetric", "symmetric"]
)
def test_the_device_count_changes_nothing(symmetric, steps):
    """1 device x 8 groups = 2 x 4 = 8 x 1: all of the state, and the metrics, at every step."""
    data = batches(steps)
    states, metrics = one = trajectory(1, 8, data, symmetric=symmetric)
    for before, after in zip(
        jax.tree.leaves(variables()["params"]), jax.tree.leaves(states[-1].params), strict=True
    ):
        assert np.abs(after - before).max() > 2000 * DRIFT
    assert min(scalars["key_std"] for scalars in metrics) > 2000 * DRIFT  # 0 were one key for all
    for devices in (2, 8):
        assert_same(trajectory(devices, 8, data, symmetric=symmetric), one)


def test_nor_with_the_batch_s_negatives():
    data = batches(3)
    options = dict(symmetric=True, batch_negatives=True)
    assert_same(trajectory(4, 8, data, **options), trajectory(1, 8, data, **options))


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_nor_with_positives_of_the_same_lesion(symmetric):
    data = with_partners(batches(5))
    options = dict(symmetric=symmetric, batch_negatives=True, subjects=LESIONS)
    assert_same(trajectory(8, 8, data, **options), trajectory(1, 8, data, **options))


def test_nor_with_batch_norm_in_the_head():
    """Which divides by the spread of eight images, and so makes more of a rounding."""
    data = batches(5)
    options = dict(batch_negatives=True, head_norm=True)
    one = trajectory(1, 2, data, **options)
    assert_same(trajectory(8, 2, data, **options), one, tolerance=10 * DRIFT)


def test_a_group_may_span_devices():
    """2 groups: on eight devices, four share one."""
    data = batches(4)
    assert_same(trajectory(8, 2, data), trajectory(1, 2, data))


@pytest.mark.parametrize(
    ("devices", "parts"),
    [
        pytest.param(1, 4, marks=pytest.mark.slow),
        pytest.param(1, 8, marks=pytest.mark.slow),
        (4, 2),
    ],
)
def test_parts_give_the_step_of_the_whole_batch(devices, parts):
    """Keys, queue, both encoders, their statistics, the metrics: with all that MoCo can do."""
    data = batches(3)
    options = dict(symmetric=True, batch_negatives=True, mask=True)
    one = trajectory(1, 8, data, **options)
    assert_same(trajectory(devices, 8, data, accumulate_steps=parts, **options), one)


def test_parts_give_the_step_of_the_whole_batch_with_partners():
    data = with_partners(batches(3))
    options = dict(symmetric=True, batch_negatives=True, subjects=LESIONS)
    one = trajectory(1, 8, data, **options)
    assert_same(trajectory(4, 8, data, accumulate_steps=2, **options), one)


def test_parts_that_would_tear_groups_are_refused():
    with pytest.raises(ValueError, match="4 parts .* tear .* must divide 2"):
        trajectory(4, 8, batches(1), accumulate_steps=4)


def test_groups_change_the_result():
    """Otherwise the equalities above would hold for a batch norm that ignores its groups."""
    data = batches(2)
    one, eight = trajectory(1, 1, data)[0], trajectory(1, 8, data)[0]
    assert np.abs(one[-1].queue - eight[-1].queue).max() > 1e-2


def test_no_gradient_reaches_the_key_encoder():
    state, step = make(2)
    batch = batches(1)[0]

    @jax.jit
    def grads(params_ema):
        def loss(params_ema):
            inputs = jax.tree.map(lambda x: x[None], (state.replace(params_ema=params_ema), batch))
            return jax.vmap(step, axis_name=AXIS)(*inputs)[1]["loss"][0]

        return jax.value_and_grad(loss)(params_ema)

    compiled = grads.lower(state.params_ema).compile(compiler_options=COMPILE)
    loss, gradients = compiled(state.params_ema)
    shifted, _ = compiled(jax.tree.map(lambda p: p + 0.1, state.params_ema))
    assert loss != shifted  # it depends on the key encoder
    for leaf in jax.tree.leaves(gradients):
        assert not np.any(leaf)


def test_one_step_in_the_order_of_the_official_code():
    """EMA first, then keys, loss, SGD, enqueue: with a NumPy account of what each step sees."""
    data = batches(3)
    before = jax.device_get(make(2)[0])
    for number, (batch, after) in enumerate(zip(data, trajectory(1, 2, data)[0], strict=True)):
        expected_ema = jax.tree.map(
            lambda e, p: MOMENTUM * e + (1 - MOMENTUM) * p, before.params_ema, before.params
        )
        assert_same(after.params_ema, expected_ema, 1e-6)
        slots = (BATCH * number + np.arange(BATCH)) % QUEUE
        untouched = np.setdiff1d(np.arange(QUEUE), slots)
        np.testing.assert_array_equal(after.queue[untouched], before.queue[untouched])
        np.testing.assert_array_equal(after.queue_ids[slots], batch["id"])
        assert after.queue_pointer == BATCH * (number + 1) % QUEUE
        np.testing.assert_allclose(np.linalg.norm(after.queue, axis=1), 1, rtol=1e-5)
        assert after.step == number + 1
        # Each encoder keeps its own statistics: from the second step on they differ.
        means = [jax.tree.leaves(stats)[0] for stats in (after.batch_stats, after.batch_stats_ema)]
        assert np.abs(means[0] - means[1]).max() > 0
        before = after


def test_keys_are_those_of_the_unshuffled_batch():
    """With ONE batch norm group the shuffle must not show: key i belongs to image i."""
    batch = batches(1)[0]
    (after,), _ = trajectory(1, 1, [batch])
    rng = jax.random.fold_in(jax.random.wrap_key_data(after.rng), 0)
    _, key_rng, _, _ = jax.random.split(rng, 4)
    images = view(key_rng, jnp.arange(BATCH), batch["image"], batch["size"])
    apply = jax.jit(
        lambda images: network(1, None).apply(variables(), images, True, mutable=["batch_stats"])
    )
    output, _ = apply(images)
    np.testing.assert_allclose(after.queue[:BATCH], moco.l2_normalize(output), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    size=st.sampled_from([4, 7, 23]), batch=st.sampled_from([1, 3, 4]), writes=st.integers(1, 12)
)
def test_queue_is_a_ring(size, batch, writes):
    """Whatever the sizes, the queue holds the newest keys, and ids stay with their keys."""
    queue, ids = np.zeros((size, 1), np.float32), np.full(size, moco.NO_ID, np.int32)
    pointer = np.int32(0)
    ring, place = np.zeros(size), 0
    ring_ids = np.full(size, moco.NO_ID)
    for write in range(writes):
        keys = np.arange(batch, dtype=np.int32) + 100 * write + 1
        queue, ids, pointer = enqueue(queue, ids, pointer, np.float32(keys[:, None]), keys * 2)
        for key in keys:
            ring[place], ring_ids[place] = key, key * 2
            place = (place + 1) % size
    np.testing.assert_array_equal(queue[:, 0], ring)
    np.testing.assert_array_equal(ids, ring_ids)
    assert pointer == place


enqueue = jax.jit(moco.enqueue)
info_nce = jax.jit(moco.info_nce)


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

    @jax.jit
    def ours(query, key, queue, masked):
        return moco.info_nce(
            moco.contrastive_logits(query, key, queue, temperature=0.2, masked=masked)
        )

    loss, accuracy = ours(query, key, queue, masked)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(accuracy) == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("seed", range(5))
def test_a_collapsed_network_is_right_as_often_as_chance(seed):
    """Whatever rounding makes of embeddings that are all the same; masked keys are no choice."""
    one = np.random.default_rng(seed).normal(size=64)
    same = moco.l2_normalize(jnp.asarray(np.tile(one, (16, 1)), jnp.float32))
    queue = moco.l2_normalize(jnp.asarray(np.tile(3 * one, (100, 1)), jnp.float32))
    logits = jax.jit(moco.contrastive_logits)(
        same, same, queue, temperature=0.2, masked=jnp.arange(100) < 50
    )
    assert float(info_nce(logits)[1]) == pytest.approx(1 / 51, rel=1e-5)


def test_ties_count_as_far_as_chance_would_break_them_rightly():
    logits = jnp.array([[2.0, 2, 1], [2, 1, 1], [1, 2, 2], [2, 2, 2], [0, 0, -jnp.inf]])
    assert float(info_nce(logits)[1]) == pytest.approx((1 / 2 + 1 + 0 + 1 / 3 + 1 / 2) / 5)
    assert float(info_nce(jnp.full((5, 3), jnp.nan))[1]) == 0


def test_masking_leaves_the_query_s_own_image_out():
    """One image only, and a queue full of its keys: with the mask nothing but the positive is left.

    The share of such negatives is reported either way.
    """
    data = batches(1, photographs=1)
    state = jax.device_get(make(2)[0]).replace(queue_ids=np.zeros(QUEUE, np.int32))
    for mask, (low, high) in {False: (0.5, 5), True: (0, 1e-6)}.items():
        _, (metrics,) = trajectory(1, 2, data, state=state, **({"mask": True} if mask else {}))
        assert low <= metrics["loss"] <= high
        assert metrics["same_image_share"] == 1
    _, (metrics,) = trajectory(1, 2, data)
    assert metrics["same_image_share"] == 0


def test_keys_of_the_batch_s_other_images_are_negatives_on_request():
    """The loss against NumPy, in a batch where some photographs occur twice."""
    batch = batches(1, photographs=10)[0]
    (after,), (metrics,) = trajectory(1, 1, [batch], batch_negatives=True)
    rng = jax.random.fold_in(jax.random.wrap_key_data(after.rng), 0)
    embed = jax.jit(
        lambda rng: network(1, None).apply(
            variables(),
            view(rng, jnp.arange(BATCH), batch["image"], batch["size"]),
            True,
            mutable=["batch_stats"],
        )[0]
    )
    query, key = (np.asarray(moco.l2_normalize(embed(rng))) for rng in jax.random.split(rng, 4)[:2])
    queue = np.asarray(make(1)[0].queue)
    losses = []
    for i in range(BATCH):
        others = [j for j in range(BATCH) if batch["id"][j] != batch["id"][i]]
        negatives = np.exp(np.concatenate([queue, key[others]]) @ query[i] / TEMPERATURE).sum()
        positive = np.exp(query[i] @ key[i] / TEMPERATURE)
        losses.append(np.log((positive + negatives) / positive))
    assert len(set(batch["id"])) < BATCH
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("negatives", [False, True], ids=["queue", "queue and batch"])
def test_positives_of_the_same_lesion_against_numpy(symmetric, negatives):
    """Loss, shares and queue: the key is the partner's; no key of the lesion is a negative.

    Some keys of the queue are of the query's own image, of its partner or of the lesion's others,
    some are noise; the batch holds lesions several times.
    """
    (batch,) = with_partners(batches(1))
    queue_ids = np.r_[np.arange(30), np.full(QUEUE - 30, moco.NO_ID)].astype(np.int32)
    state = jax.device_get(make(1)[0]).replace(queue_ids=queue_ids)
    options = dict(symmetric=symmetric, batch_negatives=negatives, subjects=LESIONS)
    (after,), (metrics,) = trajectory(1, 1, [batch], state=state, **options)

    own, partner, lesions = batch["id"], batch["partner_id"], np.array(LESIONS)
    assert (lesions[own] == lesions[partner]).all() and 0 < (own != partner).sum() < BATCH
    embed = jax.jit(
        lambda rng, images, sizes: network(1, None).apply(
            variables(), view(rng, jnp.arange(BATCH), images, sizes), True, mutable=["batch_stats"]
        )[0]
    )
    rng = jax.random.fold_in(jax.random.wrap_key_data(after.rng), 0)
    # Both encoders are one before the first step, so that a view is its query and its key.
    first, second = (
        np.asarray(moco.l2_normalize(embed(key, batch[f"{of}image"], batch[f"{of}size"])))
        for key, of in zip(jax.random.split(rng, 4)[:2], ("", "partner_"), strict=True)
    )
    directions = [(first, second), (second, first)] if symmetric else [(first, second)]
    losses = []
    for queries, keys in directions:
        for i in range(BATCH):
            logits = [queries[i] @ keys[i]]
            logits += [
                queries[i] @ key
                for key, image in zip(state.queue, queue_ids, strict=True)
                if image == moco.NO_ID or lesions[image] != lesions[own[i]]
            ]
            if negatives:
                others = lesions[own] != lesions[own[i]]
                logits += list(keys[others] @ queries[i])
            logits = np.array(logits) / TEMPERATURE
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert metrics["partner_share"] == pytest.approx(np.mean(own != partner))
    assert metrics["same_image_share"] == pytest.approx(1 / QUEUE)
    of_lesion = [(lesions == lesions[image]).sum() for image in own]
    assert metrics["same_subject_share"] == pytest.approx(np.mean(of_lesion) / QUEUE)

    written, ids = (np.r_[first, second], np.r_[own, partner]) if symmetric else (second, partner)
    np.testing.assert_allclose(after.queue[: len(written)], written, atol=1e-5)
    np.testing.assert_array_equal(after.queue_ids[: len(ids)], ids)


def test_a_lesion_is_masked_whatever_is_said_of_the_own_image():
    data = with_partners(batches(3))
    options = dict(batch_negatives=True, subjects=LESIONS)
    one, other = (trajectory(1, 1, data, mask=mask, **options) for mask in (False, True))
    assert_same(one, other, 0)


def test_who_has_no_partner_trains_as_with_positives_of_the_image():
    """Every photograph of a lesion of its own: the keys of one photograph are left out, no more."""
    data, options = batches(3), dict(batch_negatives=True, symmetric=True)
    alone = tuple(range(100, 130))
    pairs = [batch | {"partner_size": batch["size"]} for batch in with_partners(data, alone)]
    states, (metrics, *_) = trajectory(1, 2, pairs, subjects=alone, **options)
    expected_states, (expected, *_) = trajectory(1, 2, data, mask=True, **options)
    assert metrics.pop("partner_share") == metrics.pop("same_subject_share") == 0
    assert_same((states[-1], metrics), (expected_states[-1], expected))


def test_momentum_is_not_lost():
    """m = .999 in float32: a thousand updates towards 1 arrive at 1 - .999 ** 1000."""
    ema = {"w": jnp.zeros(3)}
    rate = 1 - make_momentum(0.999, 0.999, steps=1000)(jnp.int32(0))
    update = jax.jit(lambda e: optax.incremental_update({"w": jnp.ones(3)}, e, rate))
    for _ in range(1000):
        ema = update(ema)
    np.testing.assert_allclose(ema["w"], 1 - 0.999**1000, rtol=1e-4)
    assert ema["w"].dtype == jnp.float32


def test_a_queue_smaller_than_a_steps_keys_is_refused():
    sgd = make_sgd(0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    with pytest.raises(ValueError, match=r"queue_size = 30 is smaller than the 32 keys"):
        moco.create_state(variables(), sgd, queue_size=30, dim=DIM, keys_per_step=32, seed=0)


def test_numbers_that_make_no_step_are_refused():
    with pytest.raises(ValueError, match="temperature = 0 must be above 0"):
        moco.MoCoConfig(temperature=0)
    with pytest.raises(ValueError, match="accumulate_steps = 0 must be at least 1"):
        moco.MoCoConfig(accumulate_steps=0)


def test_without_an_axis_a_step_is_that_of_one_device():
    """Under a plain `jax.jit`: views, keys, queue, parameters and scalars."""
    for options in ({}, dict(symmetric=True, batch_negatives=True, accumulate_steps=2)):
        groups, data = options.get("accumulate_steps", 1), batches(1)
        expected_states, (expected, *_) = trajectory(1, groups, data, **options)
        state, step = make(groups, **options)
        config = dataclasses.replace(step.keywords["config"], axis=None)
        changed = dict(config=config, apply=network(groups, axis_name=None).apply)
        alone = jax.jit(functools.partial(step.func, **step.keywords | changed))
        after, scalars = alone(state, data[0])
        assert_same((after, scalars), (expected_states[-1], expected))
