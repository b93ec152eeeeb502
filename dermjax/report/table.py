"""A table of a page: text in cells, for the page, for a data frame and for a paper."""

import dataclasses
from collections.abc import Iterable, Sequence

import pandas as pd


@dataclasses.dataclass(frozen=True)
class Table:
    """A table on a page; `best` marks the cells in bold, and none is where it is empty."""

    heading: str
    caption: str
    header: Sequence[tuple[str, str]]  # words and the definition they link to, '' for none
    rows: Sequence[Sequence[str]]
    best: Sequence[Sequence[bool]] = ()


def unlinked(header: Iterable[str]) -> list[tuple[str, str]]:
    """A header whose words link to no definition."""
    return [(words, "") for words in header]


def as_frame(table: Table) -> pd.DataFrame:
    """The table as it is printed."""
    return pd.DataFrame(table.rows, columns=[words for words, _ in table.header])


def latex(table: Table) -> str:
    """The table for a paper (booktabs), the best values in bold."""
    frame = as_frame(table).map(_escaped)
    for row, marks in enumerate(table.best):
        for column, mark in enumerate(marks):
            if mark:
                frame.iat[row, column] = rf"\textbf{{{frame.iat[row, column]}}}"
    frame.columns = [_escaped(words) for words in frame.columns]
    return frame.to_latex(index=False, escape=False, caption=_escaped(table.heading))


def _escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    special = {sign: "\\" + sign for sign in "&%#_{}$"}
    special |= {"\\": r"\textbackslash{}", "±": r"$\pm$", "–": "--", "−": "$-$"}
    return "".join(special.get(sign, sign) for sign in text)
