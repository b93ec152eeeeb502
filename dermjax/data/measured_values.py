"""Numbers as people write them into a table: `34`, `34 years`, `30-40`, `<1`, `90+`, `6 months`."""

import dataclasses
import math
import re

_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
_UNIT = r"[^\W\d_][^\d<>=+]*|%"
_RANGE = re.compile(rf"({_NUMBER})\s*({_UNIT})?\s*(?:-|–|—|~|to|bis)\s*({_NUMBER})\s*({_UNIT})?")
_ABOVE = re.compile(
    rf"(?:>=|≥|>|over|above|older than|at least|über|ab)\s*({_NUMBER})\s*({_UNIT})?"
    rf"|({_NUMBER})\s*({_UNIT})?\s*\+\s*({_UNIT})?"
    rf"|({_NUMBER})\s*({_UNIT}?)\s*(?:and|or|und|oder)\s*(?:over|above|older|more|älter|mehr)"
    rf"|({_NUMBER})\s*({_UNIT}?)\s*plus"
)
_BELOW = re.compile(
    rf"(?:<=|≤|<|under|below|younger than|less than|up to|unter|bis)\s*({_NUMBER})\s*({_UNIT})?"
)
_PLAIN = re.compile(rf"({_NUMBER})\s*({_UNIT})?")
_DECADE = re.compile(r"(\d*0)'?s")  # 40s
_ABOUT = re.compile(r"(?:~|≈|about |ca\.? ?|c\. ?|circa |approx\.? ?|approximately |etwa )")
# Years in one of each unit of time, by how people write it.
_YEARS = {
    1.0: "y yr yrs yo y/o year years year old years old year-old years-old jahr jahre jahren j a "
    "an ans año años ano anos anni 岁 歳 세",
    1 / 12: "m mo mos mon month months months old month old monat monate mois mes meses mesi 月 "
    "个月 か月 개월",
    7 / 365.25: "w wk wks week weeks weeks old woche wochen semaine semaines 周 週",
    1 / 365.25: "d day days days old tag tage jour jours día días 天 日",
}
_PHRASES = ("year old", "years old", "months old", "month old", "weeks old", "days old")


def _years() -> dict[str, float]:
    """Years by the spelling of a unit of time; the phrases of two words are kept whole."""
    found = {}
    for factor, words in _YEARS.items():
        for phrase in _PHRASES:
            if phrase in words:
                found[phrase] = factor
        found |= dict.fromkeys(words.split(), factor)
    del found["old"]
    return found


TIME_UNITS = _years()


@dataclasses.dataclass(frozen=True)
class Value:
    """What one cell says: a number, or bounds that are open or wide.

    Attributes:
      low: the least number that is meant, -inf where it is open.
      high: the largest, inf where it is open; equal to `low` for a plain number.
      unit: as written, in lower case; '' where there is none.
      open_end: whether `high` itself is not meant, as in `<18`.
    """

    low: float
    high: float
    unit: str
    open_end: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    def in_years(self) -> "Value":
        """The same with a unit of time turned into years; a value without one is in years."""
        factor = TIME_UNITS.get(self.unit, 1.0)
        return dataclasses.replace(self, low=self.low * factor, high=self.high * factor, unit="")


def parse(text: str) -> Value | None:
    """What a cell says, if it says a number; None for words.

    Args:
      text: without spaces at its ends, in lower case, in Unicode's form NFKC.
    """
    if found := _DECADE.fullmatch(text):
        return Value(float(found[1]), float(found[1]) + 10, "", open_end=True)
    if about := _ABOUT.match(text):
        text = text[about.end() :].strip()
    if found := _RANGE.fullmatch(text):
        low, unit, high, last = found.groups()
        low, high = _number(low), _number(high)
        return Value(low, high, _unit(last or unit)) if low <= high else None
    if found := _ABOVE.fullmatch(text):
        number, *unit = [part for part in found.groups() if part]
        return Value(_number(number), math.inf, _unit(*unit))
    if found := _BELOW.fullmatch(text):
        number, unit = found.groups()
        exclusive = not text.startswith(("<=", "≤", "up to", "bis"))
        return Value(-math.inf, _number(number), _unit(unit), open_end=exclusive)
    if found := _PLAIN.fullmatch(text):
        number = _number(found[1])
        return Value(number, number, _unit(found[2]))
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _unit(text: str | None = None) -> str:
    return (text or "").strip().rstrip(".").strip()
