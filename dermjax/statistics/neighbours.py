"""Nearest neighbours in a feature space, on the device: MoCo's monitor (Wu et al. 2018, sec. 3.4).

Letters: Q queries, L images of the bank with labels, F dimensions, N classes, k neighbours.
"""

import functools

import jax
import jax.numpy as jnp

_CHUNK = 512  # queries at a time: [512, L] similarities, 43 MB for the paper's 20,926 images


@functools.partial(jax.jit, static_argnames="count")
def nearest(queries: jax.Array, bank: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` most similar images of the bank for each query.

    Args:
      queries: `[Q, F]`, unit L2 norm.
      bank: `[L, F]`, unit L2 norm.
      count: in [1, L].

    Returns:
      Cosine similarities `[Q, count]`, descending, and rows of the bank `[Q, count]` int32.

    Raises:
      ValueError: more neighbours than the bank has images.
    """
    if not 1 <= count <= len(bank):
        raise ValueError(f"count = {count} must lie in [1, {len(bank)}], the images of the bank")
    return jax.lax.map(
        lambda query: jax.lax.top_k(bank @ query, count),
        queries,
        batch_size=min(_CHUNK, len(queries)),
    )


@functools.partial(jax.jit, static_argnames="classes")
def vote(
    similarities: jax.Array, labels: jax.Array, *, classes: int, temperature: float
) -> jax.Array:
    """Every neighbour votes for its label with weight exp(similarity / temperature).

    Args:
      similarities: `[Q, k]`, in [-1, 1].
      labels: `[Q, k]` int in [0, N), of the neighbours.
      classes: N.
      temperature: .1 in MoCo's CIFAR-10 notebook.

    Returns:
      Scores `[Q, N]` that sum to 1.
    """
    weights = jax.nn.softmax(similarities / temperature, -1)
    return jnp.einsum("qk,qkn->qn", weights, jax.nn.one_hot(labels, classes))
