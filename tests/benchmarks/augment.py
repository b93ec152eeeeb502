"""Time of the MoCo-v2 augmentation and of its operations, per image, on one device.

    python tests/benchmarks/augment.py

Pin it to one core (`taskset -c 0`) for figures that compare across machines. The ratio column is
the operation's time over the full chain's; the operations run alone, so they need not add up.
At 512 px on CPU half of the full chain is page faults of glibc's allocator: set
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before the start, as for training.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from dermjax.data import augment, color

CASES = ((96, 64, 16), (160, 128, 16), (512, 512, 4))  # buffer px, output px, batch


def operations(source, target, batch):
    """Builds name -> (jitted function, its arguments); the first is the full chain."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (batch, source, source, 3), np.uint8))
    sizes = jnp.full((batch, 2), source)
    positions = jnp.arange(batch)
    planes = jnp.asarray(rng.random((3, batch, target, target), np.float32))
    crops = jnp.tile(jnp.array([source // 10, 0, source * 7 // 10, source * 8 // 10]), (batch, 1))
    share = jnp.linspace(0.0, 1.0, batch)
    key = jax.random.key(0)
    full = augment.Augmentation(target)
    plain = augment.Augmentation(
        target, jitter_probability=0, grayscale_probability=0, blur_probability=0
    )
    factors = {name: 0.6 + 0.8 * share for name in ("brightness", "contrast", "saturation")}
    order = jnp.array([2, 0, 3, 1])
    batch_of = (key, positions, images, sizes)
    return {
        "full MoCo-v2": (full, batch_of),
        "crop + flip, normalised": (plain, batch_of),
        "warp: crop, flip": (
            lambda i, s, c, f: augment.warp(i, s, c, target, augment.Pose(mirror=f)),
            (images, sizes, crops, share > 0.5),
        ),
        "warp: + rotation": (
            lambda i, s, c, f: augment.warp(
                i, s, c, target, augment.Pose(mirror=f > 0.5, angles=f)
            ),
            (images, sizes, crops, share),
        ),
        "warp: 2x2 samples": (
            lambda i, s, c, f: augment.warp(i, s, c, target, augment.Pose(mirror=f), samples=2),
            (images, sizes, crops, share > 0.5),
        ),
        "jitter, all four": (
            lambda x, o, f, h: color.color_jitter(x, o, **f, hue=h),
            (planes, order, factors, 0.2 * share - 0.1),
        ),
        "brightness": (color.adjust_brightness, (planes, 0.6 + 0.8 * share)),
        "contrast": (color.adjust_contrast, (planes, 0.6 + 0.8 * share)),
        "saturation": (color.adjust_saturation, (planes, 0.6 + 0.8 * share)),
        "hue": (color.adjust_hue, (planes, 0.2 * share - 0.1)),
        "grayscale": (color.grayscale, (planes, share < 0.2)),
        "blur, 13 taps": (color.gaussian_blur, (planes, 2 * share)),
    }


def measure(table, rounds):
    """Returns name -> seconds per call: the minimum over interleaved rounds."""
    compiled = {name: jax.jit(function) for name, (function, _) in table.items()}
    best = dict.fromkeys(table, float("inf"))
    for name, (_, arguments) in table.items():
        compiled[name](*arguments).block_until_ready()
    for _ in range(rounds):
        for name, (_, arguments) in table.items():
            start = time.perf_counter()
            compiled[name](*arguments).block_until_ready()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main():
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="interleaved repetitions")
    rounds = parser.parse_args().rounds
    columns = []
    for source, target, batch in CASES:
        best = measure(operations(source, target, batch), rounds)
        columns.append({name: 1e3 * seconds / batch for name, seconds in best.items()})
    print(f"{jax.devices()[0].device_kind}; ms per image (ratio to the full chain)")
    print(f"{'':24}" + "".join(f"{f'{s} -> {t}':>18}" for s, t, _ in CASES))
    for name in columns[0]:
        cells = (f"{c[name]:9.3f} ({c[name] / c['full MoCo-v2']:5.2f})" for c in columns)
        print(f"{name:24}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
