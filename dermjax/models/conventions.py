"""Other projects' names for the same parts: checkpoints of MoCo, VISSL, efficientnet_pytorch."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

# Where a checkpoint keeps the network; the first that occurs is taken. `head`: what stands there as
# `fc` is a projection, not a classifier.
_PLACES = (
    (r"(?:state_dict\.)?(?:module\.)?encoder_q\.", "fc."),  # facebookresearch/moco
    (r"classy_state_dict\.base_model\.model\.trunk\.(?:_feature_blocks\.|model\.)?", ""),  # VISSL
    (r"(?:state_dict_ema|model_ema)\.(?:module\.)?", ""),  # timm's own, the average before the last
    (r"(?:state_dict|model)\.(?:module\.)?", ""),
    (r"module\.", ""),
    (r"_feature_blocks\.", ""),
)

# efficientnet_pytorch writes `_blocks.7._bn0`, VISSL (ClassyVision) `block7.bn0`.
_BLOCK = re.compile(r"(?:_blocks\.|block)(\d+)\._?(\w+)\.(\w+)")
_STEM_AND_HEAD = {
    **{"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"},
    "_fc": "classifier",
    **{"conv1.0": "conv_stem", "conv1.1": "bn1", "conv_final.0": "conv_head"},
    "conv_final.1": "bn2",
}
_PARTS = {
    **{"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2"},
    **{"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"},
    **{"project_conv": "conv_pwl", "bn2": "bn3"},
}
# timm numbers the norms of a block without expansion from 1.
_UNEXPANDED = _PARTS | {"bn1": "bn1", "bn2": "bn2", "project_conv": "conv_pw"}


class Renamed(NamedTuple):
    """A checkpoint's network under timm's names."""

    arrays: dict[str, np.ndarray]
    others: list[str]  # names in the file that are not the network's
    tensorflow: bool  # whether the names are of a project that pads like TensorFlow


def to_timm(arrays: Mapping[str, np.ndarray], expected: Collection[str]) -> Renamed:
    """Finds the network in a checkpoint and gives its arrays timm's names.

    Counters of batches are left out silently.

    Args:
        arrays: By the names in the file.
        expected: The network's own names in timm; they tell which of its blocks is the seventh.
    """
    inside, others = _inside(arrays)
    inside = {n: a for n, a in inside.items() if not n.endswith("num_batches_tracked")}
    foreign = any(_BLOCK.fullmatch(name) for name in inside)
    if foreign:
        blocks = _blocks(expected)
        inside = {_timm_name(name, blocks): array for name, array in inside.items()}
    return Renamed(inside, others, tensorflow=foreign)


def _inside(arrays):
    """The network's arrays without their place's prefix, and the names of all others."""
    for place, head in _PLACES:
        short = {name: name[m.end() :] for name in arrays if (m := re.match(place, name))}
        if short:
            kept = {n: s for n, s in short.items() if not (head and s.startswith(head))}
            others = [name for name in arrays if name not in kept]
            return {s: arrays[n] for n, s in kept.items()}, others
    return dict(arrays), []


def _blocks(expected: Collection[str]) -> list[tuple[str, bool]]:
    """timm's prefix of every block in order, and whether the block expands."""
    matches = filter(None, (re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in expected))
    numbers = sorted({(int(m[1]), int(m[2])) for m in matches})
    prefixes = [f"blocks.{stage}.{block}" for stage, block in numbers]
    return [(prefix, f"{prefix}.conv_pwl.weight" in expected) for prefix in prefixes]


def _timm_name(name: str, blocks: list[tuple[str, bool]]) -> str:
    """`_blocks.7._bn0.weight` -> `blocks.2.1.bn1.weight`; a name without a rule stays as it is."""
    match = _BLOCK.fullmatch(name)
    if match:
        number, part, leaf = int(match[1]), match[2], match[3]
        if number < len(blocks):
            prefix, expands = blocks[number]
            return f"{prefix}.{(_PARTS if expands else _UNEXPANDED).get(part, part)}.{leaf}"
        return name
    module, _, leaf = name.rpartition(".")
    return f"{_STEM_AND_HEAD[module]}.{leaf}" if module in _STEM_AND_HEAD else name
