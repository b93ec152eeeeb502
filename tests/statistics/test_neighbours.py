"""Nearest neighbours and their votes against NumPy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from dermjax.statistics import neighbours


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@settings(deadline=None, max_examples=10)
@given(queries=st.integers(1, 6), bank=st.integers(1, 9), seed=st.integers(0, 99))
def test_nearest_are_those_of_a_full_sort(queries, bank, seed):
    rng = np.random.default_rng(seed)
    q, b = unit(rng, queries, 5), unit(rng, bank, 5)
    similarities, index = neighbours.nearest(q, b, bank)
    order = np.argsort(-(q @ b.T), axis=1)
    np.testing.assert_allclose(similarities, np.take_along_axis(q @ b.T, order, 1), atol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(q @ b.T, np.asarray(index), 1), similarities, atol=1e-6
    )


def test_more_queries_than_a_chunk_keep_their_order():
    rng = np.random.default_rng(0)
    q, b = unit(rng, neighbours._CHUNK + 3, 4), unit(rng, 7, 4)
    _, index = neighbours.nearest(q, b, 1)
    np.testing.assert_array_equal(index[:, 0], (q @ b.T).argmax(1))


def test_votes_equal_scikit_learns_weighted_neighbours():
    """The weights of Wu et al. 2018: exp(similarity / temperature)."""
    rng = np.random.default_rng(1)
    q, b, labels = unit(rng, 40, 6), unit(rng, 60, 6), rng.integers(0, 4, 60)
    similarities, index = neighbours.nearest(q, b, 9)
    votes = neighbours.vote(similarities, jnp.asarray(labels)[index], classes=4, temperature=0.1)
    oracle = KNeighborsClassifier(
        9, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.1)
    ).fit(b, labels)
    np.testing.assert_allclose(votes, oracle.predict_proba(q), atol=1e-5)


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_that_the_bank_cannot_give_is_refused(count):
    x = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=rf"count = {count} must lie in \[1, 3\]"):
        neighbours.nearest(x, x, count)
