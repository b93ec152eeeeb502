"""What the project takes on GPUs, by their compiler's word: memory, and bytes that are moved.

    pip install -e '.[cuda]'
    python tests/benchmarks/gpu.py --rows=finetune-h200-1-x32,pretrain-a100-8-x32 --out=gpu.jsonl

Compiles the project's own steps for GPUs that are not there, on any x86-64 machine, each in a
process of its own. A row stays in --out as soon as it is there; the same command does the others.
Without the GPU nothing is tuned, cuDNN's own scratch memory is not known, and there is no estimate
of time: told is how long the bytes take that each kernel reads and writes, at the memory's full
rate, which no program reaches. What stays in a cache is counted, too. `accelerator.py` measures.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import _compiled_rows  # noqa: E402
import _gpu_rows  # noqa: E402
from _gpu_rows import GB  # noqa: E402


def main() -> None:
    parser = _compiled_rows.parser(__doc__.splitlines()[0], "gpu.jsonl")
    _compiled_rows.fill(parser, _gpu_rows, __file__, print_row)


def print_row(row, found: dict) -> None:
    """All about a row."""
    gpu = _gpu_rows.GPUS[row.chip]
    print(f"\n== {row.name}: {found['batch']} images on {row.count} {gpu.name} ==")
    if "error" in found:
        print(f"  does not compile: {found['error']}", flush=True)
        return
    used = _compiled_rows.used_bytes(found)
    most = _compiled_rows.largest_batch(found, row.count, gpu.memory * GB)
    print(f"  memory: {used / GB:.2f} of {gpu.memory:g} GB, of it", end=" ")
    print(", ".join(f"{name} {size / GB:.2f}" for name, size in found["bytes"].items()))
    print(f"  largest batch, if temporaries grow with it: about {most} images on a GPU")
    seconds = found["traffic"] / (GB * gpu.bandwidth)
    print(f"  {found['traffic'] / GB:.2f} GB through its memory, by {found['kernels']:,} kernels:")
    print(f"  {1e3 * seconds:.1f} ms, {found['batch'] / seconds:,.0f} images/s at the very most")
    print(f"  compiled in {found['compile_seconds']:,.0f} s of processors")
    if found["unknown_loops"]:
        print(f"  {found['unknown_loops']} loops of unknown length count as one round each")
    for size, kind, layer, backward in found["dearest"]:
        print(f"  {size / GB:8.2f} GB  {kind:12} {layer} {backward}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
