"""MoCo-v2 (He et al. 2020; Chen et al. 2020): state, loss, queue, momentum encoder and train step.

Letters: b images on this device, B in the global batch, H, W pixels, K keys in the queue, D
dimensions of an embedding.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from dermjax.steps import collectives
from dermjax.steps.parts import check_parts, in_parts
from dermjax.steps.shuffle_batch_norm import in_shuffled_groups

# Relative error of a product of embeddings in float32, two units in the last place.
_ROUNDING = 2e-7
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
    queue_ids: jax.Array  # [K] int32, the image each key came from (a partner, if that gave it)
    queue_pointer: jax.Array  # int32 in [0, K), where the next key is written
    rng: jax.Array  # uint32 key data; what a step draws is folded from it and `step`


def create_state(
    variables: Any,
    optimizer: optax.GradientTransformation,
    *,
    queue_size: int,
    dim: int,
    keys_per_step: int,
    seed: int,
) -> MoCoState:
    """A fresh state: the key encoder is a copy of the query encoder, the queue is noise.

    Args:
      variables: `{'params', 'batch_stats'}` of encoder and head.
      queue_size: K; need not be a multiple of the batch.
      dim: D of the head.
      keys_per_step: what `keys_per_step` gives.

    Raises:
      ValueError: the queue is smaller than one step's keys.
    """
    if queue_size < keys_per_step:
        raise ValueError(
            f"queue_size = {queue_size} is smaller than the {keys_per_step} keys written at each "
            f"step; take at least {keys_per_step}"
        )

    # One program: leaf by leaf, each shape's copy and each shape's zeros would be one of its own.
    @jax.jit
    def fresh(variables, key):
        rng, noise = jax.random.split(key)
        # The step donates the state: leaves that shared a buffer would be donated twice.
        copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731
        return MoCoState(
            step=jnp.int32(0),
            params=copy(variables["params"]),
            params_ema=copy(variables["params"]),
            batch_stats=copy(variables["batch_stats"]),
            batch_stats_ema=copy(variables["batch_stats"]),
            opt_state=optimizer.init(variables["params"]),
            queue=l2_normalize(jax.random.normal(noise, (queue_size, dim), jnp.float32)),
            queue_ids=jnp.full((queue_size,), NO_ID, jnp.int32),
            queue_pointer=jnp.int32(0),
            rng=jax.random.key_data(rng),
        )

    return fresh(variables, jax.random.key(seed))


def keys_per_step(batch_size: int, *, symmetric: bool) -> int:
    """B, or 2 B where each view is query once and key once."""
    return batch_size * (2 if symmetric else 1)


def l2_normalize(x: jax.Array) -> jax.Array:
    """`[..., D]` -> unit L2 norm along D, in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-24))


def contrastive_logits(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array,
    *,
    temperature: float,
    masked: jax.Array,
) -> jax.Array:
    """Similarities of queries to their positive, in place 0, and to the negatives (MoCo, eq. 1).

    Args:
      query: `[b, D]`, unit norm.
      key: `[b, D]`, unit norm, the positive of each query.
      queue: `[K, D]`, unit norm, the negatives of all queries.
      temperature: > 0; .2 in MoCo-v2.
      masked: `[b, K]` bool, negatives that do not count.

    Returns:
      `[b, 1 + K]`, -inf where masked.
    """
    positive = jnp.sum(query * key, -1, keepdims=True)
    negative = jnp.where(masked, -jnp.inf, query @ queue.T)
    return jnp.concatenate([positive, negative], -1) / temperature


