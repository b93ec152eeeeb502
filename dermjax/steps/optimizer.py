"""Numbers -> an optax optimizer and its learning rate schedule."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax


def make_schedule(
    learning_rate: float,
    *,
    steps: int,
    schedule: str,
    warmup_steps: int = 0,
    milestones: Sequence[float] = (),
    decay: float = 0.1,
) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      learning_rate: the peak, reached after the warm-up.
      steps: length of the training; the cosine ends at 0 there.
      schedule: `cosine`, `step` (times `decay` at each milestone) or `constant`.
      warmup_steps: linear from 0; 0 for none.
      milestones: shares of `steps` in (0, 1), ascending, for `step`.
      decay: factor at each milestone.

    Raises:
      ValueError: an unknown schedule, or a warm-up that is not shorter than the training.
    """
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            f"warmup_steps = {warmup_steps} must lie in [0, {steps}), the training's steps; "
            "shorten the warm-up or train longer"
        )
    if schedule == "cosine":
        main = optax.cosine_decay_schedule(learning_rate, steps - warmup_steps)
    elif schedule == "step":
        boundaries = {round(m * steps) - warmup_steps: decay for m in milestones}
        main = optax.piecewise_constant_schedule(learning_rate, boundaries)
    elif schedule == "constant":
        main = optax.constant_schedule(learning_rate)
    else:
        raise ValueError(f"schedule = {schedule!r} is not known; take cosine, step or constant")
    if not warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([warmup, main], [warmup_steps])


def make_momentum(start: float, end: float, *, steps: int) -> optax.Schedule:
    """m of the key encoder as a function of the step: from `start` to `end` along half a cosine.

    The ramp of BYOL (Grill et al. 2020, section 3.2) with an end below 1; MoCo's m is constant.
    A low m lets a young encoder forget its first keys, a high one steadies an old one.

    Raises:
      ValueError: m out of [0, 1), or falling.
    """
    if not 0 <= start <= end < 1:
        raise ValueError(
            f"momentum {start} to {end} must lie in [0, 1) and not fall; set both to {start} for a "
            "constant one"
        )

    def momentum(step):
        return end - (end - start) * (jnp.cos(jnp.pi * step / steps) + 1) / 2

    return momentum


def make_sgd(
    schedule: optax.Schedule, *, momentum: float, nesterov: bool, weight_decay: float
) -> optax.GradientTransformation:
    """SGD as PyTorch has it: the decay joins every parameter's gradient, before the momentum."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov),
    )


def make_adamw(schedule: optax.Schedule, *, weight_decay: float) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019), decaying kernels only, not biases and batch norms."""

    def is_kernel(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.adamw(schedule, weight_decay=weight_decay, mask=is_kernel)


def scale_others(
    inner: optax.GradientTransformation, factor: float, *, than: str
) -> optax.GradientTransformation:
    """An optimizer whose learning rate is `factor` times as large for all layers but one.

    Both the step along the gradient and the decay are scaled, as by a parameter group of PyTorch
    with a learning rate of its own.

    Args:
      inner: The optimizer, its learning rate included, such as `make_adamw`'s.
      factor: Of the learning rate, above 0.
      than: The name, at the top of the parameters' tree, of the layer that keeps the full rate.

    Raises:
      ValueError: If the factor is not above 0.
    """
    if not factor > 0:
        raise ValueError(
            f"factor = {factor} of the learning rate must be above 0; 1 leaves it as it is"
        )

    def scaled(params):
        return {
            name: jax.tree.map(lambda _, other=name != than: other, layer)
            for name, layer in params.items()
        }

    return optax.chain(inner, optax.masked(optax.scale(factor), scaled))
