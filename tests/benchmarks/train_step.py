"""Times one training step against timm in eager PyTorch on the CPU, in alternating rounds.

python tests/benchmarks/train_step.py --model=efficientnet_b4 --size=128 --batch=8

Prints, per library, the fastest round's wall time and processor time (on a busy machine the latter
to trust), and their ratios: below 1, JAX is faster. Without torch only JAX is timed. One core:
`taskset -c 0 python tests/benchmarks/train_step.py --threads=1`.
"""

import argparse
import ctypes
import time


def keep_freed_memory() -> None:
    """Lets glibc reuse freed memory; XLA frees a step's arena and would fault it in again."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-8, 1)):  # mmap max, trim, arenas
            libc.mallopt(option, value)


keep_freed_memory()  # before the libraries below allocate

import _timm  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from dermjax import models  # noqa: E402

CLASSES, LEARNING_RATE, MOMENTUM = 10, 0.01, 0.9


def jax_step(name, images, labels):
    """A function that runs one step and waits for it."""
    model = models.create(name, num_classes=CLASSES)
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    params, stats = variables["params"], variables["batch_stats"]
    state = params, stats, jax.tree.map(jnp.zeros_like, params)

    def step(state, images, labels):
        params, stats, velocity = state

        def loss(params):
            inputs = {"params": params, "batch_stats": stats}
            logits, new = model.apply(inputs, images, train=True, mutable=["batch_stats"])
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -chosen.mean(), new["batch_stats"]

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        params = jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity)
        return (params, stats, velocity), value

    start = time.time()
    compiled = jax.jit(step, donate_argnums=0).lower(state, images, labels).compile()
    print(f"jax: compiled in {time.time() - start:.1f} s")
    images, labels = jnp.asarray(images), jnp.asarray(labels)

    def run():
        nonlocal state
        state, value = compiled(state, images, labels)
        return float(value)

    return run


def torch_step(name, images, labels, threads):
    """The same in eager PyTorch with channels_last; None where torch or timm is missing."""
    if _timm.missing():
        return None
    import torch

    torch.set_num_threads(threads)
    net = _timm.import_timm().create_model(name, num_classes=CLASSES).train()
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)  # the strides are channels_last already
    targets = torch.from_numpy(labels).long()

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(batch), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet_b4")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    args = parser.parse_args()
    draw = np.random.default_rng(0)
    images = draw.normal(size=(args.batch, args.size, args.size, 3)).astype(np.float32)
    labels = draw.integers(CLASSES, size=args.batch).astype(np.int32)
    steps = {
        "jax": jax_step(args.model, images, labels),
        "torch": torch_step(args.model, images, labels, args.threads),
    }
    steps = {library: step for library, step in steps.items() if step is not None}
    best = {library: [np.inf, np.inf] for library in steps}
    for number in range(args.rounds + 1):
        for library, step in steps.items():
            wall, processor = time.perf_counter(), time.process_time()
            step()
            times = time.perf_counter() - wall, time.process_time() - processor
            if number > 0:  # the first round warms up
                best[library] = [min(pair) for pair in zip(best[library], times, strict=True)]
    print(f"{args.model}, {args.size} pixels, batch {args.batch}, best of {args.rounds} rounds")
    for library, (wall, processor) in best.items():
        print(f"{library:>6}: wall {1e3 * wall:8.1f} ms, processor {1e3 * processor:8.1f} ms")
    if len(best) == 2:
        wall, processor = [a / b for a, b in zip(*best.values(), strict=True)]
        print(f" ratio: wall {wall:8.2f}   , processor {processor:8.2f}")


if __name__ == "__main__":
    main()
