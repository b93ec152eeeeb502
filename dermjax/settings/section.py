"""A section of settings: made from a config, checked when it is made, turned back into a dict."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ml_collections import ConfigDict

# Fields that are also arguments of a config's file.
_ARGUMENTS = ("data.alpha", "data.trial")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """Frozen fields of one section of a config; a class of them checks its own on construction."""

    SECTION: ClassVar[str] = ""  # its place in the config, such as `pretrain.monitor`

    @classmethod
    def from_config(cls, config: ConfigDict | Mapping[str, Any]) -> Self:
        """The section with the fields of a config; sections within it are made likewise.

        Lists, which JSON makes of tuples, are tuples again.

        Raises:
          ValueError: a field is missing, not known, or out of bounds.
        """
        given = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
        known = {field.name: field for field in fields}
        if unknown := sorted(given.keys() - known):
            raise ValueError(
                f"config.{_place(cls.SECTION, unknown[0])} is a field that this version of dermjax "
                "does not know: the config was made by another one"
            )
        needed = {name for name, field in known.items() if field.default is dataclasses.MISSING}
        if missing := sorted(needed - given.keys()):
            raise ValueError(
                f"config.{_place(cls.SECTION, missing[0])} is missing: take a file of configs/ as "
                "it is, and change its fields"
            )
        return cls(**{name: _of_type(value, hints[name]) for name, value in given.items()})

    def to_dict(self) -> dict[str, Any]:
        """Fields as a config has them; a section that is None is left out."""
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Section):
                value = value.to_dict()
            elif value is None:
                continue
            found[field.name] = value
        return found

    @classmethod
    def since(cls) -> dict[str, Any]:
        """The fields that older configs lack, with what these did: field -> its default."""
        found: dict[str, Any] = {}
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if (section := _section_of(hints[field.name])) is not None:
                found |= {f"{field.name}.{name}": one for name, one in section.since().items()}
            elif field.default is not dataclasses.MISSING:
                found[field.name] = field.default
        return found

    def check(self, field: str, holds: bool, bound: str) -> None:
        """Raises ValueError with a field's value and its bound, unless the bound holds."""
        if holds:
            return
        place = _place(self.SECTION, field)
        argument = place.removeprefix("data.")
        behind = f" or {argument}=VALUE behind the config's colon" if place in _ARGUMENTS else ""
        raise ValueError(
            f"config.{place} = {getattr(self, field)!r}, but it must be {bound}; "
            f"set it with --config.{place}=VALUE{behind}"
        )

    def check_least(self, least: float, *fields: str) -> None:
        """Raises ValueError where a number lies below `least`."""
        for field in fields:  # `not` also refuses NaN
            self.check(field, getattr(self, field) >= least, f"at least {least}")

    def check_above(self, bound: float, *fields: str) -> None:
        """Raises ValueError where a number is not above `bound`."""
        for field in fields:
            self.check(field, getattr(self, field) > bound, f"above {bound}")

    def check_between(self, least: float, most: float, *fields: str) -> None:
        """Raises ValueError where a number lies outside [least, most]."""
        for field in fields:
            holds = least <= getattr(self, field) <= most
            self.check(field, holds, f"at least {least} and at most {most}")

    def check_below_one(self, *fields: str) -> None:
        """Raises ValueError where a number lies outside [0, 1)."""
        for field in fields:
            self.check(field, 0 <= getattr(self, field) < 1, "at least 0 and below 1")

    def check_factor(self, *fields: str) -> None:
        """Raises ValueError where a number lies outside (0, 1]."""
        for field in fields:
            self.check(field, 0 < getattr(self, field) <= 1, "above 0 and at most 1")

    def check_choice(self, field: str, choices: Sequence[str]) -> None:
        """Raises ValueError where a name is not among those there are."""
        self.check(field, getattr(self, field) in choices, f"one of {', '.join(choices)}")


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of nested sections by their whole names, such as `pretrain.augment.hue`."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _place(section: str, field: str) -> str:
    return f"{section}.{field}" if section else field


def _of_type(value: Any, hint: Any) -> Any:
    """A section of a mapping, a tuple of a list; anything else as it is."""
    section = _section_of(hint)
    if section is not None and value is not None:
        return section.from_config(value)
    return tuple(value) if isinstance(value, list) else value


def _section_of(hint: Any) -> type[Section] | None:
    """The class in `S` or `S | None`; None where there is none."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    sections = (one for one in options if isinstance(one, type) and issubclass(one, Section))
    return next(sections, None)
