"""Which cells of a table's column mean one subgroup: spellings, ages, skin types, the unknown.

Letter: B images.
"""

import collections
import dataclasses
import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from dermjax.data import identity, measured_values
from dermjax.data.measured_values import TIME_UNITS, Value

UNKNOWN = "(unknown)"
# Signs that stand for nothing: ?, -, --, ..., /, *.
_SIGNS = re.compile(r"[\W_]*")
_SEX = {
    "female": "f female females fem w weiblich woman women girl frau femme féminin feminin "
    "féminine femenino femenina feminino mujer femmina donna vrouw vrouwelijk kvinna kvinde "
    "nainen ♀ 女 女性 여 여성 여자 ж жен женский",
    "male": "m male males man men boy mann männlich maennlich masc masculin masculino maschio "
    "homme hombre uomo homem mannelijk mies ♂ 男 男性 남 남성 남자 муж мужской",
    "other": "other o d x div divers diverse diverses non-binary nonbinary non binary intersex "
    "inter autre otro",
}
_SEX_OF = {word: sex for sex, words in _SEX.items() for word in words.split()}
_SEX_OF["non binary"] = "other"
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi")
_TYPE = r"(?:vi|iv|v|i{1,3}|[1-6](?:\.0)?)"
_SKIN_TYPE = re.compile(
    r"(?P<name>(?:fitzpatrick|fst|fitz|skin|photo|haut|type|typ|phototype|phototyp|hauttyp|[\s_:-])*)"
    rf"(?P<low>{_TYPE})(?:\s*(?:-|–|/|to|bis|or|und|and)\s*(?P<high>{_TYPE}))?"
)
_MANY = 10  # distinct numbers that are still categories, as grades are
_BINS = 20  # more of a column are too many to read
_NUMERIC = 0.5  # share of a column's known cells; of fewer numbers it is a column of words
_LISTED = 12  # spellings that a note names
_OTHER_WORDS = 0.1  # share of a column of sexes, at most, that is no sex, such as misspellings
_CAPPED = 0.2  # of the numbers, at most, that an open end such as 90+ may take with it


@dataclasses.dataclass(frozen=True)
class Grouped:
    """A column as subgroups.

    Attributes:
      names: `[B]` str objects, the subgroup of each image.
      order: the subgroups in the order in which they are read: numbers ascending, words by the
        alphabet, unknown last.
      notes: which spellings were taken for one, a sentence's part each; empty where none were.
    """

    names: np.ndarray
    order: tuple[str, ...]
    notes: tuple[str, ...]


def group(values: Sequence[object]) -> Grouped:
    """The subgroup that each cell of a column means.

    Cells that are equal but for case, spaces or Unicode's forms are one subgroup, and so are the
    spellings of a sex (f, F, female, weiblich) and of a skin type (3, III, FST III); whatever says
    that nothing is known (blank, unknown, ?, n/a) is `(unknown)`. Columns of more than ten
    different numbers, such as ages, are binned: `30-39` is [30, 40). Single cells that are no plain
    numbers do not change that: `34 years` and `6 months` lie in their bin, `90+` makes the last bin
    an open one, and what fits no bin keeps a subgroup of its own.

    Args:
      values: `[B]` cells, anything that has a text; '' is unknown.
    """
    written = [" ".join(str(value).split()) for value in values]
    key_of = {text: _key(text) for text in set(written)}
    keys = [key_of[text] for text in written]
    known = collections.Counter(key for key in keys if key)
    meant = _numbers(known) or _sexes(known) or _skin_types(known) or _words(known)
    titles = _titles(keys, written, meant)
    names = [titles[meant[key].group] if key else UNKNOWN for key in keys]
    places = {titles[one.group]: one.place for one in meant.values()}
    order = sorted(set(names) - {UNKNOWN}, key=lambda name: (places[name], name))
    order += [UNKNOWN] * (UNKNOWN in names)
    return Grouped(_objects(names), tuple(order), tuple(_notes(names, written, order)))


@dataclasses.dataclass(frozen=True)
class _Meaning:
    """What a cell means: cells of one group are one subgroup."""

    group: object
    place: tuple[float, ...]  # in the order of the subgroups
    title: str = ""  # of the group; '' for its commonest spelling


_LAST = (math.inf,)  # the place of words
_Meanings = dict[str, _Meaning]  # by key


def _objects(names: Sequence[str]) -> np.ndarray:
    found = np.empty(len(names), object)
    found[:] = names
    return found


