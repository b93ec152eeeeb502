"""When two names in a table read the same to a person, and which words name nobody.

One rule decides it for patients, lesions, labels, exceptions and the keys by which tables are
joined: `key`. What is done about names that read the same is decided per column, in `settle`.
"""

import re
import unicodedata
from collections.abc import Iterable

import pandas as pd

from dermjax.data.problems import at_rows, quoted

# Letters of other alphabets that look like a Latin one: "P1" may be typed on any keyboard.
_LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТХаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXaeopcyxijsABEZHIKMNOPTYXo"
)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2043\u02d7\u00b7", "-"),  # minus, bullets; other dashes are Pd
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u0060\u00b4\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2044\u2215", "/"),
    }
)
# Blank on the screen, although Unicode calls them letters or marks.
_BLANK_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SEPARATOR = r"[\s_.\-]+"
_LETTER = r"[^\W\d_]"
# A point between digits stays: C44.01 and C44.1 are two codes.
_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?!\.\d)[\s_.\-]+(?=\d)")
_BESIDE_DIGIT = re.compile(rf"(?<={_LETTER}){_SEPARATOR}(?=\d)|(?<=\d){_SEPARATOR}(?={_LETTER})")
_BETWEEN_LETTERS = re.compile(rf"(?<={_LETTER}){_SEPARATOR}(?={_LETTER})")
_LEADING_ZEROS = re.compile(r"(?<!\d)(?<!\d\.)0+(?=\d)")
_SIMPLE = re.compile(r"([A-Za-z]*)(?:(?<=[A-Za-z])[_-])?0*([1-9][0-9]*)")  # 17, p017, PAT-17
_AS_TEXT = re.compile(r"""=?"([^"]*)"|=?'([^']*)'|'([^']+)""")  # how spreadsheets keep 007
_WHOLE = re.compile(r"(-?)\+?(\d+)(?:[.,](?:0{1,2}|0{4,}))?")  # 12, 12.0 and 12,00
_THOUSANDS = re.compile(r"(-?)\+?(\d{1,3}(?:([., '])\d{3})(?:\3\d{3})*)")
_EITHER = re.compile(r"\+?(\d{1,3})[.,]000")  # twelve with decimals, or twelve thousand
_EXPONENT = re.compile(r"-?\d(?:[.,](\d+))?e\+(\d{1,3})")
_LOST_DIGITS = re.compile(r"\d{15}0{3,}")  # a spreadsheet keeps fifteen
_ERROR = re.compile(r"#[^\d\s]\S*[!?]|#n/a|#na|#n/d|#nv|#+")  # of a spreadsheet's formula
_AROUND = " \"'()[]{}<>*_-?!./\\|~:;,=^"
_WORDS = """
    nan|na|n a|n d|nat|nil|null|none|void|unk|unknown|not known|unknown patient|
    patient unknown|unknown id|unknown label|unknown class|no patient|no patient id|no id|
    no label|no name|noname|unnamed|unlabelled|unlabeled|not labelled|not labeled|missing|
    missing value|undefined|unspecified|not specified|not available|not applicable|
    not recorded|not given|not stated|not provided|no data|no value|no entry|no information|
    empty|blank|tbd|tba|todo|to be determined|anonymous|anonymised|anonymized|anonym|
    anonymisiert|unbekannt|nicht bekannt|unbekannter patient|unbekannte patientin|
    keine angabe|keine angaben|ohne angabe|keine daten|nicht angegeben|nicht vorhanden|fehlt|
    fehlend|leer|inconnu|inconnue|non connu|non renseigné|desconocido|desconocida|
    sin datos|sconosciuto|desconhecido|onbekend|nieznany|okänd|ukendt|ukjent|neznámý|
    bilinmiyor|неизвестно|неизвестен|нет данных|未知|不明|不详|不詳|无|無|unkn|unknwon|
    undetermined|not reported|미상
    """
# "KA" is keratoacanthoma and "OA" may be anything; with their points they are German for unknown.
_DOTTED = re.compile(r"[ko]\. ?a\.?|k/a|n\. ?[ab]\.?")


