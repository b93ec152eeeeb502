"""Which layers a call of a network runs through: all, or those from one on, or up to one."""

from collections.abc import Sequence


def section(layers: Sequence[str], start: str, stop: str) -> tuple[int, int]:
    """Numbers of the first layer to run, and of the first one behind the last.

    Args:
        layers: A network's, in order.
        start: The layer whose output is given, the first not to run; "" for images.
        stop: The layer whose output is wanted, the last to run; "" for the end.

    Raises:
        ValueError: There is no such layer, or `stop` does not come after `start`.
    """
    for name, layer in (("start", start), ("stop", stop)):
        if layer and layer not in layers:
            raise ValueError(f"{name} = {layer!r} is no layer; there are {', '.join(layers)}")
    first = layers.index(start) + 1 if start else 0
    last = layers.index(stop) + 1 if stop else len(layers)
    if stop and last <= first:
        raise ValueError(
            f"stop = {stop!r} does not come after start = {start!r}; "
            f"the order is {', '.join(layers)}"
        )
    return first, last
