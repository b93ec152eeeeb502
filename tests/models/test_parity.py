"""Our networks against timm's, with random weights and statistics, in both modes."""

import importlib.util
import pathlib
import re

import jax
import numpy as np
import pytest

from dermjax import models
from dermjax.models.timm import load, to_timm

torch = pytest.importorskip("torch", reason="the reference networks need torch")
# An odd size: padding like TensorFlow's is asymmetric at some strides and not at others.
IMAGES = np.random.default_rng(0).normal(size=(2, 65, 65, 3)).astype(np.float32)
BATCH = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
# Holds the operators' names that are declared below, for as long as the process lives.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@pytest.fixture(scope="module")
def timm():
    """timm, also where torchvision's compiled operators do not fit torch."""
    found = importlib.util.find_spec("torchvision")
    if found is None or importlib.util.find_spec("timm") is None:
        pytest.skip("the reference networks need timm and torchvision")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # timm uses none of the operators, but torchvision registers them: declare their names.
        source = pathlib.Path(found.submodule_search_locations[0], "_meta_registrations.py")
        names = re.findall(r'register_(?:fake|meta)\("(?:torchvision::)?(\w+)"', source.read_text())
        for name in sorted(set(names)):
            LIBRARY.define(f"{name}(Tensor x) -> Tensor")
    return pytest.importorskip("timm")


def randomise(net):
    """Weights near their initial size, statistics near those that they produce."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var") or tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return net


def prepare(timm, folder, name):
    """timm's network with random numbers, and ours with the same ones."""
    net = randomise(timm.create_model(name, num_classes=10))
    path = folder / "weights.npz"
    np.savez(path, **{key: tensor.numpy() for key, tensor in net.state_dict().items()})
    model = models.create(name, num_classes=10)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    return net, model, load(path, shapes, classifier=model.CLASSIFIER)


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_b0", "resnet18"])
def test_logits_equal_timms(timm, tmp_path, name):
    net, model, variables = prepare(timm, tmp_path, name)
    with torch.no_grad():
        expected = net.eval()(BATCH).numpy()
    logits = jax.jit(model.apply)(variables, IMAGES)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_training_equals_timms(timm, tmp_path):
    net, model, variables = prepare(timm, tmp_path, "resnet18")

    @jax.jit
    def train(params):
        def loss(params):
            inputs = {**variables, "params": params}
            logits, new = model.apply(inputs, IMAGES, train=True, mutable=["batch_stats"])
            return (logits**2).mean(), new["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    grads, stats = train(variables["params"])
    (net.train()(BATCH) ** 2).mean().backward()
    expected = {name: parameter.grad for name, parameter in net.named_parameters()}
    expected |= {name: value for name, value in net.named_buffers() if "running" in name}
    found = to_timm({"params": grads, "batch_stats": stats})
    assert sorted(found) == sorted(expected)
    for name, theirs in expected.items():
        scale = theirs.abs().max().item()
        np.testing.assert_allclose(found[name], theirs, atol=1e-3 * scale, rtol=0, err_msg=name)
