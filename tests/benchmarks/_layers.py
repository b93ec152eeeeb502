"""Every form of the depthwise convolution on one layer, and which form a device should use."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from _timing import Clock
from depthwise import forms
from jax import lax

PARTS = ("forward", "d input", "d kernel")
# Smaller tensors are measured in larger batches on an accelerator: a call that takes less than
# about 50 microseconds would measure its dispatch.
_ENOUGH_BYTES = 2e8


def separate_sums(x, grad, kernel, stride, pads):
    """The kernel's gradient as k * k sums of their own: what a fusing compiler would be given."""
    size, channels = kernel.shape[0], x.shape[-1]
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = ((n - 1) * stride + 1 for n in grad.shape[1:3])
    sums = []
    for i, j in itertools.product(range(size), repeat=2):
        stop = (x.shape[0], i + rows, j + columns, channels)
        part = lax.slice(padded, (0, i, j, 0), stop, (1, stride, stride, 1))
        sums.append(jnp.sum(part.astype(jnp.float32) * grad.astype(jnp.float32), (0, 1, 2)))
    return jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


def all_forms(kernel: int, stride: int, size: int) -> dict:
    """Name -> function of (x, kernel, gradient of the output)."""
    pads = ((kernel // 2, kernel // 2),) * 2
    separate = {"d kernel separate": lambda x, w, g: separate_sums(x, g, w, stride, pads)}
    return {**forms(kernel, stride, size), **separate}


def measure_layer(layer, dtype, batch: int, clock: Clock) -> tuple[dict, dict, int]:
    """Milliseconds of each form on one layer.

    Args:
        layer: (kernel, stride, input size, channels).
        dtype: of the activations; kernels are float32.
        batch: images that the milliseconds are stated for.

    Returns:
        form -> ms per `batch` images, form -> error of those that failed, and the batch that ran.
    """
    kernel, stride, size, channels = layer
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    accelerator = jax.default_backend() != "cpu"
    per_batch = batch * size * size * channels * jnp.dtype(dtype).itemsize
    times = min(16, max(1, round(_ENOUGH_BYTES / per_batch))) if accelerator else 1
    # Repeated noise: drawing a gigabyte would take longer than what is measured.
    noise = np.random.default_rng(0).standard_normal(1_000_003, np.float32)
    narrow = noise.astype(jnp.dtype(dtype))
    x, grad = (
        jnp.asarray(np.resize(narrow, (batch * times, side, side, channels)))
        for side in (size, out)
    )
    weights = jnp.asarray(np.resize(noise, (kernel, kernel, 1, channels)))
    functions = all_forms(kernel, stride, size)

    def compiled(name):
        try:
            return jax.jit(functions[name]).lower(x, weights, grad).compile()
        except Exception as error:  # noqa: BLE001  the other forms are still wanted
            return error

    # XLA chooses a convolution's algorithm by timing: nothing else may compile meanwhile.
    programs = {name: compiled(name) for name in functions if name.endswith("native")}
    rest = [name for name in functions if name not in programs]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        programs |= dict(zip(rest, pool.map(compiled, rest), strict=True))
    found, errors = {}, {}
    for name in functions:
        try:
            if isinstance(programs[name], Exception):
                raise programs[name]
            program = programs[name]
            timing = clock.time_one(lambda program=program: program(x, weights, grad))
            found[name] = 1e3 * timing.seconds / times
        except Exception as error:  # noqa: BLE001
            errors[name] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    return found, errors, batch * times


def describe(milliseconds: dict) -> str:
    """`forward: native .21, shifted .13 (.62x)`; ...: each form's time and its ratio to native."""
    texts = []
    for part in PARTS:
        native = milliseconds.get(f"{part} native")
        cells = []
        for name, ms in milliseconds.items():
            if name.startswith(part):
                ratio = f" ({ms / native:.2f}x)" if native and not name.endswith("native") else ""
                cells.append(f"{name.removeprefix(part + ' ')} {ms:.3g}{ratio}")
        texts.append(f"{part}: {', '.join(cells) or 'none ran'}")
    return "; ".join(texts)


def winners(milliseconds: dict) -> dict[str, str]:
    """part -> its fastest form."""
    of = {part: [n for n in milliseconds if n.startswith(part)] for part in PARTS}
    return {
        part: min(names, key=milliseconds.get).removeprefix(part + " ")
        for part, names in of.items()
        if names
    }
