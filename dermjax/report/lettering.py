"""Names in figures, in any alphabet: which fonts have their letters, and numbers for the others."""

import collections
import functools
import unicodedata
from collections.abc import Iterable, Sequence

from matplotlib import ft2font
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

# Joins letters, orders them from right to left: matplotlib does, since it has this library.
_SHAPES = hasattr(ft2font, "__libraqm_version__")
# Fonts of many letters are asked first; the order is of no other meaning.
_BROAD = ("CJK", "Noto Sans", "Source Han", "WenQuanYi", "YaHei", "Hei", "Gothic", "Unicode")
# Fonts that have a box, or nothing, for every letter.
_EMPTY = ("last resort", "lastresort", "adobe blank", "adobeblank", "tofu")
# Signs that are not seen: they order or part what stands beside them.
_UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x2060, 0xFEFF, 0xFE0E, 0xFE0F, *range(0x202A, 0x202F)])


def printable(text: str) -> bool:
    """Whether figures can print a text as its readers know it, with the fonts at hand."""
    if not _SHAPES and any(_is_shaped(letter) for letter in text):
        return False
    return families(text) is not None


def families(text: str) -> list[str] | None:
    """Fonts that together have all letters of a text, the usual one first; None where none has."""
    found = [_usual()]
    missing = set(map(ord, text)) - _letters(findfont(FontProperties()))
    if not missing:
        return found
    more = _others(frozenset(missing), len(fontManager.ttflist))
    return None if more is None else [*found, *more]


def _is_shaped(letter: str) -> bool:
    """Whether it is written from the right, or over or under its neighbour."""
    combines = unicodedata.category(letter) in ("Mn", "Mc", "Me")
    return combines or unicodedata.bidirectional(letter) in ("R", "AL")


@functools.cache
def _usual() -> str:
    return get_font(findfont(FontProperties())).family_name


@functools.cache
def _letters(file: str) -> frozenset[int]:
    """What a font has; none of one that cannot be opened."""
    try:
        return frozenset(get_font(file).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()


@functools.lru_cache(maxsize=4096)
def _others(missing: frozenset[int], fonts: int) -> tuple[str, ...] | None:
    """The fewest of the fonts that have these letters; None where some are in no font."""
    files = {
        entry.name: entry.fname
        for entry in fontManager.ttflist[:fonts]
        # Of other ones matplotlib would tell that it has no plain cut.
        if entry.style == "normal" and entry.weight in (400, "normal") and entry.name != _usual()
    }
    names = [name for name in files if not any(word in name.lower() for word in _EMPTY)]
    names.sort(key=lambda name: (not any(word in name for word in _BROAD), name))
    found, left = [], set(missing)
    for name in names:
        if left & _letters(files[name]):
            found.append(name)
            left -= _letters(files[name])
        if not left:
            return tuple(found)
    return None


def clean(name: object) -> str:
    """A user's name in one line, its letters composed, without signs that are not seen."""
    return " ".join(unicodedata.normalize("NFC", str(name)).translate(_UNSEEN).split())


def width(text: str) -> int:
    """The width of a text in letters of the Latin alphabet: a Chinese sign takes two."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return wide + sum(unicodedata.category(letter) not in ("Mn", "Me") for letter in text)


def shortened(text: str, longest: int) -> str:
    """At most about `longest` letters wide; the middle is left out of a longer one.

    Names often differ only in their ends.
    """
    if width(text) <= longest:
        return text
    letters = max(int(longest * len(text) / width(text)), 2)
    end = letters // 3
    tail = text[-end:].lstrip() if end else ""
    while tail and unicodedata.category(tail[0])[0] == "M":  # of a letter that is left out
        tail = tail[1:]
    return f"{text[: letters - end - 1].rstrip()}…{tail}"


class Key:
    """Names as a figure prints them: a number for each that it cannot print, or not distinctly.

    Attributes:
      entries: the whole name by its number, for those that are printed as numbers.
    """

    def __init__(self):
        self.entries: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    def named(self, name: object, longest: int = 24) -> str:
        """One name, for matplotlib: letter by letter, or `[3]`."""
        text = clean(name)
        if not printable(text):
            return self._numbered(str(name))
        text = shortened(text, longest).replace("$", r"\$")  # a pair would make a formula
        return f" {text}" if text.startswith("_") else text  # which legends would leave out

    def all_named(self, names: Sequence[object], longest: int = 24) -> list[str]:
        """Names that stand beside each other; their numbers are their places, from 1 on.

        Those that would be shortened to the same are numbers, too.
        """
        self.number(names)
        shown = [self.named(name, longest) for name in names]
        count = collections.Counter(shown)
        return [
            text if count[text] == 1 else self._numbered(str(name))
            for text, name in zip(shown, names, strict=True)
        ]

    def number(self, names: Iterable[object]) -> None:
        """Gives names their numbers, whether or not they will be printed as such."""
        for name in names:
            self._numbers.setdefault(str(name), len(self._numbers) + 1)

    def show_all(self, names: Sequence[object]) -> None:
        """Puts all of these into the key: the figure has numbers only."""
        self.number(names)
        self.entries |= {self._numbers[str(name)]: str(name) for name in names}

    def _numbered(self, name: str) -> str:
        self.number([name])
        self.entries[self._numbers[name]] = name
        return f"[{self._numbers[name]}]"
