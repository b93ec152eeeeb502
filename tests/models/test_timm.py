"""timm's weights as variables and back: names, layouts, and every difference told."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dermjax
from dermjax import models
from dermjax.models import timm
from dermjax.models.weights import Weights

TINY = "efficientnet_tiny"


def random_variables(name, num_classes=3, seed=0):
    """Variables without a special value anywhere, statistics included."""
    tree = models.shapes_of(models.create(name, num_classes=num_classes))
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: draw.uniform(0.5, 1, leaf.shape).astype(np.float32), tree)


def assert_equal_trees(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    return path


@pytest.mark.parametrize("name", [TINY, "resnet18", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_round_trip(tmp_path, name, suffix):
    old = random_variables(name)
    arrays = timm.to_timm(old) | {"bn1.num_batches_tracked": np.array(7)}
    path = write(tmp_path / f"{name}.mine{suffix}", arrays)
    _, variables = dermjax.create_model(name, num_classes=3, weights=path)
    assert_equal_trees(variables, old)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    _, again = dermjax.create_model(name, num_classes=3, weights=arrays)
    assert_equal_trees(again, old)


def test_given_arrays_may_change_afterwards():
    arrays = timm.to_timm(random_variables(TINY))
    _, variables = dermjax.create_model(TINY, 3, arrays)
    for array in arrays.values():
        array[...] = 0
    assert_equal_trees(variables, random_variables(TINY))


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
def test_a_classifier_of_another_size_starts_fresh_and_is_told(caplog, stored):
    old = random_variables(TINY, stored)
    with caplog.at_level(logging.WARNING):
        _, loaded = dermjax.create_model(TINY, 3, timm.to_timm(old), seed=4)
        _, fresh = dermjax.create_model(TINY, 3, seed=4)
    assert "one of 3 classes starts fresh" in caplog.text
    assert ("classifier of 7 classes is left" in caplog.text) == (stored == 7)
    assert_equal_trees(loaded["params"].pop("classifier"), fresh["params"]["classifier"])
    old["params"].pop("classifier", None)
    assert_equal_trees(loaded, old)


def test_the_fitting_classifier_is_taken_without_a_word_of_it(caplog):
    old = random_variables(TINY, 3)
    with caplog.at_level(logging.WARNING):
        _, loaded = dermjax.create_model(TINY, 3, timm.to_timm(old))
    assert_equal_trees(loaded, old)
    assert "fresh" not in caplog.text


def test_no_classes_give_pooled_features():
    old = random_variables(TINY, 7)
    model, variables = dermjax.create_model(TINY, 0, timm.to_timm(old))
    assert "classifier" not in variables["params"]
    features = model.apply(variables, np.zeros((2, 33, 33, 3), np.float32), train=False)
    assert features.shape == (2, 64)


def test_every_difference_is_listed():
    arrays = timm.to_timm(random_variables(TINY))
    removed = [name for name in arrays if name.startswith("blocks.1.0")]
    for name in removed:
        del arrays[name]
    arrays["bn1.extra"] = np.zeros(2)
    arrays["conv_stem.weight"] = np.zeros((4, 3, 3, 3))
    with pytest.raises(ValueError) as error:
        dermjax.create_model(TINY, 3, arrays)
    text = str(error.value)
    assert f"{len(removed)} missing" in text and f"and {len(removed) - 10} more" in text
    assert "1 left over: bn1.extra (2,)" in text
    assert "conv_stem.weight expected (8, 3, 3, 3), found (4, 3, 3, 3)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(value):
    arrays = timm.to_timm(random_variables(TINY))
    arrays["blocks.1.1.bn2.running_var"][3] = value
    with pytest.raises(ValueError, match=r"not finite .* in 1 arrays: blocks.1.1.bn2.running_var"):
        dermjax.create_model(TINY, 3, arrays)


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (
            "tf_efficientnet_b0",
            "efficientnet_b0",
            "in padding and epsilon; take the model tf_eff",
        ),
        ("efficientnet_lite0", "tf_efficientnet_lite0", "padding and epsilon; take the model eff"),
        ("resnet18", "resnet50", "weights of resnet18, but the network is resnet50; take"),
    ],
)
def test_weights_of_another_architecture_are_an_error(found, wanted, message):
    weights = Weights("file", timm.to_timm(random_variables(found)), architecture=found)
    with pytest.raises(ValueError, match=message):
        timm.load(weights, models.create(wanted, num_classes=3))


def test_weights_of_unknown_family_are_told():
    arrays = timm.to_timm(random_variables("efficientnet_b0"))
    for architecture, told in (("", True), ("efficientnet_b0", False)):
        weights = Weights("file", arrays, architecture=architecture)
        notes = timm.load(weights, models.create("efficientnet_b0", num_classes=3)).notes
        assert any("efficientnet_* or tf_efficientnet_*" in note for note in notes) == told


def test_variables_of_another_model_are_not_saved(tmp_path):
    model = models.create(TINY, num_classes=3)
    with pytest.raises(ValueError, match="not the variables of efficientnet_tiny with 3 classes"):
        dermjax.save_weights(tmp_path / "x.safetensors", model, random_variables(TINY, 4))
    with pytest.raises(ValueError, match="must end in .safetensors"):
        dermjax.save_weights(tmp_path / "x.pth", model, random_variables(TINY, 3))
    with pytest.raises(FileNotFoundError):
        dermjax.save_weights(tmp_path / "no" / "x.safetensors", model, random_variables(TINY, 3))
    assert not list(tmp_path.iterdir())
