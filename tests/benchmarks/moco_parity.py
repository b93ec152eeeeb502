"""How near our MoCo step is to the official code's, stated in PyTorch: a table of worst errors.

python tests/benchmarks/moco_parity.py              10 steps, both losses, 2 and 4 groups; a minute
python tests/benchmarks/moco_parity.py --steps 100

Both start from the same weights, images, augmented views, shuffles and queue, and go their own way
in float32. A number is the largest of all steps: of logits, loss, gradients, parameters and
statistics relative to the largest number of the tensor; of accuracy, queue and pointer absolute.
Needs `pip install -e '.[parity]'`.
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
            worst = dict.fromkeys(_moco_parity.QUANTITIES, 0.0)
            for errors in _moco_parity.errors(groups, symmetric=symmetric, steps=given.steps):
                worst = {name: max(value, errors[name]) for name, value in worst.items()}
            columns["symmetric" if symmetric else "asymmetric", groups] = worst
    print(f"{given.steps} steps{'':8}", *(f"{f'{loss}, {n} groups':>22}" for loss, n in columns))
    for name in _moco_parity.QUANTITIES:
        print(f"{name:16}", *(f"{worst[name]:22.1e}" for worst in columns.values()))
    print(f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
