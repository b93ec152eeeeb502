"""Distances to training images against scikit-learn, and the fraction of new images flagged."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from dermjax.statistics import novelty


def training(seed=0, images=300, dimensions=12, classes=4):
    """Features about class means, with unequal and correlated directions; labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    means = 3 * rng.normal(size=(classes, dimensions))
    mixing = rng.normal(size=(dimensions, dimensions)) * np.linspace(0.2, 2, dimensions)
    features = means[labels] + rng.normal(size=(images, dimensions)) @ mixing
    return features.astype(np.float32), labels


@pytest.mark.parametrize("k", [1, 7, 2000])
def test_neighbours_are_scikit_learns(k):
    features, labels = training(images=2000)
    new = training(1, images=90)[0]
    found = novelty.distances(novelty.fit(features, labels, "knn", k), new)
    search = NearestNeighbors(n_neighbors=k, metric="cosine").fit(features.astype(np.float64))
    np.testing.assert_allclose(found, search.kneighbors(new)[0][:, -1], atol=1e-6)
    assert found.dtype == np.float64


def residuals_of(features, labels):
    means = np.array([features[labels == c].mean(0) for c in np.unique(labels)], np.float64)
    return means, features - means[np.unique(labels, return_inverse=True)[1]]


@pytest.mark.parametrize("images", [30, 300])
@pytest.mark.parametrize("relative", [False, True])
def test_mahalanobis_distances_are_scikit_learns_with_its_shrinkage(images, relative):
    """With fewer images than twice the dimensions the shrinkage is much of it."""
    features, labels = (one[:images] for one in training(2, dimensions=20))
    features = features.astype(np.float64)
    new = training(3, images=90, dimensions=20)[0]
    means, residuals = residuals_of(features, labels)
    oracle = LedoitWolf(assume_centered=True).fit(residuals)
    wanted = np.min([oracle.mahalanobis(new - mean) for mean in means], 0)
    if relative:
        wanted = wanted - LedoitWolf().fit(features).mahalanobis(new)
    method = "relative_mahalanobis" if relative else "mahalanobis"
    found = novelty.distances(novelty.fit(features, labels, method), new)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_images_of_unknown_class_are_neighbours_but_in_no_class():
    features, labels = training()
    unknown = np.where(np.arange(300) < 150, labels, -1)
    new = training(1, images=20)[0]

    def found(method, labels, rows=slice(None)):
        return novelty.distances(novelty.fit(features[rows], labels[rows], method), new)

    for method, rows in (("mahalanobis", slice(0, 150)), ("knn", slice(None))):
        np.testing.assert_allclose(found(method, unknown), found(method, labels, rows))
    relative, half = found("relative_mahalanobis", unknown), found("mahalanobis", unknown)
    everything = novelty.fit(features, np.zeros(300, int), "mahalanobis")
    np.testing.assert_allclose(relative, half - novelty.distances(everything, new))


@pytest.mark.parametrize("method", novelty.METHODS)
def test_blocks_change_nothing(method, monkeypatch):
    features, labels = training()
    new = training(1, images=101)[0]
    whole = novelty.distances(novelty.fit(features, labels, method), new)
    monkeypatch.setattr(novelty, "_ROWS", 7)
    monkeypatch.setattr(novelty, "_SIMILARITIES", 1000)
    found = novelty.distances(novelty.fit(features, labels, method), new)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", novelty.METHODS)
def test_a_reference_survives_a_file(method):
    features, labels = training()
    reference = novelty.fit(features, labels, method)
    file = io.BytesIO()
    np.savez(file, **reference.to_arrays())
    file.seek(0)
    again = novelty.from_arrays(np.load(file))
    assert type(again) is type(reference)
    np.testing.assert_array_equal(*(novelty.distances(one, features) for one in (reference, again)))