def _key(text: str) -> str:
    """What makes two cells equal; '' for all that says nothing."""
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(sign for sign in plain if unicodedata.category(sign) not in ("Cf", "Cc"))
    plain = " ".join(plain.replace("_", " ").split()).casefold()
    plain = unicodedata.normalize("NFKC", plain)
    signs = _SIGNS.fullmatch(plain) and plain not in _SEX_OF
    return "" if signs or identity.is_nobody(plain) else plain


def _words(known: collections.Counter) -> _Meanings:
    """Each key a subgroup."""
    return {key: _Meaning(key, _LAST) for key in known}


def _titles(keys: Sequence[str], written: Sequence[str], meant: _Meanings) -> dict[object, str]:
    """What each group is called."""
    spellings: dict[object, collections.Counter] = collections.defaultdict(collections.Counter)
    for key, text in zip(keys, written, strict=True):
        if key:
            spellings[meant[key].group][text] += 1
    given = {one.group: one.title for one in meant.values()}
    return {
        name: given[name] or _whole(min(texts, key=lambda text: (-texts[text], text)))
        for name, texts in spellings.items()
    }


def _whole(text: str) -> str:
    """`2` of `2.0`, which whole numbers become where some cells of their column are empty."""
    return text.removesuffix(".0") if re.fullmatch(r"[+-]?\d+\.0", text) else text


def _notes(names: Sequence[str], written: Sequence[str], order: Sequence[str]) -> list[str]:
    """What each subgroup holds that is not written like its name; numbers in bins are no news."""
    held: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for name, text in zip(names, written, strict=True):
        held[name][text] += 1
    plain = _plain_numbers(collections.Counter(written))
    notes = []
    for name in order:
        texts, is_bin = held[name], name not in plain and name[0] in "-0123456789"
        news = [
            text
            for text in sorted(texts, key=lambda text: (-texts[text], text))
            if text not in ("", name)
            and not (is_bin and text in plain)
            and not (len(texts) == 1 and _whole(text) == name)
        ]
        if news:
            listed = ", ".join(
                f"{_quoted(text, name)} ({texts[text]:,})" for text in news[:_LISTED]
            )
            more = f" and {len(news) - _LISTED} more spellings" if len(news) > _LISTED else ""
            notes.append(f"{name} holds {listed}{more}")
    return notes


def _plain_numbers(written: collections.Counter) -> set[str]:
    """The cells that are a number as most of the column's numbers are written."""
    read = {text: value for text in written if (value := measured_values.parse(_key(text)))}
    units: collections.Counter[str] = collections.Counter()
    for text, value in read.items():
        units[value.unit] += written[text]
    usual = min(units, key=lambda unit: (-units[unit], unit), default="")
    return {
        text
        for text, value in read.items()
        if value.is_plain and value.unit in ("", usual) and _key(text)[0] in "+-0123456789"
    }


def _quoted(text: str, name: str) -> str:
    same = unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", name)
    return f"“{text}”" + " in another Unicode form" * same


# --- sexes and skin types -----------------------------------------------------------------------


def _sexes(known: collections.Counter) -> _Meanings:
    """A column of sexes; nothing for another one."""
    found = {key: sex for key in known if (sex := _SEX_OF.get(key.rstrip(".")))}
    spelled = any(len(key) > 1 and sex != "other" for key, sex in found.items())
    others = {key for key in known if key not in found and key != "u"}
    few = sum(known[key] for key in others) <= _OTHER_WORDS * known.total()
    if not set(found.values()) & {"female", "male"} or (others and not (spelled and few)):
        return {}
    if {"f", "w"} <= set(known) and not spelled:
        return {}  # f, m and w alone may be sites of the body
    order = list(_SEX)
    sexes = _one_name({key: (name, (order.index(name),)) for key, name in found.items()})
    unknown = {"u": _Meaning(UNKNOWN, _LAST, UNKNOWN)} if "u" in known else {}
    return _words(known) | sexes | unknown


def _skin_types(known: collections.Counter) -> _Meanings:
    """A column of Fitzpatrick's types, in their order; nothing for another one."""
    found = {key: one for key in known if (one := _SKIN_TYPE.fullmatch(key))}
    if not known or len(found) < len(known):
        return {}
    types = {
        key: tuple(_roman(one[end]) for end in ("low", "high") if one[end])
        for key, one in found.items()
    }
    titles = {ends: "-".join(_ROMAN[end - 1].upper() for end in ends) for ends in types.values()}
    return _one_name({key: (titles[ends], ends) for key, ends in types.items()})


