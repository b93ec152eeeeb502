"""Other projects' names for the same parts: checkpoints of MoCo, VISSL, efficientnet_pytorch."""

import re
from collections import Counter
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
    prefix: str = ""  # that the names had in common, where it is of no project in `_PLACES`
    rivals: tuple[str, ...] = ()  # other prefixes, with as much of the network behind them


def to_timm(arrays: Mapping[str, np.ndarray], expected: Collection[str]) -> Renamed:
    """Finds the network in a checkpoint and gives its arrays timm's names.

    It is where a project of `_PLACES` keeps it, or else behind the prefix that makes most of the
    names fit, such as `backbone.`. Counters of batches are left out silently.

    Args:
        arrays: By the names in the file.
        expected: The network's own names in timm; they tell which of its blocks is the seventh.
    """
    inside, others = _inside(arrays)
    renamed = _renamed(inside, others, expected)
    if 2 * _fitting(renamed, expected) >= len(expected):
        return renamed
    prefix, *rivals = _prefixes(arrays, expected) or [""]
    if not prefix:
        return renamed
    inside = {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}
    others = [name for name in arrays if not name.startswith(prefix)]
    found = _renamed(inside, others, expected)
    if _fitting(found, expected) <= _fitting(renamed, expected):
        return renamed
    return found._replace(prefix=prefix, rivals=tuple(rivals))


def _renamed(inside, others: list[str], expected: Collection[str]) -> Renamed:
    """The network's arrays, without their prefix, under timm's names."""
    inside = {n: a for n, a in inside.items() if not n.endswith("num_batches_tracked")}
    foreign = any(_BLOCK.fullmatch(name) for name in inside)
    if foreign:
        blocks = _blocks(expected)
        inside = {_timm_name(name, blocks): array for name, array in inside.items()}
    return Renamed(inside, others, tensorflow=foreign)


def _fitting(renamed: Renamed, expected: Collection[str]) -> int:
    """How many of the network's names there are."""
    return len(set(expected) & set(renamed.arrays))


def _prefixes(arrays, expected: Collection[str]) -> list[str]:
    """The prefixes with most of the network's names behind them, the one to be taken first."""
    known = set(expected)
    counts: Counter[str] = Counter()
    for name in arrays:
        for dot in re.finditer(r"\.", name):
            prefix, rest = name[: dot.end()], name[dot.end() :]
            module = rest.rpartition(".")[0]
            counts[prefix] += rest in known or module in _STEM_AND_HEAD or _is_block(rest)
    most = max(counts.values(), default=0)
    if not most:
        return []
    # What is trained goes before its slow copy, an average before what it is of.
    return sorted((p for p in counts if counts[p] == most), key=lambda p: (_rank(p), len(p), p))


def _is_block(name: str) -> bool:
    return _BLOCK.fullmatch(name) is not None


def _rank(prefix: str) -> int:
    """Which of two networks of one shape: 0 for the one that is meant to be used."""
    words = set(re.split(r"[._]", prefix.lower()))
    if words & {"q", "query", "online", "ema", "teacher", "average"}:
        return 0
    return 2 if words & {"k", "key", "target", "momentum", "student", "m", "slow"} else 1


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
