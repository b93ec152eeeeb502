"""Times every form of the depthwise convolution on each of B4's layers.

python tests/benchmarks/depthwise.py --size=128 --batch=8 [--native=0]

Prints milliseconds (the fastest round) of the forward pass and both gradients per distinct layer,
and their sums over all 32 layers. `--native=0` leaves XLA's convolution out, which takes minutes.
Run it on a new kind of device before trusting the default branch of `depthwise_conv` there.
"""

import argparse
import time
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from dermjax.models import depthwise
from dermjax.models.efficientnet import VARIANTS


def layers(name: str, size: int) -> Counter:
    """How often a network has each (kernel, stride, input size, channels)."""
    network = VARIANTS[name]
    size, width, found = -(-size // 2), network["stem"], Counter()
    for stage in network["stages"]:
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            found[stage.kernel, stride, size, width * stage.expansion] += 1
            size, width = -(-size // stride), stage.width
    return found


def forms(kernel: int, stride: int, size: int) -> dict:
    """Name -> function of (x, kernel, gradient of the output)."""
    pads = ((kernel // 2, kernel // 2),) * 2

    def native(x, w):
        return depthwise.native_forward(x, w, stride, pads)

    def shifted(x, w):
        return depthwise.shifted_forward(x, w, stride, pads)

    return {
        "forward native": lambda x, w, g: native(x, w),
        "forward shifted": lambda x, w, g: shifted(x, w),
        "d input native": lambda x, w, g: jax.vjp(lambda x: native(x, w), x)[1](g),
        "d input phased": lambda x, w, g: depthwise.phased_grad_input(
            g, w, stride, pads, (size, size)
        ),
        "d kernel native": lambda x, w, g: jax.vjp(lambda w: native(x, w), w)[1](g),
        "d kernel reduced": lambda x, w, g: depthwise.reduced_grad_kernel(x, g, w, stride, pads),
    }


def milliseconds(function, args, rounds: int) -> float:
    """The fastest of some calls, after one that compiles."""
    run = jax.jit(function)
    jax.block_until_ready(run(*args))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(run(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet_b4")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--native", type=int, default=1, help="0 leaves XLA's convolution out")
    args = parser.parse_args()
    sums, draw = Counter(), np.random.default_rng(0)
    print(f"{args.model}, {args.size} pixels, batch {args.batch}, {args.dtype}, milliseconds")
    for (kernel, stride, size, channels), count in layers(args.model, args.size).items():
        out = (size + 2 * (kernel // 2) - kernel) // stride + 1
        x, grad = [
            jnp.asarray(draw.normal(size=(args.batch, side, side, channels)), args.dtype)
            for side in (size, out)
        ]
        weights = jnp.asarray(draw.normal(size=(kernel, kernel, 1, channels)), jnp.float32)
        cells = []
        for name, function in forms(kernel, stride, size).items():
            if args.native or not name.endswith("native"):
                time_taken = milliseconds(function, (x, weights, grad), args.rounds)
                sums[name] += count * time_taken
                cells.append(f"{name} {time_taken:.2f}")
        print(f"{count} x k{kernel} s{stride} {size}^2 x {channels}: " + ", ".join(cells))
    print("sum over all layers: " + ", ".join(f"{name} {ms:.0f}" for name, ms in sums.items()))
    if args.native:
        for part, ours in (("forward", "shifted"), ("d input", "phased"), ("d kernel", "reduced")):
            ratio = sums[f"{part} native"] / sums[f"{part} {ours}"]
            print(f"{part}: native / {ours} = {ratio:.1f}")


if __name__ == "__main__":
    main()