def visible(text: str) -> str:
    """The text as it is seen: composed, without invisible characters, single plain spaces."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text)
    kept = (" " if char.isspace() else char for char in text if not _is_invisible(char))
    return " ".join("".join(kept).split())


def _is_invisible(char: str) -> bool:
    """Zero-width and direction marks, soft hyphens, byte order marks, variation selectors."""
    if char.isspace():
        return False
    code = ord(char)
    return (
        unicodedata.category(char) in ("Cf", "Cc")
        or char in _BLANK_MARKS
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0100 <= code <= 0xE01EF
    )


def _folded(text: str) -> str:
    """The text without what a reader overlooks: its form in Unicode, case, kind of dash."""
    text = visible(text)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN).translate(_LOOKALIKES)
    text = "".join(map(_plain_character, text))
    return unicodedata.normalize("NFKC", " ".join(text.casefold().split()))


def _plain_character(char: str) -> str:
    """Dashes of every kind as '-', and digits of every script as 0 to 9."""
    kind = unicodedata.category(char)
    return "-" if kind == "Pd" else str(unicodedata.digit(char)) if kind == "Nd" else char


# Folded as what they are compared with.
_NOBODY = frozenset(_folded(word) for word in _WORDS.split("|"))


def key(text: str) -> str:
    """What two names have in common if and only if a person reads them as the same.

    Overlooked are the form in Unicode, invisible characters, case, spaces around, the kind of dash
    and of quote, letters of other alphabets that look Latin; a spreadsheet's quotes around text;
    leading zeros (`P007` is `P7`), the decimals and the thousands' separators of a whole number;
    and which of space, `_`, `-` and `.` separates: between a letter and a digit it may be missing
    (`P-7` is `P7`), between digits it may not (`1-1` is not `11`), and a point is no other sign.
    """
    if simple := _SIMPLE.fullmatch(text):  # nearly all are, of a million rows
        return simple[1].lower() + simple[2]
    text = _folded(text)
    if quotes := _AS_TEXT.fullmatch(text):
        text = next(filter(None, quotes.groups()), "").strip()
    if number := _whole_number(text):
        return number
    text = text.rstrip(".,;:") or text
    text = _BETWEEN_DIGITS.sub("-", text)
    text = _BESIDE_DIGIT.sub("", text)
    text = _BETWEEN_LETTERS.sub(" ", text)
    return _LEADING_ZEROS.sub("", text)


def _whole_number(text: str) -> str:
    """The digits of a whole number however it is written; '' if it is none."""
    if found := _THOUSANDS.fullmatch(text):
        digits = re.sub(r"\D", "", found[2])
    elif found := _WHOLE.fullmatch(text):
        digits = found[2]
    elif (found := _EXPONENT.fullmatch(text)) and not is_destroyed(text):
        digits = (re.sub(r"\D", "", text.partition("e")[0])).ljust(int(found[2]) + 1, "0")
        return ("-" if text[0] == "-" else "") + digits[: int(found[2]) + 1]
    else:
        return ""
    digits = digits.lstrip("0") or "0"
    return ("-" if found[1] and digits != "0" else "") + digits


def is_nobody(text: str) -> bool:
    """Whether a cell says that there is none: `None`, `unknown`, `n/a`, `k.A.`, `-`, `#REF!`.

    `0` is a name, as people and classes are counted from it, and so is `+`. A blank cell is nobody.
    """
    if _SIMPLE.fullmatch(text):
        return False
    text = _folded(text)
    if _ERROR.fullmatch(text) or _DOTTED.fullmatch(text):
        return True
    plain = re.sub(r"[\s._/\\-]+", " ", text.strip(_AROUND)).strip()
    return plain in _NOBODY or not plain


def is_destroyed(text: str) -> bool:
    """Whether a spreadsheet has cut digits off a number, as in `1.23457E+11`: who knows whose."""
    if len(text) < 5 or not ("+" in text or text.isdigit()):
        return False
    text = _folded(text)
    if found := _EXPONENT.fullmatch(text):
        return len(found[1] or "") < int(found[2])
    return bool(_LOST_DIGITS.fullmatch(text))


def settle(
    frame: pd.DataFrame, *, labelled: bool = True
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Decides who is who in the columns patient, lesion and label.

    Words for nobody become blank in all three: their rows stay, and are of no known patient or
    without a label. A number whose digits are lost is refused in all three.

    Patients and lesions that read the same become one: wrongly joined, two people are merely in the
    same set; wrongly apart, one person trains the network and tests it. Labels that read the same
    are refused: they are the truth that all is measured against, printed on every figure, and
    whether two spellings are one disease is for the user to say.

    Args:
        frame: Strings in the columns patient, lesion, label and exclude; the integer column `row`.
        labelled: Labels are needed; where they are not, what is wrong with them is a note.

    Returns:
        (the frame, problems, notes): everything is told with its rows.
    """
    problems: list[str] = []
    notes: list[str] = []
    columns = {}
    for name in ("label", "patient", "lesion"):
        column = frame[name]
        # A million rows have few names, and lists of them are faster than arrays of strings.
        names = list(set(column.tolist()) - {""})
        nobody = column.isin([one for one in names if is_nobody(one)])
        if nobody.any():
            text = (
                f"{name} {quoted(column[nobody])} is no {name}: {nobody.sum()} rows count as "
                f"{'unlabelled' if name == 'label' else f'without a {name}'}; rename it where it "
                "is one"
            )
            notes.append(_at(frame, nobody, text))
            names = list(set(names) - set(column[nobody]))
            column = column.mask(nobody, "").astype("str")
        wrong = _unreadable(frame, column, names, name)
        if name == "label":
            wrong += _labels_alike(frame, column)
        (problems if labelled or name != "label" else notes).extend(wrong)
        if name != "label":
            column, more = _merged(frame, column, names, name)
            notes += more
        columns[name] = column
    return frame.assign(**columns), problems, notes


