"""Labels that people gave, merged into the table of photographs that they were asked about.

Nobody's label is overwritten: where two differ, that is a conflict, which is listed.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from dermjax import suggestions
from dermjax.data import identity, label_files
from dermjax.data import manifest as tables
from dermjax.data.label_files import CANNOT_TELL, NOT_A_LESION, Answer
from dermjax.data.manifest import Manifest
from dermjax.data.problems import Kind, ManifestError, at_rows, kind_of

KEPT = ("verdict", "labelled_by", "labelled_at")  # columns that the merged table has


@dataclasses.dataclass(frozen=True)
class Merged:
    """A manifest with labels filled in, and what became of every answer."""

    manifest: Manifest
    lines: tuple[str, ...]  # what was done, counted
    conflicts: tuple[str, ...]  # a line each


def merge(
    manifest: Manifest, paths: Sequence[os.PathLike | str], *, new_classes: bool = False
) -> Merged:
    """Fills the labels in that the files give.

    A blank label of the manifest is filled in the manifest's own spelling of the class. A label
    that is there stays: an equal one is counted, another is a conflict. So is what two files say
    differently of one row, which is then left as it was. `cannot tell` leaves the label blank,
    `not a lesion` leaves the row out of everything (`exclude=all`); both stand in the column
    `verdict`. A label fills a row of which somebody could not tell, too.

    Args:
        manifest: A checked table, scanned or not.
        paths: Tables as `label_files.read` takes them.
        new_classes: Labels of classes that the manifest does not have are taken, too.

    Raises:
        ManifestError: All that is wrong with the files, of which nothing is taken then: unknown
            photographs and classes among others.
    """
    files = [label_files.read(path, manifest) for path in paths]
    answers = [answer for file in files for answer in file.answers]
    spellings = _spellings(manifest)
    problems = _in_files(paths, [file.problems for file in files])
    if not new_classes:
        problems += _unknown_classes(answers, spellings, prefixed=len(paths) > 1)
    if problems:
        raise ManifestError(" and ".join(map(str, paths)), problems)
    for answer in answers:
        spellings.setdefault(identity.key(answer.label), answer.label)
    by_row: dict[int, list[Answer]] = {}
    for answer in answers:
        spelled = dataclasses.replace(answer, label=spellings[identity.key(answer.label)])
        by_row.setdefault(answer.place, []).append(spelled)
    merged = _Table(manifest)
    for place in sorted(by_row):
        merged.take(place, by_row[place])
    blank = sum(file.blank for file in files)
    notes = _in_files(paths, [file.notes for file in files])
    return Merged(merged.manifest(), (*notes, merged.summary(blank)), tuple(merged.conflicts))


def still_there(problems: Sequence[str]) -> list[str]:
    """The problems of a manifest that its labels, merged, have not mended."""
    return [line for line in problems if kind_of(line) is not Kind.NO_LABELS]


def _in_files(paths: Sequence, lines: Sequence[Sequence[str]]) -> list[str]:
    """All files' lines; with the names of the files where they are several."""
    named = [f"{os.path.basename(path)}: " if len(paths) > 1 else "" for path in paths]
    return [name + line for name, own in zip(named, lines, strict=True) for line in own]


def _spellings(manifest: Manifest) -> dict[str, str]:
    """Each class as the manifest writes it, by what all its spellings have in common."""
    counts = manifest.frame["label"].value_counts()
    classes = sorted(manifest.classes, key=lambda name: counts[name])  # the commonest last
    return {"": "", **{identity.key(name): name for name in classes}}


