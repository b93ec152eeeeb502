"""What a data set holds, and what in it would make results wrong.

    python -m dermjax.data.audit data=photos.csv --out=audit/
    python -m dermjax.data.audit data=FOLDER --official-split --encoder=runs/mine

prints findings, the gravest first, and writes audit.html, a page that opens offline, and
audit.json: findings with their rows, counts by set, class and further column, photographs that
look alike, and what a share of the labels leaves of each class.
"""

import argparse
import functools
import os
from collections.abc import Callable

from etils import epath

from dermjax.audit import checks
from dermjax.cli import command_line
from dermjax.data import near_duplicates


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where something would be refused."""
    parser = argparse.ArgumentParser(
        prog="python -m dermjax.data.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a CSV, or a folder of a known layout", metavar="data=DATA")
    parser.add_argument("--out", default="audit", help="the folder to write into")
    parser.add_argument("--layout", default="auto")
    parser.add_argument(
        "--unlabelled",
        action="store_false",
        dest="labelled",
        help="no label is needed, as with --config.task=pretrain of a run",
    )
    parser.add_argument("--official-split", action="store_true", help="audit the layout's own sets")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument(
        "--near",
        type=int,
        default=near_duplicates.SURE,
        help=f"bits of {near_duplicates.BITS} that one photograph may differ by",
    )
    parser.add_argument("--allow", nargs="*", default=[], help="as --config.data.allow of a run")
    parser.add_argument("--on-bad-image", default="refuse", help="as of a run")
    parser.add_argument("--redact", default="", help="a CSV of redactions: image,x,y,w,h")
    parser.add_argument("--encoder", default="", help="a run whose encoder finds look-alikes, too")
    given = vars(parser.parse_args(arguments))
    from dermjax.audit import report  # imports jax: help and a mistyped flag need not wait for it

    source = given.pop("source").removeprefix("data=")
    out = epath.Path(os.path.expanduser(given.pop("out")))
    try:
        nearest = _nearest(given.pop("encoder"))
        found = report.run(source, out, nearest=nearest, **given)
    except (ValueError, OSError) as error:
        return command_line.refuse(str(error), error)
    return _print_report(found, out)


def _nearest(run: str) -> Callable | None:
    """What finds the pairs that a run's network takes for alike; None without a run."""
    if not run:
        return None
    from dermjax.experiment import lookalikes  # with all that makes and reads networks

    return functools.partial(lookalikes.nearest_pairs, run=run)


def _print_report(found: dict, out) -> int:
    """Prints the findings; the exit status."""
    for note in found["notes"]:
        print(f"note   {note}")
    for problem in found["problems"]:
        print(f"refuse {problem}")
    for one in found["findings"]:
        print(checks.Finding(**one))
    grave = [one for one in found["findings"] if one["severity"] == "refuse"]
    print(f"{len(found['findings'])} findings, in {out / 'audit.html'} and audit.json")
    return 1 if grave or found["problems"] else 0
