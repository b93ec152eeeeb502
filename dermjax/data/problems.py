"""Problems with a user's data: reported all at once, one line each, with row numbers."""

import enum
from collections.abc import Sequence

MAX_LINES = 50


class Kind(enum.Enum):
    """What a problem or a note says, where something depends on it."""

    NO_LABELS = "the table has no column of labels"
    NO_PATIENTS = "the table has no column of patients"
    ROWS = "how many rows lack a patient or a label, and which further columns there are"
    EXCLUDED = "how many rows the table leaves out"
    REDACTED = "how many photographs have redactions"
    FILES = "which files are left out, or not used as they are or as they are named"
    REDACTIONS = "where redactions were read, and how"
    BOXES = "how boxes were read, and which of them are odd"


class Line(str):
    """A problem or a note whose kind is known; wherever text is expected, it is its text.

    What is made of it (another line with a word before it, say) is plain text without a kind.
    """

    kind: Kind

    def __new__(cls, text: str, kind: Kind):
        line = super().__new__(cls, text)
        line.kind = kind
        return line

    def __getnewargs__(self):  # errors go from process to process with their lines
        return str(self), self.kind


def kind_of(line: str) -> Kind | None:
    """The kind of a problem or a note; None where nothing depends on it."""
    return line.kind if isinstance(line, Line) else None


class ManifestError(ValueError):
    """Everything that is wrong with a data set, in one error.

    Args:
        source: The file or folder that the user named.
        problems: One line each, with row numbers and the remedy.
    """

    def __init__(self, source, problems: Sequence[str]):
        self.source, self.problems = str(source), list(problems)
        super().__init__(self.source, self.problems)

    def __str__(self):
        count = len(self.problems)
        lines = [f"{self.source}: {count} problem{'s' * (count != 1)}"]
        lines += [f"- {line}" for line in self.problems[:MAX_LINES]]
        if count > MAX_LINES:
            lines.append(f"... and {count - MAX_LINES} more")
        return "\n".join(lines)


def at_rows(rows, text: str, images=()) -> str:
    """One line for one kind of problem: the first ten row numbers, the count, the text.

    Args:
        rows: Line numbers in the user's file; or these rows of the table, with `row` and `image`.
        text: What is wrong and what to do.
        images: The photographs that these rows name; those that the text does not name already
            stand behind it.
    """
    if hasattr(rows, "columns"):
        rows, images = rows["row"], rows["image"]
    images = [name for name in map(str, images) if name and repr(name) not in text]
    text += f" (in {quoted(images)})" if images else ""
    rows = sorted({int(row) for row in rows})
    if len(rows) == 1:
        return f"row {rows[0]}: {text}"
    more = f" and {len(rows) - 10} more ({len(rows)} rows)" if len(rows) > 10 else ""
    return f"rows {', '.join(map(str, rows[:10]))}{more}: {text}"


def quoted(values, limit: int = 5) -> str:
    """Distinct values in quotes, in order of appearance, at most `limit` of them."""
    values = list(dict.fromkeys(map(str, values)))
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(repr(value) for value in values[:limit]) + more
