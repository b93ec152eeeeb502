"""The ImageNet weights that timm publishes for our networks, and what each expects of its input.

Numbers: timm 1.0.31. A file from the hub brings its own numbers; these serve local files, which are
known by their name alone.
"""

import dataclasses
import re

from dermjax.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

# px and central crop that B0 to B7 were published with.
_SIZES = {
    "b0": (224, 0.875),
    "b1": (240, 0.882),
    "b2": (260, 0.89),
    "b3": (300, 0.904),
    "b4": (380, 0.922),
    "b5": (456, 0.934),
    "b6": (528, 0.942),
    "b7": (600, 0.949),
}

# The same of networks that nobody publishes weights of.
_UNPUBLISHED_SIZES = {"resnet18_cifar": (32, 1.0)}


def _of(train=224, train_crop=0.875, test=None, test_crop=None, **how) -> Preprocessing:
    """Where no other size was tested, the training size is."""
    return Preprocessing(
        train_size=train,
        train_crop=train_crop,
        test_size=test or train,
        test_crop=test_crop or train_crop,
        **how,
    )


_A = (224, 0.95, 288, 1.0)  # resnet strikes back (https://arxiv.org/abs/2110.00476), A1 and A2
_BILINEAR = {"interpolation": "bilinear"}

# In each architecture's first place: the weights of the strategy IN, trained on ImageNet alone
# where there are such (`ns_jft` has seen the 300 million images of JFT).
PRETRAINED: dict[str, Preprocessing] = {
    "efficientnet_b0.ra_in1k": _of(),
    "efficientnet_b0.ra4_e3600_r224_in1k": _of(224, 0.9, 256, 1.0, **_HALF),
    "efficientnet_b1.ft_in1k": _of(224, 0.875, 256, 1.0),
    "efficientnet_b1.ra4_e3600_r240_in1k": _of(240, 0.9, 288, 1.0, **_HALF),
    "efficientnet_b2.ra_in1k": _of(256, 0.875, 288, 1.0),
    "efficientnet_b3.ra2_in1k": _of(288, 0.875, 320, 1.0),
    "efficientnet_b4.ra2_in1k": _of(320, 0.875, 384, 1.0),
    "efficientnet_b5.sw_in12k_ft_in1k": _of(448, 1.0),
    "efficientnet_b5.sw_in12k": _of(416, 0.95),
    "efficientnet_lite0.ra_in1k": _of(),
    "tf_efficientnet_lite0.in1k": _of(**_HALF),
    "resnet18.a1_in1k": _of(*_A),
    "resnet18.a2_in1k": _of(*_A),
    "resnet18.tv_in1k": _of(**_BILINEAR),
    "resnet50.a1_in1k": _of(*_A),
    "resnet50.a2_in1k": _of(*_A),
    "resnet50.tv_in1k": _of(**_BILINEAR),
    "resnet50.tv2_in1k": _of(176, 0.875, 224, 0.965, **_BILINEAR),
}
for _name, _size in _SIZES.items():
    PRETRAINED |= {
        f"tf_efficientnet_{_name}.aa_in1k": _of(*_size),  # AutoAugment
        f"tf_efficientnet_{_name}.ap_in1k": _of(*_size, **_HALF),  # AdvProp
        f"tf_efficientnet_{_name}.ns_jft_in1k": _of(*_size),  # Noisy Student
    }


def default_weights(architecture: str) -> str:
    """The hub's name of an architecture's ImageNet weights; empty where timm publishes none."""
    for name in PRETRAINED:
        if name.partition(".")[0] == architecture:
            return f"timm/{name}"
    return ""


def usual_preprocessing(architecture: str) -> Preprocessing:
    """That of an architecture's `default_weights`: the best guess where a file does not say."""
    published = PRETRAINED.get(default_weights(architecture).removeprefix("timm/"))
    return published or default_preprocessing(architecture)


def default_preprocessing(architecture: str) -> Preprocessing:
    """What a network trained from scratch is given: ImageNet's statistics at the usual sizes."""
    published = PRETRAINED.get(default_weights(architecture).removeprefix("timm/"))
    if published:
        return dataclasses.replace(published, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    sizes = _SIZES | _UNPUBLISHED_SIZES
    scale = architecture.removeprefix("efficientnet_")
    return _of(*sizes[scale]) if scale in sizes else Preprocessing()


def identify(file_name: str, architectures: list[str]) -> tuple[str, Preprocessing | None]:
    """What a file's name says of the weights in it.

    Args:
        file_name: As in `efficientnet_b4.ra2_in1k.safetensors` or `resnet50_a1-14fe96d1.pth`.
        architectures: Names to look for.

    Returns:
        The architecture that the name begins with, or an empty text; and the preprocessing of the
        published weights of exactly that name.
    """
    for name, preprocessing in PRETRAINED.items():
        if re.match(re.escape(name) + r"(?![a-z0-9_])", file_name):
            return name.partition(".")[0], preprocessing
    for architecture in sorted(architectures, key=len, reverse=True):
        if re.match(re.escape(architecture) + r"(?![a-z0-9])", file_name):
            return architecture, None
    return "", None
