"""What validation patients gave for each class, as JSON and read from it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class ClassRule:
    """A wished probability, and arrays `[N]` of what was fitted for each of N classes.

    A subclass is a frozen dataclass; its first field is the probability.
    """

    name: ClassVar[str]  # for messages
    absent: ClassVar[float]  # what None means in JSON, which has no such number
    arrays: ClassVar[Mapping[str, DTypeLike]]  # the other fields, in order

    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON takes it; what is not finite is None."""
        wished, *_ = (field.name for field in dataclasses.fields(self))
        lists = {name: getattr(self, name).tolist() for name in self.arrays}
        return {
            wished: getattr(self, wished),
            **{name: [v if math.isfinite(v) else None for v in own] for name, own in lists.items()},
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The rule that `to_dict` wrote.

        Raises:
          ValueError: a field is missing, or the fields are not of as many classes.
        """
        wished, *_ = names = [field.name for field in dataclasses.fields(cls)]
        if missing := [name for name in names if name not in given]:
            raise ValueError(f"{cls.name} without {missing}: fit anew")
        lengths = {name: len(given[name]) for name in cls.arrays}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{cls.name} must be of one length, not {lengths}: fit anew")
        values = {
            name: np.array([cls.absent if v is None else v for v in given[name]], dtype)
            for name, dtype in cls.arrays.items()
        }
        return cls(**{wished: float(given[wished])}, **values)