@pytest.mark.parametrize("method", novelty.METHODS)
def test_what_is_unlike_is_farther(method):
    """Training images lie in 3 of 12 dimensions, others leave them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    scale = np.repeat([1, 0.1], [3, 9])

    def near(labels):
        return 4 * np.eye(12)[labels] + scale * rng.normal(size=(len(labels), 12))

    reference = novelty.fit(near(labels), labels, method)
    like = novelty.distances(reference, near(labels))
    unlike = novelty.distances(reference, near(labels) + 3 * rng.normal(size=(400, 12)))
    assert np.mean(like[:, None] < unlike) > 0.98


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(novelty.METHODS), st.floats(0.01, 100))
def test_neither_order_nor_scale_counts(seed, method, scale):
    features, labels = training(seed, images=60)
    new = training(seed + 1, images=20)[0]
    order = np.random.default_rng(seed).permutation(60)
    found = novelty.distances(novelty.fit(features, labels, method), new)
    other = novelty.fit(scale * features[order].astype(np.float64), labels[order], method)
    np.testing.assert_allclose(novelty.distances(other, scale * new), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", novelty.METHODS)
def test_dead_features_and_an_image_without_any(method):
    """A unit that never fires has no variance; a black frame may have no feature at all."""
    features, labels = training()
    features[:, 3] = 0
    found = novelty.distances(novelty.fit(features, labels, method), np.zeros((2, 12)))
    assert np.isfinite(found).all()
    if method == "knn":
        assert (found == 1).all()


def test_a_covariance_of_two_images():
    features = np.array([[0.0, 1, 2], [2.0, 1, 3]])
    reference = novelty.fit(features, np.zeros(2, int), "mahalanobis")
    assert np.isfinite(novelty.distances(reference, features)).all()


def test_no_more_new_images_are_flagged_than_wished():
    """Distances of a patient's images resemble each other; of some patients there are 20 near ones.

    The quantile of images without patients would flag 24 %.
    """
    rng = np.random.default_rng(0)
    ours, images_only = [], []

    def flagged(threshold):
        """The chance that a random image of a new patient is beyond it."""
        return 0.7 * stats.norm.sf(threshold) + 0.3 * stats.norm.sf(threshold + 1.5)

    for _ in range(1000):
        many = rng.random(60) < 0.3
        of = np.repeat(np.arange(60), np.where(many, 20, 1))
        distances = (rng.normal(size=60) - 1.5 * many)[of] + 0.01 * rng.normal(size=len(of))
        ours.append(flagged(novelty.threshold(distances, of, 0.05)))
        images_only.append(flagged(novelty.threshold(distances, np.arange(len(of)), 0.05)))
    assert 0.05 - 2 / 61 < np.mean(ours) < 0.05 + 2 * stats.sem(ours)
    assert np.mean(images_only) > 0.15


def test_of_too_few_patients_nothing_is_flagged():
    distances = np.arange(95.0)
    assert novelty.threshold(distances, np.arange(95) // 5, 0.05) == 94
    assert novelty.threshold(distances, np.arange(95) % 18, 0.05) == np.inf
    assert not (distances > np.inf).any()


def test_what_is_no_reference_is_said():
    features, labels = training(images=20)
    for wrong in (features[:0], features[0], features[:19]):
        with pytest.raises(ValueError, match=r"it takes features \[M, F\] and labels \[M\]"):
            novelty.fit(wrong, labels[: len(wrong)] if len(wrong) != 19 else labels)
    with pytest.raises(ValueError, match="'euclid' is not known; it is one of knn, mahalanobis"):
        novelty.fit(features, labels, "euclid")
    for k in (0, 21):
        with pytest.raises(ValueError, match=rf"k = {k} must lie in \[1, 20\]"):
            novelty.fit(features, labels, k=k)
    with pytest.raises(ValueError, match="needs labels, of which there are none; take knn"):
        novelty.fit(features, np.full(20, -1), "mahalanobis")
    with pytest.raises(ValueError, match="20 training images vary in no feature within a class"):
        novelty.fit(features, np.arange(20), "mahalanobis")
    broken = features.copy()
    broken[3, :2] = np.nan
    reference = novelty.fit(features, labels)
    with pytest.raises(ValueError, match="1 of 20 images have features that are not finite"):
        novelty.fit(broken, labels)
    with pytest.raises(ValueError, match="1 of 20 images have features that are not finite"):
        novelty.distances(reference, broken)
    with pytest.raises(ValueError, match=r"features \(20, 11\) .* must be \[B, 12\]"):
        novelty.distances(reference, features[:, 1:])
    with pytest.raises(ValueError, match="lacks an array: .*units"):
        novelty.from_arrays({"method": np.array("knn"), "k": np.array(3)})
    for share in (0, 1, 5):
        with pytest.raises(ValueError, match=rf"share = {share} must lie in \(0, 1\); .05"):
            novelty.threshold(np.zeros(5), np.arange(5), share)
