"""What the project takes on GPUs, by their compiler's word: memory, and bytes that are moved.

    pip install -e '.[cuda]'
    python tests/benchmarks/gpu.py --rows=finetune-h200-1-x32,pretrain-a100-8-x32 --out=gpu.jsonl

Compiles the project's own steps for GPUs that are not there, on any x86-64 machine, each in a
process of its own. A row stays in --out as soon as it is there; the same command does the others.
Without the GPU nothing is tuned, cuDNN's own scratch memory is not known, and there is no estimate
of time: told is how long the bytes take that each kernel reads and writes, at the memory's full
rate, which no program reaches. What stays in a cache is counted, too. `accelerator.py` measures.
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

import _gpu_rows  # noqa: E402
import tpu  # noqa: E402  whose files of rows these are, too

DEFAULT = [f"{program}-{gpu}-1-x32" for program in ("finetune", "pretrain") for gpu in ("h200",)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", default=",".join(DEFAULT), help="names with commas between them")
    add("--out", type=pathlib.Path, default=pathlib.Path("gpu.jsonl"), help="where rows are kept")
    add("--model", default="", help="another network than the config's")
    add("--size", type=int, default=0, help="px of all images, instead of the config's")
    add("--one", action="store_true", help=argparse.SUPPRESS)  # in this process, printed as JSON
    args = parser.parse_args()
    try:
        rows = [_gpu_rows.parse_row(name) for name in filter(None, args.rows.split(","))]
    except ValueError as error:
        parser.error(str(error))
    if lacking := _gpu_rows.missing():
        parser.error(lacking)
    if args.one:
        print(json.dumps(_gpu_rows.compile_row(rows[0], args.model, args.size)))
        return
    for row in rows:
        if row.name not in tpu.read(args.out, args.model, args.size):
            tpu.keep(args.out, compiled(row, args.model, args.size))
        print_row(row, tpu.read(args.out, args.model, args.size)[row.name])


def compiled(row, model: str, size: int) -> dict:
    """The row, compiled in a process of its own.

    Raises:
      SystemExit: that process failed, for another reason than that the compiler refused a program.
    """
    print(f"{row.name}: compiling", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--one", f"--rows={row.name}"]
    command += [f"--model={model}", f"--size={size}"]
    environment = os.environ | _gpu_rows.ENVIRONMENT
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{row.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def print_row(row, found: dict) -> None:
    """All about a row."""
    gpu = _gpu_rows.GPUS[row.chip]
    print(f"\n== {row.name}: {found['batch']} images on {row.count} {gpu.name} ==")
    if "error" in found:
        print(f"  does not compile: {found['error']}", flush=True)
        return
    used = tpu.used_bytes(found)
    images = found["batch"] // row.count
    fixed = used - found["bytes"]["temp"]
    most = int(images * (gpu.memory * 1e9 - fixed) / max(1, found["bytes"]["temp"]))
    print(f"  memory: {used / 1e9:.2f} of {gpu.memory:g} GB, of it", end=" ")
    print(", ".join(f"{name} {size / 1e9:.2f}" for name, size in found["bytes"].items()))
    print(f"  largest batch, if temporaries grow with it: about {most} images on a GPU")
    seconds = found["traffic"] / (1e9 * gpu.bandwidth)
    print(f"  {found['traffic'] / 1e9:.2f} GB through its memory, by {found['kernels']:,} kernels:")
    print(f"  {1e3 * seconds:.1f} ms, {found['batch'] / seconds:,.0f} images/s at the very most")
    print(f"  compiled in {found['compile_seconds']:,.0f} s of processors")
    if found["unknown_loops"]:
        print(f"  {found['unknown_loops']} loops of unknown length count as one round each")
    for size, kind, layer, backward in found["dearest"]:
        print(f"  {size / 1e9:8.2f} GB  {kind:12} {layer} {backward}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
