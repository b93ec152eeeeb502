"""How embeddings lie on the unit sphere: whether they use it, or have collapsed.

Letters: B embeddings, D dimensions; all have unit L2 norm.
"""

import jax
import jax.numpy as jnp

_SAMPLE = 2048  # embeddings that pairs and ranks are taken of, evenly out of a longer queue


def standard_deviation(embeddings: jax.Array) -> jax.Array:
    """Mean over dimensions of the standard deviation of `[B, D]`, in [0, 1 / sqrt(D)].

    1 / sqrt(D) when they are spread over the whole sphere, 0 when all are the same point
    (Chen & He 2021, section 4.1).
    """
    return embeddings.std(0).mean()


def uniformity(embeddings: jax.Array) -> jax.Array:
    """Logarithm of the mean of exp(-2 d^2) over pairs of `[B, D]` (Wang & Isola 2020, section 4).

    0 when all are the same point; about -4 when they are spread over a sphere of many dimensions.
    """
    x = _sampled(embeddings)
    squared = 2 - 2 * x @ x.T
    pairs = len(x) * (len(x) - 1)
    potential = jnp.exp(-2 * jnp.maximum(squared, 0))
    return jnp.log((potential.sum() - jnp.trace(potential)) / pairs)


def effective_rank(embeddings: jax.Array) -> jax.Array:
    """exp(entropy) of the singular values of `[B, D]` over their sum (Garrido et al. 2023, eq. 1).

    Between 1 (all embeddings on one line) and min(B, D). Not centred: a narrow cone has rank 1,
    which is what a collapse looks like.
    """
    x = _sampled(embeddings)
    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    values = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(gram), 0))
    shares = values / values.sum()
    return jnp.exp(-jnp.sum(shares * jnp.log(shares + 1e-7)))


def _sampled(embeddings):
    """At most `_SAMPLE` rows in float32, at even distances."""
    step = -(-len(embeddings) // _SAMPLE)
    return embeddings[::step].astype(jnp.float32)
