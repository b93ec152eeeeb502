"""timm's weights: files, round trips and errors; networks equal to timm's where it imports."""

import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import models
from dermjax.models import timm

TINY = "efficientnet_tiny"


def random_variables(name, num_classes=3, seed=0):
    """Variables without a special value anywhere, statistics included."""
    model = models.create(name, num_classes=num_classes)
    tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 33, 33, 3)))
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: draw.uniform(0.5, 1, leaf.shape).astype(np.float32), tree)


def assert_equal_trees(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("name", [TINY, "resnet18"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_round_trip(tmp_path, name, suffix):
    old, new = random_variables(name), random_variables(name, seed=1)
    arrays = timm.to_timm(old)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays, **{"bn1.num_batches_tracked": np.int64(7)})
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    classifier = models.create(name, num_classes=3).CLASSIFIER
    assert_equal_trees(timm.load(path, new, classifier=classifier), old)


def test_names_and_layouts_are_timms():
    variables = random_variables("efficientnet_b0", 5)
    arrays = timm.to_timm(variables)
    params = variables["params"]
    assert len(arrays) == 360 - 49  # timm's keys without 49 num_batches_tracked
    depthwise = arrays["blocks.1.0.conv_dw.weight"]
    assert depthwise.shape == (96, 1, 3, 3)
    assert depthwise[7, 0, 1, 2] == params["blocks_1_0"]["conv_dw"]["kernel"][1, 2, 0, 7]
    assert arrays["blocks.2.1.se.conv_reduce.weight"].shape == (10, 240, 1, 1)
    assert arrays["conv_stem.weight"][3, 1, 0, 2] == params["conv_stem"]["kernel"][0, 2, 1, 3]
    assert arrays["classifier.weight"].shape == (5, 1280)
    assert "blocks.0.0.bn2.running_var" in arrays and "blocks.0.0.bn3.weight" not in arrays
    assert "layer2.0.downsample.0.weight" in timm.to_timm(random_variables("resnet18"))


@pytest.mark.parametrize("stored", [0, 7])
def test_a_classifier_of_another_size_stays_fresh(tmp_path, caplog, stored):
    path = tmp_path / "weights.npz"
    old, fresh = random_variables(TINY, stored), random_variables(TINY, 3, seed=1)
    np.savez(path, **timm.to_timm(old))
    with caplog.at_level(logging.INFO):
        loaded = timm.load(path, fresh, classifier="classifier")
    assert "classifier is not taken" in caplog.text
    np.testing.assert_array_equal(
        loaded["params"]["classifier"]["kernel"], fresh["params"]["classifier"]["kernel"]
    )
    assert_equal_trees(loaded["batch_stats"], old["batch_stats"])
    np.testing.assert_array_equal(
        loaded["params"]["conv_head"]["kernel"], old["params"]["conv_head"]["kernel"]
    )


def test_a_file_with_a_classifier_fits_an_encoder(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **timm.to_timm(random_variables(TINY, 7)))
    loaded = timm.load(path, random_variables(TINY, 0, seed=1), classifier="classifier")
    assert_equal_trees(loaded, random_variables(TINY, 0) | loaded)
    assert "classifier" not in loaded["params"]


def test_every_difference_is_listed(tmp_path):
    arrays = timm.to_timm(random_variables(TINY))
    removed = [name for name in arrays if name.startswith("blocks.1.0")]
    for name in removed:
        del arrays[name]
    arrays["bn1.extra"] = np.zeros(2)
    arrays["conv_stem.weight"] = np.zeros((4, 3, 3, 3))
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError) as error:
        timm.load(path, random_variables(TINY), classifier="classifier")
    text = str(error.value)
    assert f"{len(removed)} missing" in text and f"and {len(removed) - 10} more" in text
    assert "1 left over: bn1.extra (2,)" in text
    assert "conv_stem.weight expected (8, 3, 3, 3), found (4, 3, 3, 3)" in text


def test_unknown_files_and_a_missing_reader_are_explained(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="neither a .safetensors nor an .npz"):
        timm.load(tmp_path / "weights.pth", {}, classifier="fc")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match="pip install safetensors"):
        timm.load(tmp_path / "weights.safetensors", {}, classifier="fc")
