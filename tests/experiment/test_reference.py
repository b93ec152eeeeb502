"""What is kept of a run's own images: also of a handful, and of classes of one image each."""

import types

import numpy as np
import pandas as pd
import pytest

from dermjax.experiment import reference


def made(labels, features):
    """The reference of a data set whose three sets are the same images."""
    labels = np.asarray(labels)
    dataset = types.SimpleNamespace(
        rows=lambda split, labelled: np.arange(len(labels)),
        labels=labels,
        frame=pd.DataFrame({"patient": [f"p{i}" for i in range(len(labels))]}),
    )
    predictor = lambda rows: (features[rows], np.eye(3)[labels[rows]])  # noqa: E731
    return reference.make(predictor, dataset)


@pytest.mark.parametrize(
    "labels", [[0, 1, 2], [0, 0, 1, 1, 2, 2], [0, 1]], ids=["one each", "two each", "two"]
)
def test_any_number_of_images_has_a_reference_that_survives_its_file(labels, tmp_path):
    features = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    found = made(labels, features)
    assert np.isfinite(found.validation.distances).all()
    np.savez(tmp_path / "x.npz", **found.to_arrays())
    with np.load(tmp_path / "x.npz") as arrays:
        again = reference.Reference.from_arrays(dict(arrays))
    np.testing.assert_array_equal(again.test.distances, found.test.distances)
    np.testing.assert_array_equal(
        again.familiar.distances(features), found.familiar.distances(features)
    )
    assert again.validation.patients.dtype.kind == "i"


def test_images_that_are_all_alike_have_one_too():
    assert np.isfinite(made([0, 0, 1], np.ones((8, 5), np.float32)).test.distances).all()
