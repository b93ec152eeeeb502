"""The type that numbers are added up in."""

import jax.numpy as jnp


def accumulator(*dtypes) -> jnp.dtype:
    """float32, in which bfloat16's sums are taken; float64 where something already is."""
    return jnp.promote_types(jnp.result_type(*dtypes), jnp.float32)
