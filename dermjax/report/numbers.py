"""Numbers as the pages and figures print them."""

import math


def number(value: float, digits: int = 2) -> str:
    """`.95`, as measures between 0 and 1 are printed; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (
        text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0.") else text
    )


def signed(value: float, digits: int = 3) -> str:
    """`+.034` or `−.012`, a difference of measures."""
    text = number(abs(value), digits)
    return text if text == number(0, digits) else f"{'−' if value < 0 else '+'}{text}"


def signed_span(low: float, high: float, digits: int = 3) -> str:
    """`[−.012, +.034]`, or a dash for none."""
    return "–" if math.isnan(low) else f"[{signed(low, digits)}, {signed(high, digits)}]"


def p_value(value: float) -> str:
    """`.024`, `< .001` (no study of some patients and trainings knows more), or a dash for none."""
    if value < 0.001:
        return "< .001"
    return number(value, 3)


def percent(alpha: float) -> str:
    """`10 %`."""
    return f"{100 * alpha:.4g} %"
