"""Rows of a benchmark: on disk after each one, a failure being a row too, a table at the end."""

import gc
import json
import os
import pathlib
import textwrap
import time
import traceback
from collections.abc import Callable

_WIDTH = 132  # columns of the table
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory", "Out of memory")


class Report:
    """Collects rows; the file is whole after every row, so a killed run keeps what it measured.

    Attributes:
        rows: dicts of `id`, `status` (ok, failed or skipped), `value`, `unit`, `hint` and figures.
    """

    def __init__(self, path: pathlib.Path | None, heading: dict, budget: float):
        self.rows: list[dict] = []
        self._path, self._heading = path, heading
        self._start, self._budget = time.monotonic(), budget
        self._write()

    @property
    def seconds(self) -> float:
        """Since the report was begun."""
        return time.monotonic() - self._start

    @property
    def spent(self) -> bool:
        """Whether no further measurement may start."""
        return self.seconds >= self._budget

    def add(self, id: str, value=None, unit="", hint="", status="ok", **figures) -> None:
        """Records one row, prints it and writes the file."""
        row = {"id": id, "status": status, "value": value, "unit": unit, "hint": hint, **figures}
        self.rows.append(row)
        self._write()
        print(f"[{self.seconds:5.0f} s] {id}: {_cell(row)}  {hint}", flush=True)

    def attempt(self, id: str, function: Callable[[], None]) -> str:
        """Runs a measurement that adds its own rows; an error or no time left is a row as well.

        Returns:
            `ok`, `failed`, `out of memory` or `skipped`.
        """
        if self.spent:
            hint = f"not begun: the budget of {self._budget:.0f} s was spent"
            self.add(id, unit="skipped", hint=hint, status="skipped")
            return "skipped"
        try:
            function()
            return "ok"
        except Exception as error:  # noqa: BLE001  whatever it is, the other rows are still wanted
            text = f"{type(error).__name__}: {error}"
            full = any(mark in text for mark in _OUT_OF_MEMORY)
            outcome = "out of memory" if full else "failed"
            hint = " ".join(text.split())[:300]
            self.add(id, unit=outcome, hint=hint, status="failed", traceback=traceback.format_exc())
        finally:
            gc.collect()  # device buffers in reference cycles would count against the next one
        return outcome

    def table(self) -> str:
        """All rows, in sections in the order of their first row."""
        sections = list(dict.fromkeys(row["id"].split("/")[0] for row in self.rows))
        rows = sorted(self.rows, key=lambda row: sections.index(row["id"].split("/")[0]))
        wide = max([len(row["id"]) for row in rows] + [11])
        left = wide + 27
        lines = [f"{'measurement':{wide}}  {'value':>11} {'unit':<12} what it is"]
        for row in rows:
            first, *rest = textwrap.wrap(row["hint"], max(40, _WIDTH - left)) or [""]
            lines.append(
                f"{row['id']:{wide}}  {_number(row['value']):>11} {row['unit']:<12} {first}"
            )
            lines += [" " * left + line for line in rest]
        return "\n".join(lines)

    def _write(self) -> None:
        """Replaces the file as a whole: a reader never meets half of it."""
        if self._path is None:
            return
        content = {**self._heading, "seconds": round(self.seconds, 1), "rows": self.rows}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = self._path.with_name(self._path.name + ".half")
        half.write_text(json.dumps(content, indent=1, default=str))
        os.replace(half, self._path)


def _number(value) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _cell(row: dict) -> str:
    return f"{_number(row['value'])} {row['unit']}"
