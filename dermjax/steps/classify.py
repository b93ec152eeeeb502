"""Stage 2: the supervised step of the classifier, and its predictions.

Letters: b images on this device, H, W pixels, N classes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from dermjax.steps import collectives
from dermjax.steps.parts import check_parts, in_parts


@struct.dataclass
class ClassifierState:
    """Everything a fine-tuning needs to go on exactly where it stopped."""

    step: jax.Array  # int32, steps done
    params: Any  # float32
    batch_stats: Any
    opt_state: Any
    rng: jax.Array  # uint32 key data; what a step draws is folded from it and `step`

    @property
    def variables(self) -> dict[str, Any]:
        """What the network needs to predict."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_state(
    variables: Any, optimizer: optax.GradientTransformation, *, seed: int
) -> ClassifierState:
    """A fresh state around `variables = {'params', 'batch_stats'}`."""

    # One program: leaf by leaf, each shape's copy and each shape's zeros would be one of its own.
    @jax.jit
    def fresh(variables, key):
        copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731  the step donates its state
        return ClassifierState(
            step=jnp.int32(0),
            params=copy(variables["params"]),
            batch_stats=copy(variables["batch_stats"]),
            opt_state=optimizer.init(variables["params"]),
            rng=jax.random.key_data(key),
        )

    return fresh(variables, jax.random.key(seed))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """What a fine-tuning step does, besides its network, optimizer and augmentation.

    Args:
      loss: `(logits [b, N] float32, label [b]) -> [b]`, one of `losses` with its numbers.
      axis: name of the collective axis; None for a single device under a plain `jax.jit`.
      accumulate_steps: parts of the share that are computed one after the other: the same step, to
        float32's rounding, in less memory. Draws of the augmentation and of dropout are the same.

    Raises:
      ValueError: `accumulate_steps` is below 1.
    """

    loss: Callable
    axis: str | None = None
    accumulate_steps: int = 1

    def __post_init__(self):
        check_parts(self.accumulate_steps)


def train_step(
    state: ClassifierState,
    batch: dict[str, jax.Array],
    *,
    apply: Callable,
    optimizer: optax.GradientTransformation,
    augment: Callable,
    config: ClassifierConfig,
) -> tuple[ClassifierState, dict[str, jax.Array]]:
    """One step down the mean loss of the global batch, per device.

    Args:
      state: replicated over the devices.
      batch: this device's share: `image [b, S, S, 3]` uint8, `size [b, 2]` int32, `label [b]`
        int32 in [0, N).
      apply: `module.apply` of the classifier: images `[b, H, W, 3]` -> logits `[b, N]`; takes the
        keyword `part` where the share is computed in parts.
      augment: `(key, positions [b], images, sizes) -> [b, H, W, 3]`.
      config: the loss, the axis, and in how many parts.

    Returns:
      The new state, and scalars equal on all devices.

    Raises:
      ValueError: `accumulate_steps` does not divide b, or tears the network's batch norm groups.
    """
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    view_rng, dropout_rng = jax.random.split(rng)

    def loss_of(params, part, rows):
        # A view is drawn here, not for all parts at once: it has four times the image's bytes.
        positions = part.positions(rows["label"].shape[0], config.axis)
        view = augment(view_rng, positions, rows["image"], rows["size"])
        logits, updates = apply(
            {"params": params, "batch_stats": state.batch_stats},
            view,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_rng},
            **part.options,
        )
        mean = config.loss(logits.astype(jnp.float32), rows["label"]).mean()
        accuracy = (logits.argmax(-1) == rows["label"]).mean(dtype=jnp.float32)
        return mean, (accuracy, updates["batch_stats"])

    def of_part(part, rows):
        return jax.value_and_grad(loss_of, has_aux=True)(state.params, part, rows), None

    means, _ = in_parts(of_part, batch, config.accumulate_steps)
    # One mean over all devices makes gradient, statistics and scalars those of the global batch.
    (mean, (accuracy, batch_stats)), grads = collectives.mean(means, config.axis)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    new_state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    return new_state, {"loss": mean, "accuracy": accuracy, "grad_norm": optax.tree.norm(grads)}


def predict_step(
    variables: dict[str, Any], batch: dict[str, jax.Array], *, apply: Callable, normalize: Callable
) -> dict[str, jax.Array]:
    """What a network makes of one device's share: logits, or features without a classifier.

    Args:
      variables: `{'params', 'batch_stats'}`.
      batch: `image [b, H, W, 3]` uint8 at the network's size, `id [b]` int32.

    Returns:
      `output [b, N]` float32 and `id [b]`, in the order of the batch.
    """
    output = apply(variables, normalize(batch["image"]), train=False)
    return {"output": output.astype(jnp.float32), "id": batch["id"]}
