"""Our networks beside timm's with the same random weights and statistics; timm in float64.

In double precision timm's own rounding does not count, and what is measured is ours alone.
"""

import copy
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _timm import import_timm

from dermjax import models
from dermjax.models import timm as converter
from dermjax.models.layers import Dropout

NAMES = (
    *(f"efficientnet_b{n}" for n in range(5)),
    *(f"tf_efficientnet_b{n}" for n in range(5)),
    *("efficientnet_lite0", "tf_efficientnet_lite0", "resnet18", "resnet50"),
)
SIZES, BATCHES, CLASSES = (96, 97, 131), (1, 3), 10
# Compiling is nearly all of the time.
_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Pair(NamedTuple):
    """timm's network and ours, of equal numbers."""

    net: object  # torch module, float64
    model: object  # Flax module with a classifier
    variables: dict


def pair(name: str, **options) -> Pair:
    """timm's network and ours: random weights near their initial size, statistics as `beside`."""
    import torch

    torch.manual_seed(0)
    return beside(import_timm().create_model(name, num_classes=CLASSES, **options), name)


def beside(net, name: str) -> Pair:
    """A torch module, given random statistics, and our network of that name with its weights."""
    import torch

    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
            elif key.endswith("running_var") or tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    model, variables = models.create_model(name, CLASSES, dict(net.state_dict()))
    return Pair(net.double().eval(), model, variables)


def draw_images(size: int, batch: int) -> np.ndarray:
    """`[batch, size, size, 3]` float32."""
    return np.random.default_rng(size).normal(size=(batch, size, size, 3)).astype(np.float32)


def output_errors(pair: Pair, size: int, batch: int) -> tuple[float, float]:
    """Relative error of logits and of pooled features: largest difference over largest number."""
    import torch

    images = draw_images(size, batch)

    def both(variables, images):
        logits, inside = pair.model.apply(
            variables, images, train=False, capture_intermediates=_is_dropout
        )
        (features,) = jax.tree.leaves(inside["intermediates"]["Dropout_0"])
        return logits, features

    compiled = jax.jit(both).lower(pair.variables, images).compile(compiler_options=_COMPILE)
    ours = compiled(pair.variables, images)
    with torch.no_grad():
        batch = to_torch(images)
        features = pair.net.forward_head(pair.net.forward_features(batch), pre_logits=True)
        theirs = pair.net(batch), features
    return tuple(relative(a, b.numpy()) for a, b in zip(ours, theirs, strict=True))


def _is_dropout(module, _) -> bool:
    """What a classifier is given passes here; as `num_classes=0` returns it (test_networks)."""
    return isinstance(module, Dropout)


def training_errors(pair: Pair) -> dict[str, float]:
    """Relative errors of one training step: loss, running statistics, and the worst gradient.

    Ours is float64, too. In float32 the comparison would be of luck: an activation that rounding
    carries across the kink of a ReLU changes the gradient by far more than rounding. A gradient's
    error is told over its own norm, or over a thousandth of the largest tensor's where it is
    smaller: that of a bias in front of another batch norm is zero.
    """
    import torch

    images, labels = draw_images(64, 4).astype(np.float64), np.arange(4)
    net = copy.deepcopy(pair.net).train()
    expected = torch.nn.functional.cross_entropy(net(to_torch(images)), torch.from_numpy(labels))
    expected.backward()
    theirs = {name: parameter.grad.numpy() for name, parameter in net.named_parameters()}
    buffers = {name: b.numpy() for name, b in net.named_buffers() if "running" in name}

    loss, grads, stats = _step_in_float64(pair, images, labels)
    ours = converter.to_timm({"params": grads, "batch_stats": stats}, dtype=np.float64)
    assert sorted(ours) == sorted(theirs | buffers)
    floor = 1e-3 * max(np.linalg.norm(value) for value in theirs.values())
    return {
        "loss": relative(loss, expected.item()),
        "statistics": max(relative(ours[name], value) for name, value in buffers.items()),
        "gradient": max(
            float(np.linalg.norm(ours[name] - value) / max(np.linalg.norm(value), floor))
            for name, value in theirs.items()
        ),
    }


def _step_in_float64(pair: Pair, images, labels):
    """Our loss, gradients and new statistics."""
    model = pair.model.clone(dtype=jnp.float64)

    def loss_of(params, stats, images):
        variables = {"params": params, "batch_stats": stats}
        logits, new = model.apply(variables, images, train=True, mutable=["batch_stats"])
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        return -chosen.mean(), new["batch_stats"]

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), pair.variables)
        step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
        arguments = wide["params"], wide["batch_stats"], images
        compiled = step.lower(*arguments).compile(compiler_options=_COMPILE)
        (loss, stats), grads = jax.device_get(compiled(*arguments))
    return loss, grads, stats


def to_torch(images: np.ndarray):
    """NHWC float32 -> NCHW float64."""
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).double()


def relative(ours, theirs) -> float:
    """Largest difference over largest number."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
