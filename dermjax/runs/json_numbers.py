"""Numbers as JSON takes them, which has no NaN."""

import math


def or_none(value: float, digits: int | None = None) -> float | None:
    """The number, rounded to `digits` behind the point if given; None for NaN."""
    if math.isnan(value):
        return None
    return float(value) if digits is None else round(float(value), digits)