def info_nce(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The contrastive loss (MoCo, equation 1): tell the positive among 1 + K keys.

    Args:
      logits: `[b, 1 + K]`, the positive in place 0.

    Returns:
      Mean loss in nats, and the share of queries nearer to their positive than to every negative.
      Of keys that are equally near to rounding one is taken at random, on average: where the
      network gives all images one embedding, the share is chance's, 1 / (1 + K), not 1.
    """
    loss = jax.nn.logsumexp(logits, -1) - logits[:, 0]
    most = logits.max(-1, keepdims=True)
    nearest = logits >= most - _ROUNDING * jnp.abs(most)
    ties = jnp.maximum(nearest.sum(-1), 1)  # none where a logit is no number
    return loss.mean(), (nearest[:, 0] / ties).mean(dtype=jnp.float32)


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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)  # an array has no equality
class MoCoConfig:
    """What a pretraining step does, besides its networks, optimizer and augmentation.

    The defaults are MoCo-v2's, on a single device.

    Args:
      momentum: step -> m of the key encoder, in [0, 1).
      temperature: of the similarities, above 0.
      mask_same_image: leave keys of the query's own image out of its negatives. Not in MoCo; it
        matters when the queue is longer than the data set (moco issues 24 and 87).
      batch_negatives: keys of the batch's other images are negatives, too, as in SimCLR. Not in
        MoCo, whose negatives all are older than the positive: a young encoder can tell them by
        their age instead of the image.
      symmetric: each view is query once and key once, the two losses are summed and 2 B keys
        enqueued, as in the official CIFAR-10 notebook; MoCo-v2 itself is asymmetric.
      axis: name of the collective axis; None for a single device under a plain `jax.jit`.
      accumulate_steps: parts of the share that go through a network one after the other: first all
        keys, then all queries, which all meet the same keys of the whole batch and of the queue. It
        is the same step, to float32's rounding, in less memory.
      subjects: `[N]` int32, the lesion or patient that each image of the data set shows: keys of
        the query's own subject, of whichever photograph, are left out of its negatives, as the loss
        would push away what it draws near with the positive. `mask_same_image` then says nothing
        more. None: nobody knows, or positives are of the query's own image.

    Raises:
      ValueError: a number is out of its bounds.
    """

    momentum: Callable[[jax.Array], jax.Array | float] = lambda step: 0.999
    temperature: float = 0.2
    mask_same_image: bool = False
    batch_negatives: bool = False
    symmetric: bool = False
    axis: str | None = None
    accumulate_steps: int = 1
    subjects: np.ndarray | None = None

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature} must be above 0; MoCo-v2 has 0.2")
        check_parts(self.accumulate_steps)


def train_step(
    state: MoCoState,
    batch: dict[str, jax.Array],
    *,
    apply: Callable,
    optimizer: optax.GradientTransformation,
    augment: Callable,
    config: MoCoConfig,
) -> tuple[MoCoState, dict[str, jax.Array]]:
    """One step, per device, in the order of the official code: EMA, keys, loss, SGD, enqueue.

    Args:
      state: replicated over the devices.
      batch: this device's share: `image [b, S, S, 3]` uint8, `size [b, 2]` int32 (the valid top
        left region), `id [b]` int32; where positives come from other photographs, the same three as
        `partner_image`, `partner_size`, `partner_id`: the second view is then of the partner.
      apply: `module.apply` of encoder and head: images `[b, H, W, 3]` -> `[b, D]`; takes the
        keyword `part` where the share is computed in parts.
      augment: `(key, positions [b], images, sizes) -> [b, H, W, 3]`; positions are those in the
        global batch, so that what is drawn for an image does not depend on the device count.
      config: the loss, its negatives, and the axis.

    Returns:
      The new state, and scalars equal on all devices (`_query_loss`, `_origin_of_keys`, `_health`).

    Raises:
      ValueError: `accumulate_steps` does not divide b, or tears the networks' batch norm groups.
    """
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    *view_rngs, shuffle_rng, dropout_rng = jax.random.split(rng, 4)
    asking, answering = _directions(augment, view_rngs, batch, config.symmetric)

    # m = .999 would be lost in bfloat16: both are float32 (MoCo, equation 2).
    rate = 1 - config.momentum(state.step)
    params_ema = optax.incremental_update(state.params, state.params_ema, rate)
    # As uint8, before the augmentation: a quarter of the bytes (tests/benchmarks/scaling.py).
    everyone = collectives.all_gather(batch, config.axis)
    given = dict(rngs={"shuffle": shuffle_rng, "dropout": dropout_rng}, apply=apply, config=config)
    keys, batch_stats_ema = _keys(
        params_ema, state.batch_stats_ema, everyone, views=answering, **given
    )

    related = _related(config.subjects, batch["id"], state.queue_ids)
    negatives, masked = _negatives(state, batch["id"], everyone["id"], keys, related, config)
    positives = [collectives.own_share(made, config.axis) for made in keys]
    rows = {"batch": batch, "positives": positives, "masked": masked}
    grads, scalars, batch_stats = _gradients(
        state, rows, views=asking, negatives=negatives, **given
    )
    scalars |= _origin_of_keys(state, batch, related, config)
    # One mean over all devices makes gradient, statistics and scalars those of the global batch.
    grads, scalars, batch_stats, batch_stats_ema = collectives.mean(
        (grads, scalars, batch_stats, batch_stats_ema), config.axis
    )

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    # Keys of view 0 before those of view 1, as the notebook has it.
    newest = jnp.concatenate(keys[::-1])
    ids = jnp.concatenate([view.shown(everyone)["id"] for view in answering[::-1]])
    queue, queue_ids, pointer = enqueue(
        state.queue, state.queue_ids, state.queue_pointer, newest, ids
    )
    new_state = dataclasses.replace(
        state,
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
    return new_state, scalars | _health(newest, state.queue_ids, grads)


class _View(NamedTuple):
    """One of the two views of each row of a batch: of its image, or of its partner's."""

    augment: Callable  # (positions, images, sizes) -> images
    of: str  # what the names of its fields begin with

    def shown(self, batch):
        """`image`, `size` and `id` of what it is a view of."""
        return {name: batch[self.of + name] for name in ("image", "size", "id")}


