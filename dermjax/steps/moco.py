"""MoCo-v2 (He et al. 2020; Chen et al. 2020): state, loss, queue, momentum encoder and train step.

Letters: b images on this device, B in the global batch, H, W pixels, K keys in the queue, D
dimensions of an embedding.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

NO_ID = -1  # no photograph carries it: the noise that fills a fresh queue


@struct.dataclass
class MoCoState:
    """Everything a pretraining run needs to go on exactly where it stopped."""

    step: jax.Array  # int32, steps done
    params: Any  # query encoder and head, float32
    params_ema: Any  # key encoder and head: moving average of `params`, float32
    batch_stats: Any  # each encoder keeps its own batch norm statistics
    batch_stats_ema: Any
    opt_state: Any
    queue: jax.Array  # [K, D] float32, unit L2 norm, keys of earlier batches
    queue_ids: jax.Array  # [K] int32, the image each key came from
    queue_pointer: jax.Array  # int32 in [0, K), where the next key is written
    rng: jax.Array  # uint32 key data; what a step draws is folded from it and `step`


def create_state(
    variables: Any,
    optimizer: optax.GradientTransformation,
    *,
    queue_size: int,
    dim: int,
    batch_size: int,
    seed: int,
) -> MoCoState:
    """A fresh state: the key encoder is a copy of the query encoder, the queue is noise.

    Args:
      variables: `{'params', 'batch_stats'}` of encoder and head.
      queue_size: K; need not be a multiple of the batch.
      dim: D of the head.
      batch_size: B, global.

    Raises:
      ValueError: the queue is smaller than one batch of keys.
    """
    if queue_size < batch_size:
        raise ValueError(
            f"queue_size = {queue_size} is smaller than the batch of {batch_size} keys written at "
            f"each step; take at least {batch_size}"
        )
    rng, noise = jax.random.split(jax.random.key(seed))
    queue = jax.random.normal(noise, (queue_size, dim), jnp.float32)
    # The step donates the state: leaves that shared a buffer would be donated twice.
    copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731
    return MoCoState(
        step=jnp.int32(0),
        params=copy(variables["params"]),
        params_ema=copy(variables["params"]),
        batch_stats=copy(variables["batch_stats"]),
        batch_stats_ema=copy(variables["batch_stats"]),
        opt_state=optimizer.init(variables["params"]),
        queue=l2_normalize(queue),
        queue_ids=jnp.full((queue_size,), NO_ID, jnp.int32),
        queue_pointer=jnp.int32(0),
        rng=jax.random.key_data(rng),
    )


def l2_normalize(x: jax.Array) -> jax.Array:
    """`[..., D]` -> unit L2 norm along D, in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-24))


def momentum_update(params_ema: Any, params: Any, momentum: jax.Array | float) -> Any:
    """`m * ema + (1 - m) * params` (MoCo, equation 2), in float32: m = .999 is lost in bfloat16."""
    return jax.tree.map(lambda e, p: momentum * e + (1 - momentum) * p, params_ema, params)


