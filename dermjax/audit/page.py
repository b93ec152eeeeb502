"""What a data set holds and what is wrong with it, on one offline page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dermjax.report import pages

_ROWS = 20  # of a finding that are named
_SETS = ("train", "validation", "test", "(no set)", "all")


@dataclasses.dataclass(frozen=True)
class Shown:
    """A photograph on the page."""

    pixels: np.ndarray  # [h, w, 3] uint8
    name: str
    label: str  # '' where there is none
    note: str  # set, patient


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two photographs that look alike."""

    photographs: tuple[Shown, Shown]
    note: str  # how alike they are


def render(
    report: dict,
    sheet: Sequence[Shown],
    copies: Sequence[Sequence[Shown]],
    pairs: Mapping[str, Sequence[Pair]],
) -> str:
    """The page as HTML.

    Args:
      report: as the audit of the data gives it, with `problems`.
      sheet: some photographs with their boxes drawn.
      copies: identical files side by side.
      pairs: under `near`, `alike` and `encoder`: photographs taken for one, those that are hardly
        the same, and nearest ones in an encoder's features; each may be left out.
    """
    present = {name for sets in report["classes"].values() for name in sets}
    return pages.render(
        "audit.html",
        title="Audit of " + report["source"],
        facts=_facts(report),
        report=report,
        sets=[name for name in _SETS if name in present],
        refused=report["problems"],
        allowed=[
            f"{f['kind']}: {f['text']}" for f in report["findings"] if f["severity"] == "allowed"
        ],
        findings=[
            finding | {"rows": _shortened(finding["rows"])} for finding in report["findings"]
        ],
        sheet=[sheet[i : i + 6] for i in range(0, len(sheet), 6)],
        copies=copies,
        pairs={
            name: [found[i : i + 3] for i in range(0, len(found), 3)]
            for name, found in pairs.items()
            if found
        },
    )


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How much there is of what."""
    images = report["images"]
    rows, kept = images["rows"], images["rows_kept"]
    files, unreadable = images["files"], images["files"] - images["files_opened"]
    closed = f", {unreadable:,} of them not readable" if unreadable else ""
    facts = [
        ("rows of the table", f"{rows:,}" + (f", {kept:,} kept" if kept != rows else "")),
        ("photographs", f"{files:,}{closed}"),
        ("groups kept together", f"{images['groups']:,}"),
        *((name, _of_known_ids(images[name])) for name in ("patients", "lesions")),
    ]
    for side in ("width", "height"):
        if px := images.get(f"{side}_px"):
            facts.append((side, f"{px['least']} to {px['most']} px, median {px['median']:g}"))
    if images["modes"]:
        facts.append(("files", ", ".join(f"{n:,} {mode}" for mode, n in images["modes"].items())))
    return [*facts, ("fingerprint", report["fingerprint"])]


def _of_known_ids(ids: Mapping[str, Any]) -> str:
    """How many patients or lesions there are, and how many rows each has."""
    if not ids["known"]:
        return "not known"
    of_one = ids["rows_of_one"]
    unknown = f"; unknown on {ids['rows_unknown']:,} rows" if ids["rows_unknown"] else ""
    return (
        f"{ids['known']:,}, of one at most {of_one['most']:,} rows, "
        f"median {of_one['median']:g}{unknown}"
    )


def _shortened(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:_ROWS])) + (" ..." if len(rows) > _ROWS else "")
