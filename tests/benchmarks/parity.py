"""How near our networks are to timm's: a table of relative errors, model by model.

python tests/benchmarks/parity.py                      all models up to B4; about 15 minutes
python tests/benchmarks/parity.py --models resnet18 tf_efficientnet_b7 --no-training

Random weights and statistics, the same in both. Logits and features: ours in float32 at every size
and batch, the largest difference over the largest number. Training: loss, new running statistics
and worst gradient of one step, float64 in both. Needs `pip install -e '.[parity]'`.
"""

import argparse
import sys
import time

import _timm


def main() -> int:
    """Prints a line as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", help="timm's names")
    parser.add_argument("--no-training", action="store_true")
    given = parser.parse_args()
    if missing := _timm.missing():
        print(f"{missing} missing: pip install -e '.[parity]'", file=sys.stderr)
        return 2
    import _parity

    training = ("loss", "statistics", "gradient")
    print(f"{'model':24}{'px':>5}{'batch':>6}{'logits':>11}{'features':>11}", end="")
    print("".join(f"{name:>12}" for name in training))
    start, worst = time.monotonic(), [0.0] * 5
    for name in given.models or _parity.NAMES:
        pair = _parity.pair(name)
        for size in _parity.SIZES:
            for batch in _parity.BATCHES:
                errors = _parity.output_errors(pair, size, batch)
                worst[:2] = map(max, worst[:2], errors)
                print(f"{name:24}{size:5}{batch:6}", *(f"{e:10.1e}" for e in errors), flush=True)
        if not given.no_training:
            errors = [_parity.training_errors(pair)[kind] for kind in training]
            worst[2:] = map(max, worst[2:], errors)
            print(f"{name:57}", *(f"{e:11.1e}" for e in errors), flush=True)
    print(f"{'worst':35}", *(f"{e:10.1e}" for e in worst[:2]), end="")
    print("", *(f"{e:11.1e}" for e in worst[2:]))
    print(f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