def _directions(augment, view_rngs, batch, symmetric):
    """The view that gives the query and the view that gives the key, for each direction."""
    of = ("", "partner_" if "partner_id" in batch else "")
    views = [
        _View(functools.partial(augment, view_rng), name)
        for view_rng, name in zip(view_rngs, of, strict=True)
    ]
    return (views, views[::-1]) if symmetric else (views[:1], views[1:])


def _negatives(state, ids, all_ids, keys, related, config):
    """The negatives `[K', D]` of each direction, and which of them do not count, `[b, K']` bool."""
    # A partner has its image's subject: of whom a query is does not depend on the direction.
    is_masked = config.mask_same_image or config.subjects is not None
    masked = related if is_masked else jnp.zeros_like(related)
    if not config.batch_negatives:
        return [state.queue] * len(keys), masked
    negatives = [jnp.concatenate([state.queue, made]) for made in keys]
    return negatives, jnp.concatenate([masked, _related(config.subjects, ids, all_ids)], 1)


def _origin_of_keys(state, batch, related, config):
    """Scalars that say whose keys the queue holds, and how many positives are of another image.

    `same_image_share` is the share of the queue's keys that come from the very image of a row of
    the batch (not from its partner), whether they are left out or not; with `subjects`,
    `same_subject_share` is that of keys from images of its lesion or patient, which are left out;
    with partners, `partner_share` is that of the rows whose partner is another image.
    """
    scalars = {"same_image_share": _same(batch["id"], state.queue_ids).mean()}
    if config.subjects is not None:
        scalars["same_subject_share"] = related.mean()
    if "partner_id" in batch:
        scalars["partner_share"] = (batch["partner_id"] != batch["id"]).mean()
    return scalars


def _health(keys, queue_ids, grads):
    """Scalars by which a failing training is recognised."""
    return {
        # 1 / sqrt(D) when embeddings fill the sphere, 0 when they have collapsed to one point.
        "key_std": keys.std(0).mean(),
        "queue_filled": jnp.mean(queue_ids != NO_ID),
        "grad_norm": optax.tree.norm(grads),
    }


