"""Write the table that dermjax makes of a public data set's folder, to look at and to edit.

    python -m dermjax.data.manifest FOLDER --out=photos.csv

`data=photos.csv` takes it in the folder's place. Labels that people have given since are merged by

    python -m dermjax.data.manifest photos.csv --labels=labels.csv --out=photos2.csv

where labels.csv is what the labelling page saves, or a next.csv with its column `label` filled in.
Blank labels are filled; what contradicts a label that is there, or another file, is listed and not
taken (exit status 1). `cannot tell` stays unlabelled, `not a lesion` is left out by exclude=all;
who labelled, and when, is kept in the columns labelled_by and labelled_at.
"""

import argparse
import os
import sys
from pathlib import Path

from dermjax import stores
from dermjax.cli import command_line
from dermjax.data import label_merge, layouts
from dermjax.data import manifest as manifests


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where the table has problems, which are printed for the user to correct."""
    given = _parser().parse_args(arguments)
    lines: tuple[str, ...] = ()
    to_mend: list[str] = []
    try:
        out = Path(os.path.expanduser(given.out))
        labels = [Path(os.path.expanduser(path)) for path in given.labels]
        _check_out(out, given.source, labels)
        manifest, problems = layouts.read(given.source, layout=given.layout, cache_dir=out.parent)
        if labels:
            merged = label_merge.merge(manifest, labels, new_classes=given.new_classes)
            manifest, lines = merged.manifest, merged.lines
            problems = label_merge.still_there(problems)
            to_mend += [f"conflict: {line}" for line in merged.conflicts]
        manifests.write_csv(manifest, out)
    except (ValueError, OSError) as error:
        return command_line.refuse(str(error), error)
    to_mend += [f"to mend: {line}" for line in problems]
    for note in manifest.notes:
        print(f"data: {note}")
    for line in lines:
        print(line)
    frame = manifest.frame
    print(
        f"{given.out}: {len(frame)} rows, {len(manifest.classes)} classes, "
        f"{frame['group'].nunique()} groups"
    )
    for line in to_mend:
        print(line, file=sys.stderr)
    return 1 if to_mend else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermjax.data.manifest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a folder of a known layout, or a CSV")
    parser.add_argument("--out", required=True, help="the CSV to write")
    parser.add_argument("--layout", default="auto")
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="FILE",
        help="a CSV of labels to merge; give it once for each person's file",
    )
    parser.add_argument(
        "--new-classes",
        action="store_true",
        help="take labels of classes that the table does not have; else they are refused",
    )
    return parser


def _check_out(out: Path, source: str, labels: list[Path]) -> None:
    """Merging writes beside what it reads.

    Raises:
        ValueError: --out is the table itself, or a file of labels: what people had typed into it
            would be gone.
    """
    tables = [] if stores.is_remote(source) else [Path(os.path.expanduser(source))]
    for path in [*tables, *labels] if labels else []:
        if os.path.realpath(path) == os.path.realpath(out):
            raise ValueError(
                f"--out={out} would overwrite {path}, which is read: name another file"
            )
