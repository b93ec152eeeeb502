"""Values of a configuration, and the names of weights, as the pages print them."""

import pathlib
from typing import Any

from dermjax.models import hub


def value(given: Any, between: str = " and ") -> str:
    """A value of a config: `yes`, `1,000`, `0.02`, `0.6 and 0.8`.

    Args:
      given: of any type that a config holds.
      between: the parts of a tuple; ` to ` of a range.
    """
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, tuple | list):
        return between.join(f"{part:g}" for part in given)
    if isinstance(given, int):
        return f"{given:,}"
    return f"{given:g}" if isinstance(given, float) else str(given)


def weights(source: str) -> str:
    """What `weights.json` names as a network's first weights.

    Of a file its name alone: of the folders of one machine no reader has any use.
    """
    if source == "random":
        return "random weights"
    if hub.is_name(source):
        return f"the weights {source}"
    return f"the weights of the file {pathlib.PurePath(source).name}"
