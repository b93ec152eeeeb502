"""Networks by name: sizes, outputs, training mode on any number of devices, errors."""

import functools

import _parity
import _timm
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dermjax import models
from dermjax.models.layers import Dropout, DropPath, conv_init
from dermjax.models.resnet import Block, ResNet

TINY = "efficientnet_tiny"
IMAGES = np.random.default_rng(0).normal(size=(8, 17, 17, 3)).astype(np.float32)


@functools.cache
def tiny_variables(num_classes=3):
    model = models.create(TINY, num_classes=num_classes)
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 17, 17, 3)))


@functools.cache
def evaluate(dtype):
    model = models.create(TINY, num_classes=3, dtype=dtype)
    return jax.jit(model.apply)(tiny_variables(), IMAGES)


def shapes(name, num_classes, size=32):
    model = models.create(name, num_classes=num_classes)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return model, variables, jax.eval_shape(model.apply, variables, images)


@pytest.mark.parametrize(
    ("name", "num_classes", "count"),
    [
        ("efficientnet_b4", 1000, 19_341_616),
        ("efficientnet_b4", 10, 17_566_546),
        ("efficientnet_b4", 0, 17_548_616),
        ("tf_efficientnet_b0", 1000, 5_288_548),
        ("resnet18", 1000, 11_689_512),
        ("resnet50", 1000, 25_557_032),
    ],
)
def test_parameter_count_is_timms(name, num_classes, count):
    model, variables, output = shapes(name, num_classes)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert output.dtype == jnp.float32 and output.shape[0] == 2
    if num_classes:
        assert output.shape == (2, num_classes)
        assert sorted(variables["params"][model.CLASSIFIER]) == ["bias", "kernel"]
    else:
        assert output.shape == (2, 1792) and model.CLASSIFIER not in variables["params"]


def test_b4_has_the_layers_of_the_table():
    _, variables, _ = shapes("efficientnet_b4", 0)
    params = variables["params"]
    kernels = traverse_util.flatten_dict(params, sep="/")
    depths = [sum(name.startswith(f"blocks_{i}_") for name in params) for i in range(7)]
    assert depths == [2, 4, 4, 6, 6, 8, 2]
    assert sum(name.endswith("scale") for name in kernels) == 96
    assert kernels["blocks_2_1/se/conv_reduce/kernel"].shape == (1, 1, 336, 14)
    assert kernels["blocks_6_1/conv_dw/kernel"].shape == (3, 3, 1, 2688)
    counts = [
        sum(leaf.size for name, leaf in kernels.items() if name.startswith(f"blocks_{i}_"))
        for i in range(7)
    ]
    assert counts == [4_146, 66_238, 197_586, 1_059_898, 2_306_724, 8_636_228, 4_470_004]


def test_resnet18_cifar_has_a_stem_for_small_images():
    """By hand: torchvision's resnet18 less its classifier and its 7x7 kernels, with 3x3 ones."""
    model, variables, features = shapes("resnet18_cifar", 0)
    params = variables["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 11_689_512 - 513_000 - 9_408 + 1_728 == 11_168_832
    assert params["conv1"]["kernel"].shape == (3, 3, 3, 64)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    look = functools.partial(
        model.apply, capture_intermediates=lambda module, _: isinstance(module, Block)
    )
    inside = jax.eval_shape(look, variables, images)[1]["intermediates"]
    sides = {name: found["__call__"][0].shape[1:3] for name, found in inside.items()}
    assert {f"layer{n}_1": (64 >> n, 64 >> n) for n in range(1, 5)}.items() <= sides.items()
    assert features.shape == (2, 512) and model.preprocessing.train_size == 32


@pytest.mark.parametrize(("name", "last"), [("resnet18", 0), ("resnet18_cifar", 1)])
def test_blocks_start_as_timms_or_as_torchvisions(name, last):
    """timm's start as their shortcut; torchvision's have every scale at 1."""
    params = models.initialize(models.create(name, num_classes=0), seed=0)["params"]
    scales = {
        path[-2]: set(np.unique(leaf))
        for path, leaf in traverse_util.flatten_dict(params).items()
        if path[-1] == "scale" and path[0].startswith("layer")
    }
    assert scales == {"bn1": {1}, "bn2": {last}, "downsample_1": {1}}


@pytest.mark.parity
def test_resnet18_cifar_equals_torchvisions_with_that_stem():
    if missing := _timm.missing():
        pytest.skip(f"the reference network needs {missing}: pip install -e '.[parity]'")
    _timm.import_timm()  # with it, torchvision can be imported beside any torch
    import torch
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=_parity.CLASSES)
    net.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    pair = _parity.beside(net, "resnet18_cifar")
    images = _parity.draw_images(32, 3)
    ours = jax.jit(pair.model.apply)(pair.variables, images)
    with torch.no_grad():
        theirs = pair.net(_parity.to_torch(images)).numpy()
    assert _parity.relative(ours, theirs) < 1e-5


def test_initial_kernels_have_timms_variance():
    keys = jax.random.split(jax.random.key(0), 2)
    head, other = [np.asarray(conv_init(key, (1, 1, 320, 1280))) for key in keys]
    depthwise = np.asarray(conv_init(keys[0], (5, 5, 1, 4000)))
    np.testing.assert_allclose(head.std(), np.sqrt(2 / 1280), rtol=5e-3)
    np.testing.assert_allclose(depthwise.std(), np.sqrt(2 / 25), rtol=1e-2)
    normal = head.ravel() / np.sqrt(2 / 1280)
    np.testing.assert_allclose(normal.mean(), 0.0, atol=5e-3)
    np.testing.assert_allclose((normal**4).mean(), 3.0, atol=0.05)
    for left, right in ((normal, normal), (normal, other.ravel())):
        for shift in (1, 1280):
            assert abs(np.corrcoef(left[shift:], right[:-shift])[0, 1]) < 6e-3