def _same(ids, other_ids):
    """`[b]`, `[n]` -> `[b, n]` bool."""
    return ids[:, None] == other_ids[None]


def _related(subjects, ids, other_ids):
    """`[b]`, `[n]` -> `[b, n]` bool: whether two images show one subject, or are one image."""
    if subjects is None:
        return _same(ids, other_ids)
    of = jnp.asarray(subjects)
    return _same(of[ids], jnp.where(other_ids == NO_ID, NO_ID, of[other_ids]))


def _gradients(state, rows, **given):
    """Mean gradients, scalars and statistics of this device's queries, part by part.

    Args:
      rows: `batch`, `positives` and `masked`, a row for each query.
      **given: as for `_query_loss`.
    """
    loss_of = functools.partial(_query_loss, batch_stats=state.batch_stats, **given)

    def of_part(part, rows):
        return jax.value_and_grad(loss_of, has_aux=True)(state.params, part, rows), None

    means, _ = in_parts(of_part, rows, given["config"].accumulate_steps)
    (_, (scalars, batch_stats)), grads = means
    return grads, scalars, batch_stats


def _query_loss(params, part, rows, *, batch_stats, views, negatives, rngs, apply, config):
    """The loss of a part's queries, summed over directions; their mean scalars; statistics."""
    batch, masked, total, scalars = rows["batch"], rows["masked"], 0.0, []
    positions = part.positions(batch["id"].shape[0], config.axis)
    for view, positive, negative in zip(views, rows["positives"], negatives, strict=True):
        shown = view.shown(batch)
        output, updates = apply(
            {"params": params, "batch_stats": batch_stats},
            view.augment(positions, shown["image"], shown["size"]),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": rngs["dropout"]},
            **part.options,
        )
        batch_stats = updates["batch_stats"]
        query = l2_normalize(output)
        logits = contrastive_logits(
            query, positive, negative, temperature=config.temperature, masked=masked
        )
        loss, accuracy = info_nce(logits)
        total += loss
        similarity = (query * positive).sum(-1).mean()
        scalars.append(
            {
                "loss": loss,
                "accuracy": accuracy,
                "positive_similarity": similarity,
                "negative_similarity": query.mean(0) @ negative.mean(0),  # of all pairs
                # Mean squared distance of positives (Wang & Isola 2020).
                "alignment": 2 - 2 * similarity,
            }
        )
    mean = jax.tree.map(lambda *values: sum(values) / len(values), *scalars)
    return total, (mean, batch_stats)


def _keys(params, batch_stats, everyone, *, apply, views, rngs, config):
    """Keys `[B, D]` of each view, one after the other; and the batch statistics after them."""
    keys = []
    for shuffle, view in zip(jax.random.split(rngs["shuffle"], len(views)), views, strict=True):
        made, batch_stats = _shuffled_keys(
            {"params": params, "batch_stats": batch_stats},
            everyone,
            apply=apply,
            view=view,
            rngs=rngs | {"shuffle": shuffle},
            config=config,
        )
        keys.append(made)
    return keys, batch_stats


def _shuffled_keys(variables, everyone, *, apply, view, rngs, config):
    """Keys `[B, D]` of the global batch, in its order, by ShuffleBN; and batch statistics."""
    shown = view.shown(everyone)

    def of_part(part, mine):
        output, updates = apply(
            variables,
            view.augment(mine, shown["image"][mine], shown["size"][mine]),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": rngs["dropout"]},
            **part.options,
        )
        return updates["batch_stats"], l2_normalize(output)

    batch_stats, keys = in_shuffled_groups(
        lambda mine: in_parts(of_part, mine, config.accumulate_steps),
        rngs["shuffle"],
        everyone["id"].shape[0],
        config.axis,
    )
    return jax.lax.stop_gradient(keys), batch_stats
