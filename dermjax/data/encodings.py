"""Text files as people's programs write them: decoded, or refused where that would be a guess."""

import re
from pathlib import Path

from dermjax.data.problems import ManifestError, quoted

# Letters of Windows-1252 that words of Western Europe's languages are made of; the others are
# seldom there, and often another code's letters.
_LETTERS = "".join(map(chr, (*range(0xC0, 0x100), 0x152, 0x153))).translate(
    dict.fromkeys(map(ord, "ÐÞÝðþý×÷"))
)
_SIGNS = "°µ±§€–—‘’‚“”„…·×½¼¾\xa0«»®™"
_WORD = re.compile(rf"[A-Za-z{_LETTERS}]+")
# What else it may be: the commonest codes that a spreadsheet writes where UTF-8 is not asked for.
_OTHERS = {
    "GB18030": "gb18030",
    "Big5": "big5",
    "Shift_JIS": "cp932",
    "EUC-KR": "cp949",
    "Windows-1251": "cp1251",
    "Windows-1250": "cp1250",
    "Windows-1253": "cp1253",
    "Windows-1254": "cp1254",
    "Mac Roman": "mac_roman",
}
_ALONE = ("", "à", "é", "À", "É")  # letters that are words; others alone may be half a sign
_SHOWN = 3


def read_text(path) -> tuple[str, list[str]]:
    """A text file's content, and a note where its encoding was a guess.

    Args:
        path: UTF-8 (BOM or not), UTF-16 with a BOM, or Windows-1252.

    Raises:
        ManifestError: The file cannot be read, is no text, or is of an encoding that only a guess
            could tell: a wrong one would make other classes and patients.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(path, [f"cannot be read ({error.strerror or error})"]) from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), []
    if b"\0" in data:
        raise ManifestError(path, ["is not a text file: save the table as CSV (UTF-8)"])
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    # What a spreadsheet on a German Windows writes by default.
    text = data.decode("cp1252", "replace")
    if _is_western(text):
        found = quoted([word for word in _WORD.findall(text) if not word.isascii()], _SHOWN)
        shown = f" ({found})" if found else ""
        return text, [f"the table is not UTF-8: read as Windows-1252; check its words{shown}"]
    readings = "; ".join(_readings(data))
    hint = f". Its first words would read {readings}" if readings else ""
    raise ManifestError(
        path,
        [
            "is not UTF-8, and which of the older encodings it is in cannot be told for sure: save "
            f"it as 'CSV UTF-8'{hint}"
        ],
    )


def _is_western(text: str) -> bool:
    """Whether what is not ASCII looks like words and signs of Western Europe."""
    for run in re.finditer(r"[^\x00-\x7f]+", text):
        letters = run.group().strip(_SIGNS)
        around = text[max(run.start() - 1, 0) : run.start()] + text[run.end() : run.end() + 1]
        beside = re.search(r"[A-Za-z]", around) is not None
        if letters in _ALONE and not beside:
            continue
        if letters and (set(letters) - set(_LETTERS) or len(letters) > 2 or not beside):
            return False
    return True


def _readings(data: bytes) -> list[str]:
    """`'银屑病' as GB18030` for every encoding in which the first words are letters."""
    words = re.findall(rb"[^\x00-\x2f:-@\[-^`{-\x7f]*[\x80-\xff][^\n\r,;\t\"]*", data)
    found = []
    for name, code in _OTHERS.items():
        try:
            data.decode(code)
            shown = [word.decode(code).strip() for word in words[:200]]
        except UnicodeDecodeError:
            continue
        odd = [c for c in "".join(shown) if not (c.isascii() or c.isalnum() or c in _SIGNS)]
        if shown and len(odd) <= 0.05 * len("".join(shown)):
            found.append(f"{quoted(shown, 2).partition(' and ')[0]} as {name}")
    return found
