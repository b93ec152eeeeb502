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

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import _compiled_rows  # noqa: E402
import _tpu_rows  # noqa: E402

STUDY = 90  # runs: 3 strategies, 10 shares of the labels, 3 trials; SS's have one pretraining
GB = 2**30


def main() -> None:
    parser = _compiled_rows.parser(__doc__.splitlines()[0], "tpu.jsonl")
    print_costs(_compiled_rows.fill(parser, _tpu_rows, __file__, print_row))


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
    used = _compiled_rows.used_bytes(found)
    most = _compiled_rows.largest_batch(found, row.count, chip.memory * GB)
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
