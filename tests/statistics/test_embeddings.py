"""Measures of how embeddings lie: their ends, and NumPy in between."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import entropy

from dermjax.statistics import embeddings


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def sphere(count, dim, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def test_one_point_is_a_collapse_by_every_measure():
    point = np.tile(sphere(1, 16), (50, 1))
    assert float(embeddings.standard_deviation(point)) == pytest.approx(0, abs=1e-6)
    assert float(embeddings.uniformity(point)) == pytest.approx(0, abs=1e-4)
    assert float(embeddings.effective_rank(point)) == pytest.approx(1, abs=2e-2)


def test_a_whole_sphere_is_full_by_every_measure():
    x = sphere(4000, 32)
    assert float(embeddings.standard_deviation(x)) == pytest.approx(32**-0.5, rel=0.02)
    assert float(embeddings.effective_rank(x)) == pytest.approx(32, rel=0.02)
    assert float(embeddings.uniformity(x)) < -3.5


@pytest.mark.parametrize(("count", "dim"), [(20, 6), (6, 20)])
def test_between_the_ends_they_equal_their_definitions(count, dim):
    x = unit(sphere(count, dim) + 0.5)
    values = np.linalg.svd(x.astype(float), compute_uv=False)
    assert float(embeddings.effective_rank(x)) == pytest.approx(np.exp(entropy(values)), rel=1e-3)
    squared = pdist(x.astype(float)) ** 2
    assert float(embeddings.uniformity(x)) == pytest.approx(
        np.log(np.exp(-2 * squared).mean()), rel=1e-4
    )
    assert float(embeddings.standard_deviation(x)) == pytest.approx(x.std(0).mean(), rel=1e-5)


def test_a_long_queue_is_measured_on_an_even_sample():
    """Every part of it: here its second half is another point than its first."""
    first, second = sphere(2, 8)
    queue = np.concatenate([np.tile(first, (5000, 1)), np.tile(second, (5000, 1))])
    assert 1.5 < float(embeddings.effective_rank(queue)) <= 2.01
