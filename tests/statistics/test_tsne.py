"""Embeddings that keep neighbours and repeat; purity and silhouette against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.manifold import trustworthiness

from dermjax.statistics import tsne


def clusters(seed=0, images=240, classes=4, apart=6.0):
    """Clusters in 80 dimensions, of which a picture can lose most."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    centres = apart * rng.normal(size=(classes, 80)) / np.sqrt(80)
    return (centres[labels] + rng.normal(size=(images, 80))).astype(np.float32), labels


@pytest.fixture(scope="module")
def picture():
    return tsne.embed(clusters()[0], seed=3)


def test_neighbours_stay_neighbours(picture):
    features, labels = clusters()
    assert picture.shape == (240, 2) and picture.dtype == np.float32
    assert tsne.purity(picture, labels).mean > 0.95
    assert trustworthiness(features, picture, n_neighbors=10) > 0.75


def test_the_same_seed_gives_the_same_picture(picture):
    np.testing.assert_array_equal(tsne.embed(clusters()[0], seed=3), picture)


@pytest.mark.slow
def test_neighbours_stay_neighbours_in_sets_that_are_interpolated(monkeypatch):
    features, labels = clusters()
    monkeypatch.setattr(tsne, "_INTERPOLATED", len(features))
    assert tsne.purity(tsne.embed(features, seed=3), labels).mean > 0.95


@pytest.mark.parametrize("shape", [(4, 300), (7, 2), (12, 1)])
def test_the_smallest_sets_have_a_picture_too(shape):
    features = np.random.default_rng(0).normal(size=shape)
    picture = tsne.embed(features, seed=0)
    assert np.isfinite(picture).all() and len(np.unique(picture, axis=0)) == shape[0]


def test_features_that_have_collapsed_are_one_point():
    assert len(np.unique(tsne.embed(np.ones((30, 8)), seed=0), axis=0)) == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 11))
def test_purity_is_counted_by_hand(seed, k):
    features, labels = clusters(seed, images=12, classes=3, apart=2)
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    shares = (labels[np.argsort(distances, 1)[:, :k]] == labels[:, None]).mean(1)
    found = tsne.purity(features, labels, k)
    assert found.mean == pytest.approx(shares.mean())
    wanted = {c: shares[labels == c].mean() for c in np.unique(labels)}
    assert found.by_class == pytest.approx(wanted)
    assert found.macro == pytest.approx(np.mean(list(wanted.values())))


def test_an_image_is_not_its_own_neighbour_even_among_copies():
    points = np.repeat(np.eye(2), 2, axis=0)  # two pairs of copies
    assert tsne.purity(points, np.array([0, 0, 1, 1]), k=1).mean == 1
    assert tsne.purity(points, np.array([0, 1, 2, 3]), k=1).mean == 0


def test_silhouette_is_scikit_learn_s_and_its_sample_repeats():
    features, labels = clusters()
    assert tsne.silhouette(features, labels, seed=0) == pytest.approx(
        metrics.silhouette_score(features, labels), abs=1e-6
    )
    many, classes = clusters(1, images=5600)
    first = tsne.silhouette(many[:, :5], classes, seed=0)
    assert first == tsne.silhouette(many[:, :5], classes, seed=0)
    assert 1e-5 < abs(first - tsne.silhouette(many[:, :5], classes, seed=1)) < 0.05
    assert np.isnan(tsne.silhouette(features, labels * 0, seed=0))


def test_what_has_no_picture_is_said():
    features, labels = clusters()
    with pytest.raises(ValueError, match=r"shape \(3, 80\) must be \[B, F\] of at least 4"):
        tsne.embed(features[:3], seed=0)
    with pytest.raises(ValueError, match=r"k = 240 must lie in \[1, 239\]"):
        tsne.purity(features, labels, 240)
    with pytest.raises(ValueError, match="each needs one label"):
        tsne.silhouette(features, labels[1:], seed=0)
    features[5:7, 3] = np.nan
    with pytest.raises(ValueError, match="2 of 240 images are not finite"):
        tsne.embed(features, seed=0)