def info_nce(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array,
    *,
    temperature: float,
    masked: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The contrastive loss (MoCo, equation 1): tell the positive among 1 + K keys.

    Args:
      query: `[b, D]`, unit norm.
      key: `[b, D]`, unit norm, the positive of each query.
      queue: `[K, D]`, unit norm, the negatives of all queries.
      temperature: > 0; .2 in MoCo-v2.
      masked: `[b, K]` bool, negatives that do not count; None for none.

    Returns:
      Mean loss in nats, and the share of queries nearer to their positive than to every negative.
    """
    positive = jnp.sum(query * key, -1, keepdims=True)
    negative = query @ queue.T
    if masked is not None:
        negative = jnp.where(masked, -jnp.inf, negative)
    logits = jnp.concatenate([positive, negative], -1) / temperature
    loss = jax.nn.logsumexp(logits, -1) - logits[:, 0]
    return loss.mean(), (logits[:, 0] >= logits.max(-1)).mean(dtype=jnp.float32)


def enqueue(
    queue: jax.Array,
    queue_ids: jax.Array,
    pointer: jax.Array,
    keys: jax.Array,
    ids: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Write `keys [B, D]` and `ids [B]` over the oldest entries, round the end of the queue.

    Returns:
      Queue, ids and pointer after the write.
    """
    size = queue.shape[0]
    slots = (pointer + jnp.arange(keys.shape[0], dtype=jnp.int32)) % size
    queue = queue.at[slots].set(keys, unique_indices=True)
    queue_ids = queue_ids.at[slots].set(ids, unique_indices=True)
    return queue, queue_ids, (pointer + keys.shape[0]) % size


def train_step(
    state: MoCoState,
    batch: dict[str, jax.Array],
    *,
    apply: Callable,
    optimizer: optax.GradientTransformation,
    augment: Callable,
    momentum: Callable[[jax.Array], jax.Array],
    temperature: float,
    mask_same_image: bool,
    axis: str,
) -> tuple[MoCoState, dict[str, jax.Array]]:
    """One step, per device, in the order of the official code: EMA, keys, loss, SGD, enqueue.

    Args:
      state: replicated over the devices.
      batch: this device's share: `image [b, S, S, 3]` uint8, `size [b, 2]` int32 (the valid top
        left region), `id [b]` int32.
      apply: `module.apply` of encoder and head: images `[b, H, W, 3]` -> `[b, D]`.
      augment: `(key, positions [b], images, sizes) -> [b, H, W, 3]`; positions are those in the
        global batch, so that what is drawn for an image does not depend on the device count.
      momentum: step -> m of the key encoder.
      mask_same_image: leave keys of the query's own image out of its negatives. Not in MoCo; it
        matters when the queue is longer than the data set (moco issues 24 and 87).
      axis: name of the collective axis.

    Returns:
      The new state, and scalars equal on all devices.
    """
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    query_rng, key_rng, shuffle_rng, dropout_rng = jax.random.split(rng, 4)
    device, share = jax.lax.axis_index(axis), batch["id"].shape[0]

    momentum_now = momentum(state.step)
    params_ema = momentum_update(state.params_ema, state.params, momentum_now)
    keys, batch_stats_ema = _shuffled_keys(
        {"params": params_ema, "batch_stats": state.batch_stats_ema},
        batch,
        apply=apply,
        view=lambda positions, images, sizes: augment(key_rng, positions, images, sizes),
        rngs={"shuffle": shuffle_rng, "dropout": dropout_rng},
        axis=axis,
    )
    positive = jax.lax.dynamic_slice_in_dim(keys, device * share, share)
    masked = batch["id"][:, None] == state.queue_ids[None] if mask_same_image else None
    positions = device * share + jnp.arange(share)
    view = augment(query_rng, positions, batch["image"], batch["size"])

    loss_of = functools.partial(
        _query_loss,
        batch_stats=state.batch_stats,
        view=view,
        positive=positive,
        queue=state.queue,
        masked=masked,
        apply=apply,
        temperature=temperature,
        dropout_rng=dropout_rng,
    )
    (loss, aux), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    # One mean over all devices makes gradient, statistics and scalars those of the global batch.
    grads, loss, (scalars, batch_stats), batch_stats_ema = jax.lax.pmean(
        (grads, loss, aux, batch_stats_ema), axis
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    ids = jax.lax.all_gather(batch["id"], axis, tiled=True)
    queue, queue_ids, pointer = enqueue(
        state.queue, state.queue_ids, state.queue_pointer, keys, ids
    )
    metrics = {
        "loss": loss,
        **scalars,
        # 1 / sqrt(D) when embeddings fill the sphere, 0 when they have collapsed to one point.
        "key_std": keys.std(0).mean(),
        "grad_norm": optax.tree.norm(grads),
    }
    new_state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        params_ema=params_ema,
        batch_stats=batch_stats,
        batch_stats_ema=batch_stats_ema,
        opt_state=opt_state,
        queue=queue,
        queue_ids=queue_ids,
        queue_pointer=pointer,
    )
    return new_state, metrics


def _query_loss(
    params, *, batch_stats, view, positive, queue, masked, apply, temperature, dropout_rng
):
    """The loss of one device's queries; beside it scalars and the new batch statistics."""
    output, updates = apply(
        {"params": params, "batch_stats": batch_stats},
        view,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": dropout_rng},
    )
    query = l2_normalize(output)
    loss, accuracy = info_nce(query, positive, queue, temperature=temperature, masked=masked)
    scalars = {"accuracy": accuracy, "positive_similarity": (query * positive).sum(-1).mean()}
    return loss, (scalars, updates["batch_stats"])


def _shuffled_keys(variables, batch, *, apply, view, rngs, axis):
    """Keys `[B, D]` of the global batch, in its order, by way of ShuffleBN; and batch statistics.

    Batch norm groups of the key encoder must not hold the same images as those of the query
    encoder, or their statistics give the positive away. Pixels are gathered as uint8, before the
    augmentation: a quarter of the bytes, and the same views.
    """
    share = batch["id"].shape[0]
    images, sizes = jax.lax.all_gather((batch["image"], batch["size"]), axis, tiled=True)
    permutation = jax.random.permutation(rngs["shuffle"], images.shape[0])
    mine = jax.lax.dynamic_slice_in_dim(permutation, jax.lax.axis_index(axis) * share, share)
    output, updates = apply(
        variables,
        view(mine, images[mine], sizes[mine]),
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": rngs["dropout"]},
    )
    shuffled = jax.lax.all_gather(l2_normalize(output), axis, tiled=True)
    keys = jnp.zeros_like(shuffled).at[permutation].set(shuffled, unique_indices=True)
    return jax.lax.stop_gradient(keys), updates["batch_stats"]