def test_features_are_what_the_classifier_gets():
    variables = tiny_variables()
    logits = evaluate(jnp.float32)
    encoder = {name: v for name, v in variables["params"].items() if name != "classifier"}
    features = jax.jit(models.create(TINY, num_classes=0).apply)(
        {"params": encoder, "batch_stats": variables["batch_stats"]}, IMAGES
    )
    assert features.shape == (8, 64)
    dense = variables["params"]["classifier"]
    np.testing.assert_allclose(features @ dense["kernel"] + dense["bias"], logits, atol=1e-5)


def train_outputs(devices, groups):
    """Tiny's training outputs, dropping at random, with the batch over some devices."""
    axis = None if devices == 1 else "batch"
    model = models.create(
        TINY,
        num_classes=3,
        drop_rate=0.5,
        drop_path_rate=0.5,
        bn_groups=groups,
        axis_name=axis,
    )

    def step(images):
        y, new = model.apply(
            tiny_variables(),
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )
        return y, new if axis is None else jax.lax.pmean(new, axis)

    if axis is None:
        return jax.jit(step)(IMAGES)
    split = IMAGES.reshape(devices, -1, *IMAGES.shape[1:])
    y, new = jax.pmap(step, axis_name=axis, devices=jax.devices()[:devices])(split)
    return y.reshape(-1, 3), jax.tree.map(lambda leaf: leaf[0], new)


def test_training_does_not_depend_on_the_device_count():
    (one, one_stats), (many, many_stats) = train_outputs(1, 4), train_outputs(4, 4)
    np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-4)
    for a, b in zip(jax.tree.leaves(one_stats), jax.tree.leaves(many_stats), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["efficientnet", "resnet"])
def test_nor_on_the_parts_that_a_device_computes_it_in(family):
    """Outputs, their drops included, and the mean of the running statistics."""
    options = dict(num_classes=3, drop_rate=0.5, drop_path_rate=0.5, bn_groups=4)
    if family == "resnet":
        model = ResNet(depths=(1, 1), bottleneck=False, zero_init_last=False, **options)
    else:
        model = models.create(TINY, **options)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 17, 17, 3)))

    @functools.partial(jax.jit, static_argnums=1)
    def train(images, count, index=0):
        rngs = {"dropout": jax.random.key(1)}
        how = dict(train=True, mutable=["batch_stats"], rngs=rngs, part=(index, count))
        return model.apply(variables, images, **how)

    whole, stats = train(IMAGES, 1)
    outputs, halves = zip(*[train(IMAGES[4 * i : 4 * i + 4], 2, i) for i in range(2)], strict=True)
    np.testing.assert_allclose(np.concatenate(outputs), whole, rtol=1e-4, atol=1e-4)
    means = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
    for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(means), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [DropPath, Dropout])
def test_dropping_is_random_per_sample_and_keeps_the_mean(layer):
    x = jnp.ones((400, 10))

    @functools.partial(jax.jit, static_argnums=2)
    def dropped(seed, x, axis=None):
        rngs = {"dropout": jax.random.key(seed)}
        return layer(0.25, axis).apply({}, x, train=True, rngs=rngs)

    y = np.asarray(dropped(0, x))
    assert set(np.unique(y).round(5)) == {0.0, np.float32(4 / 3).round(5)}
    np.testing.assert_allclose((y == 0).mean(), 0.25, atol=0.05)
    assert (y == y[:, :1]).all() == (layer is DropPath)
    assert not np.array_equal(y, dropped(1, x))
    spread = jax.vmap(lambda x: dropped(0, x, "batch"), axis_name="batch")(x.reshape(8, 50, 10))
    np.testing.assert_array_equal(spread.reshape(x.shape), y)
    np.testing.assert_array_equal(layer(0.25).apply({}, x, train=False), x)


def test_a_block_with_a_skip_is_dropped():
    model = models.create(TINY, num_classes=0, drop_path_rate=0.9)
    variables = tiny_variables(0)
    flat = traverse_util.flatten_dict(variables["params"])
    assert ("blocks_1_1", "conv_pwl", "kernel") in flat  # the only one with a rate above zero

    @jax.jit
    def features(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return model.apply(variables, IMAGES, train=True, mutable=["batch_stats"], rngs=rngs)[0]

    first, second = features(0), features(1)
    assert np.isfinite(first).all() and not np.allclose(first, second)


def test_bfloat16_stays_near_float32():
    full, half = evaluate(jnp.float32), evaluate(jnp.bfloat16)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, atol=0.03 * float(np.abs(full).max()))


def test_names_build_and_unknown_ones_are_explained():
    assert {"efficientnet_b0", "efficientnet_b7", "tf_efficientnet_b4", "resnet50", TINY} <= set(
        models.list_models()
    )
    for name in models.list_models():
        assert models.create(name, num_classes=2).num_classes == 2
    with pytest.raises(ValueError, match="did you mean 'efficientnet_b4'"):
        models.create("efficientnetb4", num_classes=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": -1}, "num_classes -1"),
        ({"drop_rate": 1.0}, r"drop_rate 1.0 is outside \[0, 1\)"),
        ({"drop_path_rate": -0.1}, "drop_path_rate -0.1"),
        ({"bn_groups": 0}, "bn_groups 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.create(TINY, **{"num_classes": 2, **options})
