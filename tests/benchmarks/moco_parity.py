"""How near our MoCo step is to the official code's, stated in PyTorch: a table of worst errors.

python tests/benchmarks/moco_parity.py              10 steps, both losses, 2 and 4 groups; 20 s
python tests/benchmarks/moco_parity.py --steps 100

Both start from the same weights, images, augmented views, shuffles and queue, and then go their own
way: ours in float32, the reference in float64. A number is the largest of all steps: relative to
the tensor's length, of accuracy, queue (unit norm) and pointer absolute. In a longer run rounding
is magnified step by step, tenfold in about 30. Needs `pip install -e '.[parity]'`.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main() -> int:
    """Prints a column for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    try:
        import torch  # noqa: F401
    except ImportError:
        print("torch missing: pip install -e '.[parity]'", file=sys.stderr)
        return 2
    import _moco_parity

    start, columns = time.monotonic(), {}
    for symmetric in (False, True):
        for groups in (2, 4):
            run = _moco_parity.record(groups, symmetric=symmetric, steps=given.steps)
            steps = list(_moco_parity.errors(run))
            name = f"{'symmetric' if symmetric else 'asymmetric'}, {groups} groups"
            columns[name] = [max(e[q] for e in steps) for q in _moco_parity.QUANTITIES]
    print(f"{f'{given.steps} steps':16}", *(f"{name:>22}" for name in columns))
    for name, row in zip(_moco_parity.QUANTITIES, zip(*columns.values(), strict=True), strict=True):
        print(f"{name:16}", *(f"{error:22.1e}" for error in row))
    print(f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
