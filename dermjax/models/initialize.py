"""First variables of a network: their shapes, and random draws of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# No parameter's shape depends on the images': small ones are traced as any.
_IMAGES = (1, 32, 32, 3)
# Drawing weights runs once and compiles for seconds: half of them are saved this way.
_QUICK_COMPILE = {"xla_backend_optimization_level": 0}


def shapes_of(model: nn.Module) -> dict[str, Any]:
    """Shapes and dtypes of a network's `{'params', 'batch_stats'}`, without drawing them."""
    return jax.eval_shape(_init(model), jax.random.key(0))


def initialize(model: nn.Module, seed: int) -> dict[str, Any]:
    """Random `{'params', 'batch_stats'}`, float32; a function of the seed alone."""
    return _drawn(lambda variables: variables, model, seed)


def with_classifier(encoder: dict[str, Any], model: nn.Module, seed: int) -> dict[str, Any]:
    """A classifier's variables: the given encoder's, and `initialize`'s classifier layer."""
    name = model.CLASSIFIER
    layer = _drawn(lambda variables: variables["params"][name], model, seed)
    return {
        "params": {**encoder["params"], name: layer},
        "batch_stats": encoder["batch_stats"],
    }


def _init(model: nn.Module):
    return lambda key: model.init(key, jnp.zeros(_IMAGES, jnp.float32), train=False)


def _drawn(select, model: nn.Module, seed: int):
    """`select(variables)` of fresh variables; what is not selected is not computed.

    That goes for the forward pass too, which `init` needs only for the shapes.
    """
    draw = jax.jit(
        lambda key: select(_init(model)(key)),
        compiler_options=_QUICK_COMPILE if jax.default_backend() == "cpu" else None,
    )
    return draw(jax.random.key(seed))


def without_classifier(
    variables: dict[str, Any], model: nn.Module
) -> tuple[dict[str, Any], jax.Array, jax.Array]:
    """A classifier taken apart: logits are `features @ kernel + bias`.

    Args:
        variables: `{'params', 'batch_stats'}` of `model`.
        model: With F features and N classes.

    Returns:
        The encoder's variables, kernel `[F, N]` and bias `[N]`.
    """
    params = dict(variables["params"])
    classifier = params.pop(model.CLASSIFIER)
    return {**variables, "params": params}, classifier["kernel"], classifier["bias"]
