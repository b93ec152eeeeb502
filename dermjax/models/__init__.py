"""Networks: Flax Linen modules whose parameter names follow timm, and weights for them."""

import fnmatch
import logging
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dermjax.models import efficientnet, resnet, timm, weights
from dermjax.models.imagenet_weights import default_preprocessing, default_weights
from dermjax.models.initialize import initialize, shapes_of, with_classifier, without_classifier
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.projection import ProjectedEncoder
from dermjax.suggestions import did_you_mean

__all__ = [
    "Preprocessing",
    "ProjectedEncoder",
    "check_weights_name",
    "create",
    "create_model",
    "default_preprocessing",
    "default_weights",
    "initialize",
    "list_models",
    "read_weights",
    "save_weights",
    "shapes_of",
    "with_classifier",
    "without_classifier",
]

_FAMILIES = (
    (efficientnet.EfficientNet, efficientnet.VARIANTS),
    (resnet.ResNet, resnet.VARIANTS),
)


def list_models(pattern: str = "*") -> list[str]:
    """The networks there are, by their timm names.

    Args:
        pattern: With `*` and `?`, as in `tf_efficientnet_*`.

    Returns:
        Names for `create_model`; `efficientnet_tiny` is for tests and smoke runs,
        `efficientnet_mini` for small images on a CPU, `resnet18_cifar` for 32 px; timm does not
        know these three.
    """
    return fnmatch.filter((name for _, variants in _FAMILIES for name in variants), pattern)


def create_model(
    name: str, num_classes: int = 1000, weights=None, *, seed: int = 0, **options
) -> tuple[nn.Module, dict[str, Any]]:
    """A network and its variables: random, or from weights of timm and others.

    Its attribute `preprocessing` tells what the weights expect of images, and makes it of one:
    `model.preprocessing(photograph)`.

    Args:
        name: One of `list_models()`.
        num_classes: Number of logits N; 0 for pooled features. Where it is not the weights' own
            number, the classifier starts fresh and the log says so.
        weights: None for random ones; a name of the Hugging Face hub, as in
            `timm/efficientnet_b4.ra2_in1k`; a file (.safetensors, .npz, or a PyTorch checkpoint,
            which needs torch); or a dict of arrays, such as a PyTorch `state_dict`. Read are the
            names of timm, torchvision's ResNets, facebookresearch/moco, VISSL and
            efficientnet_pytorch.
        seed: Of what is random.
        options: `dtype`, `drop_rate`, ... of `create`.

    Returns:
        The module, and `{'params', 'batch_stats'}`, float32:
        `model.apply(variables, images [B, H, W, 3], train=False)` gives logits `[B, N]`. With
        `stop=` one of `model.layers` it gives that layer's output `[B, h, w, C]`, from which
        `start=` goes on to the logits.

    Raises:
        ValueError: The name is unknown, or the weights cannot be had, are damaged, or are of
            another network (of the other EfficientNet family, too).
    """
    model = create(name, num_classes=num_classes, **options)
    if weights is None:
        return model, initialize(model, seed)
    found = read_weights(weights)
    loaded = timm.load(found, model)
    for note in loaded.notes:
        logging.getLogger(__name__).warning("%s: %s", found.source, note)
    variables = jax.device_put(loaded.variables)  # jnp.asarray would compile a copy per shape
    if num_classes and model.CLASSIFIER not in variables["params"]:
        variables = with_classifier(variables, model, seed)
    return model.clone(preprocessing=loaded.preprocessing), variables


def read_weights(named) -> weights.Weights:
    """Reads the weights of `create_model`, without a network yet.

    Raises:
        ValueError: They cannot be had or are damaged.
    """
    return weights.find(named, list_models())


def check_weights_name(named: str, architecture: str) -> None:
    """Checks, without reading or downloading, whether `read_weights` can succeed.

    Raises:
        ValueError: It is no file and cannot be on the hub, or tells of another architecture.
    """
    weights.check_name(named, architecture, list_models())


def save_weights(
    path, model: nn.Module, variables: dict[str, Any], *, classes: tuple[str, ...] = ()
) -> None:
    """Writes a network as .safetensors under timm's names: for PyTorch, and for `create_model`.

    `timm.create_model(name, num_classes=N, checkpoint_path=path)` reads it.

    Args:
        path: Ends in `.safetensors`.
        model: Of `create` or `create_model`.
        variables: `{'params', 'batch_stats'}`.
        classes: Names of the logits, in order; kept in the file's metadata.

    Raises:
        ValueError: Another ending, or the variables are not the model's.
        OSError: The file cannot be written.
    """
    shape = lambda tree: jax.tree.map(lambda leaf: tuple(leaf.shape), tree)  # noqa: E731
    if shape(dict(variables)) != shape(shapes_of(model)):
        raise ValueError(
            f"these are not the variables of {model.architecture} with {model.num_classes} classes"
        )
    weights.save(
        path,
        timm.to_timm(variables),
        architecture=model.architecture,
        preprocessing=model.preprocessing,
        classes=classes,
    )


def create(
    name: str,
    *,
    num_classes: int,
    dtype=jnp.float32,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    bn_groups: int = 1,
    axis_name: str | None = None,
    phased: bool = False,
) -> nn.Module:
    """Builds a network without variables, by its timm name.

    Its attribute `CLASSIFIER` names the one entry of `params` that is not the encoder's. Its
    `preprocessing` is ImageNet's usual; `model.clone(preprocessing=...)` has another.

    Args:
        name: One of `list_models()`.
        num_classes: Number of logits; 0 for pooled features.
        dtype: What the network computes in; parameters, statistics and results stay float32.
        drop_rate: Dropout before the classifier, in [0, 1).
        drop_path_rate: Stochastic depth of the last block, in [0, 1), less in earlier ones.
        bn_groups: Groups of the global batch that share batch-norm statistics.
        axis_name: The axis that the batch is spread over; None for one device.
        phased: Whether strided layers take their input apart, which is faster on TPUs.

    Returns:
        A module of `(images [B, H, W, 3], train, start=, stop=)`; the last two are of its `layers`.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    for rate_name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{rate_name} {rate} is outside [0, 1); use 0 to switch it off")
    if num_classes < 0:
        raise ValueError(f"num_classes {num_classes} is negative; use 0 for pooled features")
    if bn_groups < 1:
        raise ValueError(f"bn_groups {bn_groups} is less than 1; use 1 for the whole batch")
    for family, variants in _FAMILIES:
        if name in variants:
            return family(
                **variants[name],
                num_classes=num_classes,
                architecture=name,
                preprocessing=default_preprocessing(name),
                dtype=dtype,
                drop_rate=drop_rate,
                drop_path_rate=drop_path_rate,
                bn_groups=bn_groups,
                axis_name=axis_name,
                phased=phased,
            )
    hint = did_you_mean(name, list_models()) or f"; known are {', '.join(list_models())}"
    raise ValueError(f"no network is called {name!r}{hint}")