def _one_name(found: dict[str, tuple[str, tuple[float, ...]]]) -> _Meanings:
    """The names by key (name, place): ours where one has several spellings, else the user's."""
    several = len({name for name, _ in found.values()}) < len(found)
    return {
        key: _Meaning(name, place, name if several else "") for key, (name, place) in found.items()
    }


def _roman(text: str) -> int:
    return _ROMAN.index(text) + 1 if text in _ROMAN else int(float(text))


# --- numbers ------------------------------------------------------------------------------------


def _numbers(known: collections.Counter) -> _Meanings:
    """A column of numbers, binned where there are many; nothing for a column of words."""
    read = {key: value for key in known if (value := measured_values.parse(key)) is not None}
    read, unit = _in_one_unit(read, known)
    if not read or sum(known[key] for key in read) < _NUMERIC * known.total():
        return {}
    plain = {key: value.low for key, value in read.items() if value.is_plain}
    words = _words(known)
    if len(set(plain.values())) <= _MANY:
        if all(_SKIN_TYPE.fullmatch(key) for key in known):
            return {}  # 3 beside III
        same = {key: _Meaning(value, _place_of(value)) for key, value in read.items()}
        return words | same
    numbers = np.repeat([*plain.values()], [known[key] for key in plain])
    bins = _Bins.of(numbers, [value for value in read.values() if value.high == math.inf], unit)
    return words | {key: bins.of_value(value) for key, value in read.items()}


def _place_of(value: Value) -> tuple[float, float]:
    """Sorts by the lower bound; what is open below comes before its upper one."""
    return (value.high, -math.inf) if value.low == -math.inf else (value.low, value.high)


def _in_one_unit(
    read: dict[str, Value], known: collections.Counter
) -> tuple[dict[str, Value], str]:
    """Values in one unit, and its name where bins need one.

    Ages in years, months and bare numbers become years. What is in
    another unit than most of a column is a word.
    """
    units: collections.Counter = collections.Counter()
    for key, value in read.items():
        units[value.unit] += known[key]
    usual = min(units, key=lambda unit: (-units[unit], unit), default="")
    bare = units.pop("", 0) > 0
    if not units:
        return read, ""
    if set(units) <= set(TIME_UNITS):
        factors = {TIME_UNITS[unit] for unit in units}
        if bare or len(factors) > 1 or factors == {1.0}:
            return {key: value.in_years() for key, value in read.items()}, ""
        return {key: dataclasses.replace(value, unit="") for key, value in read.items()}, usual
    kept = {key: value for key, value in read.items() if value.unit in ("", usual)}
    return {key: dataclasses.replace(value, unit="") for key, value in kept.items()}, usual


@dataclasses.dataclass(frozen=True)
class _Bins:
    """Numbers in bins of one width, a power of ten; the last one may be open."""

    width: float
    least: float  # of the numbers
    top: float  # where the open bin begins; inf where none is open
    unit: str

    @classmethod
    def of(cls, numbers: np.ndarray, opens: Sequence[Value], unit: str) -> "_Bins":
        """Chooses bins wide enough to be few; a single number far off does not widen them."""
        low, high = np.quantile(numbers, [0.01, 0.99])
        width = 10.0
        while (high - low) / width > _BINS or len(set(numbers // width)) > _BINS + 1:
            width *= 10
        while len(set(numbers // width)) == 1 and width > 1e-6:
            width /= 10
        starts = [value.low // width * width for value in opens]
        tops = [start for start in starts if np.mean(numbers >= start) <= _CAPPED]
        return cls(width, float(numbers.min()), min(tops, default=math.inf), unit)

    def of_value(self, value: Value) -> _Meaning:
        """The bin that a value lies in, or a subgroup of its own where it lies in none."""
        low, high = value.low, value.high
        if low == -math.inf and high > 0 <= self.least:
            low = 0.0  # below 1 means from 0 on, where no number is less
        own = _Meaning(value, _place_of(value))
        if low == -math.inf:
            return own
        start = low // self.width * self.width
        if start >= self.top:
            return _Meaning(self.top, (self.top, math.inf), self._titled(f"{self.top:.6g}+"))
        # People write 30-40 and 40-50 for bins that meet, and below 10 without the 10.
        meets = high == start + self.width and not value.is_plain
        if not meets and high // self.width * self.width != start:
            return own
        end = start + self.width
        name = f"{start:.0f}-{end - 1:.0f}" if self.width > 1 else f"{start:.6g} to <{end:.6g}"
        return _Meaning(start, (start, end), self._titled(name))

    def _titled(self, name: str) -> str:
        return f"{name} {self.unit}" if self.unit else name
