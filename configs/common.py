"""What the strategies' configs share: the argument `name=value,...`, and the config made of it."""

import re

from ml_collections import ConfigDict

from dermjax.configs.scales import DEMO_NETWORK, SCALES, adapt_demo
from dermjax.strategies import STRATEGIES
from dermjax.suggestions import did_you_mean

ARGUMENTS = {
    "alpha": 1.0,  # share of the training images that keep their labels, 0 < alpha <= 1
    "trial": 0,  # which labelled subset, and which seed of the fine-tuning
    "scale": "paper",  # paper | small | demo
    "data": "synthetic",  # synthetic, a manifest CSV, or a public data set's folder
    "model": "",  # a network; by default the scale's own
}

_TRUTH = {"true": True, "false": False}


def make_config(strategy: str, argument: str | None, *, from_weights: bool = False) -> ConfigDict:
    """The config of one run of `strategy` (SS, SS-IN, IN or FS).

    Args:
      from_weights: whether the network must be one that has ImageNet weights, as that of a study
        must of which another strategy starts from them.

    Raises:
      ValueError: an argument that is not known or has the wrong type.
    """
    given = parse_argument(argument)
    if given["scale"] not in SCALES:
        raise ValueError(f"scale={given['scale']} is not known; take one of {', '.join(SCALES)}")
    config = SCALES[given["scale"]]()
    config.strategy = strategy
    config.scale = given["scale"]
    config.data.source = given["data"]
    config.data.alpha = given["alpha"]
    config.data.trial = given["trial"]
    if given["model"]:
        config.model.name = given["model"]
    elif given["scale"] == "demo" and (from_weights or STRATEGIES[strategy].from_weights):
        config.model.name = "efficientnet_b0"  # the demo's own has none
    if given["scale"] == "demo" and config.model.name != DEMO_NETWORK:
        adapt_demo(config)
    if not STRATEGIES[strategy].pretrains:
        del config["pretrain"]
        config.control = False
    elif STRATEGIES[strategy].from_weights:
        config.pretrain.init = "imagenet"
    return config


def parse_argument(argument: str | None, known: dict = ARGUMENTS) -> dict:
    """`alpha=0.1,scale=demo` -> a value for each of the known arguments, of its default's type.

    A value with a comma stands in quotes, as in `data="a, b.csv",alpha=0.1`.

    Raises:
      ValueError: an unknown name, a missing value, or a value of another type.
    """
    values = dict(known)
    named = ""
    for part in filter(str.strip, _parts(argument or "")):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if name not in known:
            hint = did_you_mean(name, known)
            if isinstance(known.get(named), str) and not hint:
                field = " or set --config.data.source=VALUE" if named == "data" else ""
                hint = (
                    f"; if it belongs to the value of {named!r}, put that in quotes, as a comma "
                    f'ends it: {named}="{values[named]},{part}"{field}'
                )
            raise ValueError(
                f"config argument {name!r} is not known; there are {', '.join(known)}{hint}"
            )
        named = name
        if not equals or text == "":
            raise ValueError(f"config argument {name!r} needs a value, as in {name}=...")
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            text = text[1:-1]
        kind = type(known[name])
        try:
            values[name] = _TRUTH[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            wanted = {int: "an integer", float: "a number", bool: "true or false"}[kind]
            raise ValueError(f"config argument {name}={text!r} is not {wanted}") from None
    return values


def _parts(argument: str) -> list[str]:
    """The argument cut at its commas, but for those between the quotes around a value."""
    quoted = r"""[^=,]*=\s*(?:"[^"]*"|'[^']*')\s*(?=,|$)"""
    return re.findall(rf"(?:^|(?<=,))({quoted}|[^,]*)", argument)


def numbers(name: str, text: str) -> list[float]:
    """`0.1+1.0` -> [.1, 1.].

    Raises:
      ValueError: a part that is no number.
    """
    try:
        return [float(part) for part in text.split("+")]
    except ValueError:
        raise ValueError(
            f"config argument {name}={text!r} is not a list of numbers such as 0.1+1.0"
        ) from None
