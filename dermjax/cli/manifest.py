"""Write the table that dermjax makes of a public data set's folder, to look at and to edit.

    python -m dermjax.data.manifest FOLDER --out=photos.csv

`data=photos.csv` takes it in the folder's place.
"""

import argparse
import os
import sys
from pathlib import Path

from dermjax.cli import command_line
from dermjax.data import layouts
from dermjax.data import manifest as manifests


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where the table has problems, which are printed for the user to correct."""
    parser = argparse.ArgumentParser(
        prog="python -m dermjax.data.manifest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a folder of a known layout, or a CSV")
    parser.add_argument("--out", required=True, help="the CSV to write")
    parser.add_argument("--layout", default="auto")
    given = parser.parse_args(arguments)
    try:
        out = Path(os.path.expanduser(given.out))
        manifest, problems = layouts.read(given.source, layout=given.layout, cache_dir=out.parent)
        manifests.write_csv(manifest, out)
    except (ValueError, OSError) as error:
        return command_line.refuse(str(error), error)
    for note in manifest.notes:
        print(f"data: {note}")
    frame = manifest.frame
    print(
        f"{given.out}: {len(frame)} rows, {len(manifest.classes)} classes, "
        f"{frame['group'].nunique()} groups"
    )
    for problem in problems:
        print(f"to mend: {problem}", file=sys.stderr)
    return 1 if problems else 0