def _unknown_classes(
    answers: Sequence[Answer], known: Mapping[str, str], *, prefixed: bool
) -> list[str]:
    """A line for each class of a file that the manifest does not have."""
    found: dict[tuple[str, str], list[int]] = {}
    for answer in answers:
        if identity.key(answer.label) not in known:
            found.setdefault((answer.file, answer.label), []).append(answer.row)
    classes = [name for name in known.values() if name]
    of_table = "" if classes else "; the table has no labels yet"
    return [
        (f"{file}: " if prefixed else "")
        + at_rows(
            rows,
            f"unknown class {label!r}{suggestions.did_you_mean(label, classes)}{of_table}; "
            "correct it, or take it as a new class by --new-classes",
        )
        for (file, label), rows in found.items()
    ]


class _Table:
    """The columns that answers are written to, and the count of what became of them."""

    def __init__(self, manifest: Manifest):
        self._manifest, frame = manifest, manifest.frame
        blank = [""] * len(frame)
        self._columns = {
            name: frame[name].tolist() if name in frame else list(blank)
            for name in ("label", "exclude", *KEPT)
        }
        self._lines, self._names = frame["row"].tolist(), frame["name"].tolist()
        self._table = os.path.basename(str(manifest.source))
        self.conflicts: list[str] = []
        self._filled = self._same = 0
        self._verdicts = dict.fromkeys(label_files.VERDICTS, 0)

    def take(self, place: int, answers: Sequence[Answer]) -> None:
        """Writes what all answers about a row say, unless somebody contradicts."""
        first = answers[0]
        label, verdict = self._columns["label"][place], self._columns["verdict"][place]
        verdict = verdict if verdict in label_files.VERDICTS else ""
        theirs = label or verdict
        said = {(answer.label, answer.verdict) for answer in answers}
        if label:
            same = identity.key(label) == identity.key(first.label)
        else:
            same = bool(verdict) and verdict == first.verdict
        if len(said) > 1:
            stays = f"the table keeps {theirs!r}" if theirs else "left blank"
            self._conflict(place, [_quote(answer) for answer in answers], stays)
        elif same:
            self._same += 1
        elif label or verdict == NOT_A_LESION:
            mine = f"{theirs!r} in {self._table}"
            self._conflict(place, [mine, *map(_quote, answers)], f"{theirs!r} stays")
        else:
            self._write(place, answers)

    def _write(self, place: int, answers: Sequence[Answer]) -> None:
        first = answers[0]
        cells = {
            "label": first.label,
            "verdict": first.verdict,
            "labelled_by": _listed(answer.by for answer in answers),
            "labelled_at": _listed(answer.at for answer in answers),
        }
        if first.verdict == NOT_A_LESION:
            cells["exclude"] = "all"
        for name, cell in cells.items():
            self._columns[name][place] = cell
        if first.verdict:
            self._verdicts[first.verdict] += 1
        else:
            self._filled += 1

    def _conflict(self, place: int, said: Sequence[str], stays: str) -> None:
        self.conflicts.append(
            f"row {self._lines[place]}, {self._names[place]!r}: {', '.join(said)}: {stays}"
        )

    def manifest(self) -> Manifest:
        """The manifest with what was written."""
        return tables.with_frame(self._manifest, self._manifest.frame.assign(**self._columns))

    def summary(self, blank: int) -> str:
        """What became of the answers, in one line."""
        parts = [
            f"filled in {self._filled}",
            f"there already {self._same}",
            f"{CANNOT_TELL!r} {self._verdicts[CANNOT_TELL]} (left unlabelled)",
            f"{NOT_A_LESION!r} {self._verdicts[NOT_A_LESION]} (left out of everything)",
            f"conflicts {len(self.conflicts)}",
            f"rows without an answer {blank}",
        ]
        return f"labels: {', '.join(parts)}"


def _quote(answer: Answer) -> str:
    """`'nevus' in labels.csv (row 3, by Dr Who)`."""
    by = f", by {answer.by}" if answer.by else ""
    return f"{answer.said!r} in {answer.file} (row {answer.row}{by})"


def _listed(texts) -> str:
    """What is not blank, each once, in order."""
    return "; ".join(dict.fromkeys(filter(None, texts)))