def _at(frame: pd.DataFrame, chosen: pd.Series, text: str) -> str:
    """A line about some rows, with their numbers and photographs."""
    part = frame[chosen]
    return at_rows(part["row"], text, part.get("image", ()))


def _unreadable(frame: pd.DataFrame, column: pd.Series, names: list[str], name: str) -> list[str]:
    """Names of which nobody can say whose they are."""
    problems = []
    destroyed = column.isin([one for one in names if is_destroyed(one)])
    if destroyed.any():
        text = (
            f"{name} {quoted(column[destroyed])} is a number that a program has shortened, so "
            f"several {name}s may stand behind it: export the column as text"
        )
        problems.append(_at(frame, destroyed, text))
    short = {one: found[1] for one in names if (found := _EITHER.fullmatch(one))}
    known = {key(one) for one in names} if short else set()
    both = column.isin([one for one, digits in short.items() if key(digits) in known])
    if both.any():
        first = column[both].iloc[0]
        text = (
            f"{name} {quoted(column[both])} may be {short[first]} with decimals or {key(first)}, "
            f"and there is a {name} {short[first]}: write whole numbers without points"
        )
        problems.append(_at(frame, both, text))
    return problems


def _several(names: Iterable[str]) -> list[list[str]]:
    """The names that are there in several spellings, each with all of them, in order."""
    spellings: dict[str, list[str]] = {}
    for one in names:
        spellings.setdefault(key(one), []).append(one)
    return sorted(sorted(own) for own in spellings.values() if len(own) > 1)


def _labels_alike(frame: pd.DataFrame, column: pd.Series) -> list[str]:
    """Labels that read the same, with the rows of all but the commonest spelling."""
    used = (column != "") & (frame["exclude"] != "all")
    counts, problems = column[used].value_counts(), []
    for own in _several(counts.index):
        usual = _usual(own, counts)
        other = used & column.isin(own) & (column != usual)
        spellings = ", ".join(f"{_shown(one)} ({counts[one]})" for one in own)
        text = (
            f"labels {spellings} read the same and would be {len(own)} classes: write them the same"
        )
        problems.append(_at(frame, other, text))
    return problems


def _merged(
    frame: pd.DataFrame, column: pd.Series, names: list[str], name: str
) -> tuple[pd.Series, list[str]]:
    """The column with one spelling for each, and a note on what was joined."""
    several = _several(names)
    if not several:
        return column, []
    counts = column.value_counts()
    usual = {one: _usual(own, counts) for own in several for one in own}
    shown = [" = ".join(map(_shown, own)) for own in several[:3]]
    more = f" and {len(several) - 3} more" if len(several) > 3 else ""
    text = (
        f"{name}s written in several ways count as one each: {', '.join(shown)}{more}; rename "
        f"those that are not the same {name}"
    )
    found = column.isin(list(usual))
    column = column.mask(found, column.map(usual)).astype("str")
    return column, [_at(frame, found, text)]


def _usual(spellings: list[str], counts: pd.Series) -> str:
    """The spelling to keep: one without anything invisible, the commonest, the first by letters."""
    return min(spellings, key=lambda text: (text != visible(text), -counts[text], text))


def _shown(text: str) -> str:
    """In quotes; with escapes where two texts would look equal on the screen."""
    return repr(text) if text == visible(text) and text.isascii() else ascii(text)
