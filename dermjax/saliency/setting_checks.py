"""Checks of settings when they are made, before anything is computed with them."""


def check_least(settings, least: float, *names: str) -> None:
    """Raises ValueError where a number lies below `least`."""
    for name in names:
        if not getattr(settings, name) >= least:  # also refuses NaN
            raise ValueError(f"{name} = {getattr(settings, name)} must be at least {least}")


def check_positive(settings, *names: str) -> None:
    """Raises ValueError where a number is not above 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name} = {getattr(settings, name)} must be above 0")


def check_choice(settings, name: str, *choices: str) -> None:
    """Raises ValueError where a name is not among the known ones."""
    if getattr(settings, name) not in choices:
        known = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} = {getattr(settings, name)!r} is not known; take {known}")
