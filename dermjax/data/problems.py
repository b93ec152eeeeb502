"""Problems with a user's data: reported all at once, one line each, with row numbers."""

from collections.abc import Sequence

MAX_LINES = 50


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
