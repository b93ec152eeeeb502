"""What stage 2 minimises, and what evens out unequal classes: weights and shifts of the logits.

Letters: b images, N classes, n_y labelled training images of class y.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    label_smoothing: float,
    class_weights: jax.Array | np.ndarray | None = None,
    logit_shift: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Softmax cross-entropy of each image, in nats.

    Args:
      logits: `[b, N]` float32.
      labels: `[b]` int32 in [0, N).
      label_smoothing: share of the target spread over all classes, in [0, 1).
      class_weights: `[N]`, at least 0: factor of an image's loss by its class; None for 1.
      logit_shift: `[N]`, added to the logits in training only; None for 0.

    Returns:
      `[b]`, at least 0. Their plain mean is the loss of a batch: dividing by the sum of the weights
      instead would make an image's share depend on what else is in its batch.
    """
    logits = _shifted(logits, logit_shift)
    target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return _weighted(optax.softmax_cross_entropy(logits, target), labels, class_weights)


def focal(
    logits: jax.Array,
    labels: jax.Array,
    *,
    gamma: float,
    class_weights: jax.Array | np.ndarray | None = None,
    logit_shift: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """`-(1 - p_y)^gamma log p_y` of each image: Lin et al. 2017, equation 4, with p by softmax.

    With weights it is their equation 5. Gamma 0 is cross-entropy.

    Args:
      logits: `[b, N]` float32, N at least 2.
      labels: `[b]` int32 in [0, N).
      gamma: at least 0; the higher, the less an image counts that is classified well.
      class_weights: as in `cross_entropy`.
      logit_shift: as in `cross_entropy`; p_y is of the shifted logits.

    Returns:
      `[b]`, at least 0, in nats.
    """
    log_p = jax.nn.log_softmax(_shifted(logits, logit_shift))
    is_true = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    # 1 - p as the sum of the others: where p rounds to 1, its power would have no gradient.
    log_rest = jax.nn.logsumexp(log_p, axis=-1, where=~is_true)
    losses = -jnp.exp(gamma * log_rest) * jnp.where(is_true, log_p, 0).sum(-1)
    return _weighted(losses, labels, class_weights)


def effective_number_weights(counts: np.ndarray, beta: float) -> np.ndarray:
    """A factor for each class, inverse to its effective number of images.

    The class-balanced loss of Cui et al. 2019, section 4: `w_y` is proportional to
    `(1 - beta) / (1 - beta^n_y)`, from equal weights at beta 0 towards `1 / n_y` as beta nears 1.

    Args:
      counts: `[N]` int, n_y.
      beta: in [0, 1).

    Returns:
      `[N]` float32 with the sum N; a class without images has weight 0 and is not counted in N.

    Raises:
      ValueError: beta out of bounds, or no images at all.
    """
    if not 0 <= beta < 1:
        raise ValueError(
            f"effective_number_beta = {beta} must be at least 0 and below 1; try 0.999"
        )
    present = _present(counts)
    # 1 - beta^n without cancellation; log(0) is only asked for where the result is 1.
    effective = -np.expm1(counts * np.log(beta)) if beta else np.ones(len(counts))
    weights = np.where(present, 1 / np.where(present, effective, 1), 0)
    return (weights * present.sum() / weights.sum()).astype(np.float32)


def prior_shift(counts: np.ndarray, tau: float) -> np.ndarray:
    """`tau log pi_y`, to be added to training's logits: Menon et al. 2021, equation 10.

    The network then learns what speaks for a class beyond its frequency: predictions are made from
    the logits without the shift, which at tau 1 aim at the highest macro sensitivity.

    Args:
      counts: `[N]` int, n_y; pi_y is their share.
      tau: at least 0.

    Returns:
      `[N]` float32; a class without images is taken to have one, as log 0 would be no number.

    Raises:
      ValueError: tau below 0, or no images at all.
    """
    if tau < 0:
        raise ValueError(f"logit_adjustment = {tau} must be at least 0; try 1.0")
    _present(counts)
    return (tau * np.log(np.maximum(counts, 1) / np.sum(counts))).astype(np.float32)


def _present(counts: np.ndarray) -> np.ndarray:
    """Which classes have images."""
    present = np.asarray(counts) > 0
    if not present.any():
        raise ValueError("there are no labelled images to count; check the split and the labels")
    return present


def _shifted(logits: jax.Array, shift: jax.Array | np.ndarray | None) -> jax.Array:
    return logits if shift is None else logits + shift


def _weighted(
    losses: jax.Array, labels: jax.Array, weights: jax.Array | np.ndarray | None
) -> jax.Array:
    return losses if weights is None else losses * jnp.asarray(weights)[labels]
