"""timm where it can be had, also beside a torchvision whose compiled operators do not fit torch."""

import importlib.util
import pathlib
import re

_NEEDED = ("torch", "torchvision", "timm")
_libraries = []  # hold the operators' names for as long as the process lives


def missing() -> str:
    """What timm lacks to be imported; empty where nothing."""
    return " and ".join(name for name in _NEEDED if importlib.util.find_spec(name) is None)


def import_timm():
    """The module timm."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        _declare_operators()
    import timm

    return timm


def _declare_operators() -> None:
    """timm uses none of torchvision's operators, but torchvision registers them: name them."""
    import torch

    folder = importlib.util.find_spec("torchvision").submodule_search_locations[0]
    source = pathlib.Path(folder, "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in sorted(
        set(re.findall(r'register_(?:fake|meta)\("(?:torchvision::)?(\w+)"', source))
    ):
        library.define(f"{name}(Tensor x) -> Tensor")
    _libraries.append(library)
