"""What the project takes on TPUs, by their compiler's word: memory, time, and what it costs most.

    pip install -e '.[tpu]'
    python tests/benchmarks/tpu.py --list
    python tests/benchmarks/tpu.py --rows=finetune-v5e-4,pretrain-v4-8-p2 --out=tpu.jsonl

Compiles the project's own steps for chips that are not there, on any x86-64 machine, each in a
process of its own: 10 to 30 minutes of a core for EfficientNet-B4. A row stays in --out as soon as
it is there; the same command does the others, and prints the table of all. Times are the
compiler's estimates of its own instructions, at the clock that the chip's peak implies: a cost
model and no measurement, good for ratios. Collectives and custom calls are not in them.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import _tpu_rows  # noqa: E402

STUDY = 90  # runs: 3 strategies, 10 shares of the labels, 3 trials; SS's have one pretraining
GB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", default="", help="names with commas between them; by default all of --list")
    add("--list", action="store_true", help="names of all rows")
    add("--out", type=pathlib.Path, default=pathlib.Path("tpu.jsonl"), help="where rows are kept")
    add("--model", default="", help="another network than the config's")
    add("--size", type=int, default=0, help="px of all images, instead of the config's")
    add("--one", action="store_true", help=argparse.SUPPRESS)  # in this process, printed as JSON
    args = parser.parse_args()
    try:
        rows = [_tpu_rows.parse_row(name) for name in filter(None, args.rows.split(","))]
    except ValueError as error:
        parser.error(str(error))
    rows = rows or _tpu_rows.default_rows()
    if args.list:
        print("\n".join(row.name for row in rows))
        return
    if lacking := _tpu_rows.missing():
        parser.error(lacking)
    if args.one:
        print(json.dumps(_tpu_rows.compile_row(rows[0], args.model, args.size)))
        return
    for row in rows:
        if row.name not in read(args.out, args.model, args.size):
            keep(args.out, compiled(row, args.model, args.size))
        print_row(row, read(args.out, args.model, args.size)[row.name])
    print_costs(read(args.out, args.model, args.size))


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


def compiled(row: _tpu_rows.Row, model: str = "", size: int = 0) -> dict:
    """The row, compiled in a process of its own: a large program leaves much memory behind.

    Raises:
      SystemExit: that process failed, for another reason than that the compiler refused a program.
    """
    print(f"{row.name}: compiling", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--one", f"--rows={row.name}"]
    command += [f"--model={model}", f"--size={size}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | _tpu_rows.ENVIRONMENT
    )
    if done.returncode:
        raise SystemExit(f"{row.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def seconds(row: _tpu_rows.Row, found: dict) -> float:
    """Of one step, as the compiler estimates its instructions."""
    return found["cycles"] / _tpu_rows.CHIPS[row.chip].hertz


def print_row(row: _tpu_rows.Row, found: dict) -> None:
    """All about a row."""
    chip = _tpu_rows.CHIPS[row.chip]
    print(f"\n== {row.name}: {found['batch']} images on {row.count} {row.chip} ==")
    if "error" in found:
        print(f"  does not compile: {found['error']}", flush=True)
        return
    used, most = used_bytes(found), largest_batch(row, found)
    print(f"  memory of a chip: {used / GB:.2f} of {chip.memory:g} GB, of it", end=" ")
    print(", ".join(f"{name} {size / GB:.2f}" for name, size in found["bytes"].items()))
    print(f"  largest batch, if temporaries grow with it: about {most} images on a chip")
    time = seconds(row, found)
    print(f"  estimated {1e3 * time:.1f} ms ({found['cycles'] / 1e6:.1f} M cycles)", end=", ")
    print(f"{found['batch'] / time:,.0f} images/s")
    by_bytes = found["traffic"] / (1e9 * chip.bandwidth)
    print(
        f"  {found['traffic'] / 1e9:.2f} GB through its memory: {1e3 * by_bytes:.1f} ms", end=", "
    )
    print(f"{found['batch'] / by_bytes:,.0f} images/s if nothing else took time")
    print(f"  copies between layouts: {found['copied']:.1%} of the cycles")
    print(f"  compiled in {found['compile_seconds']:,.0f} s of processors")
    if found["unknown_loops"]:
        print(f"  {found['unknown_loops']} loops of unknown length count as one round each")
    for one in found.get("unbounded", ()):
        print(f"  without an estimate, and not counted: {one}")
    for kind, (count, sent) in sorted(found["collectives"].items()):
        print(f"  {kind}: {count}, {sent / 1e6:,.2f} MB sent by a chip")
    for cycles, kind, shape, layer, backward in found["dearest"]:
        print(f"  {cycles / 1e6:8.2f} M cycles  {kind:12} {shape:60} {layer} {backward}")
    sys.stdout.flush()


def used_bytes(found: dict) -> int:
    """Of a chip's memory; outputs that take an argument's place are not there twice."""
    size = found["bytes"]
    return size["argument"] + size["temp"] + size["output"] - size["alias"]


def largest_batch(row: _tpu_rows.Row, found: dict) -> int:
    """Images of a chip at which its memory would be full."""
    images = found["batch"] // row.count
    fixed = used_bytes(found) - found["bytes"]["temp"]
    free = _tpu_rows.CHIPS[row.chip].memory * GB - fixed
    return int(images * free / max(1, found["bytes"]["temp"]))


def print_costs(rows: dict[str, dict]) -> None:
    """Chip-hours of whole trainings; of a study, with the cheapest pretraining on the same chip."""
    hours = {}
    for name, found in rows.items():
        row = _tpu_rows.parse_row(name)
        if row.kind in ("finetune", "pretrain") and "error" not in found:
            stage = _tpu_rows.load_config(row)[row.kind]
            steps = stage.steps * stage.batch_size / found["batch"]
            hours[row] = steps * seconds(row, found) * row.count / 3600
    if not hours:
        return
    print("\nchip-hours of as many images as the config's training has")
    for row, value in hours.items():
        print(f"  {row.name:28} one training {value:10,.1f}   hours {value / row.count:10,.1f}")
    for row, value in hours.items():
        others = [
            r for r in hours if (r.kind, r.chip, r.scale) == ("pretrain", row.chip, row.scale)
        ]
        if row.kind == "finetune" and others:
            before = min(hours[other] for other in others)
            print(f"  {row.name:28} a study of {STUDY} runs {before + STUDY * value:10,.1f}")


if __name__ == "__main__":
    main()
