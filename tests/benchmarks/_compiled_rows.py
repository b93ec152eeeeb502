"""Tables of programs compiled for machines that are not there: their commands and their files.

A machine's module has ENVIRONMENT for the process that compiles, `parse_row`, `default_rows`,
`missing` (why nothing can be compiled here, or "") and `compile_row` (row, model, size -> what is
told of it).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def parser(description: str, out: str) -> argparse.ArgumentParser:
    """The arguments that all such tables have."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--rows", default="", help="names with commas between them; by default all of --list")
    add("--list", action="store_true", help="names of all rows")
    add("--out", type=pathlib.Path, default=pathlib.Path(out), help="where rows are kept")
    add("--model", default="", help="another network than the config's")
    add("--size", type=int, default=0, help="px of all images, instead of the config's")
    add("--one", action="store_true", help=argparse.SUPPRESS)  # in this process, printed as JSON
    return parser


def fill(parser: argparse.ArgumentParser, machine: Any, script: str, show: Callable) -> dict:
    """Does what the command line asks: rows that are missing are compiled, all are shown.

    Args:
      machine: The module of the machine's rows.
      script: The file of the command, which is started anew for each row.
      show: (row, what is told of it) -> prints it.

    Returns:
      All rows of the file by name; none where nothing was to be filled.
    """
    args = parser.parse_args()
    try:
        rows = [machine.parse_row(name) for name in filter(None, args.rows.split(","))]
    except ValueError as error:
        parser.error(str(error))
    rows = rows or machine.default_rows()
    if args.list:
        print("\n".join(row.name for row in rows))
        return {}
    if lacking := machine.missing():
        parser.error(lacking)
    if args.one:
        print(json.dumps(machine.compile_row(rows[0], args.model, args.size)))
        return {}
    for row in rows:
        if row.name not in read(args.out, args.model, args.size):
            keep(args.out, compiled(row, machine, script, args.model, args.size))
        show(row, read(args.out, args.model, args.size)[row.name])
    return read(args.out, args.model, args.size)


def read(path: pathlib.Path, model: str = "", size: int = 0) -> dict[str, dict]:
    """The rows of a network and image size that are there, by name; of two the later."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {row["row"]: row for row in rows if (row["model"], row["size"]) == (model, size)}


def keep(path: pathlib.Path, found: dict) -> None:
    """Adds a row; one that was cut off before stays alone on its line."""
    cut = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * cut + json.dumps(found) + "\n")


def compiled(row: Any, machine: Any, script: str, model: str, size: int) -> dict:
    """The row, compiled in a process of its own: a large program leaves much memory behind.

    Raises:
      SystemExit: that process failed, for another reason than that the compiler refused a program.
    """
    print(f"{row.name}: compiling", file=sys.stderr, flush=True)
    command = [sys.executable, script, "--one", f"--rows={row.name}"]
    command += [f"--model={model}", f"--size={size}"]
    environment = os.environ | machine.ENVIRONMENT
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{row.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def used_bytes(found: dict) -> int:
    """Of a device's memory; outputs that take an argument's place are not there twice."""
    size = found["bytes"]
    return size["argument"] + size["temp"] + size["output"] - size["alias"]


def largest_batch(found: dict, count: int, memory: float) -> int:
    """Images of a device at which its memory (bytes) would be full; `count` devices share them."""
    fixed = used_bytes(found) - found["bytes"]["temp"]
    return int(found["batch"] // count * (memory - fixed) / max(1, found["bytes"]["temp"]))
