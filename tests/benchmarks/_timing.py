"""Steady-state times of programs, and what XLA says about them: bytes, operations, memory."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import monitoring

_cache_hits = 0


def _count_hits(event: str, **_) -> None:
    global _cache_hits
    _cache_hits += event == "/jax/compilation_cache/cache_hits"


monitoring.register_event_listener(_count_hits)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median over windows, and the fastest and slowest window's."""

    seconds: float
    fastest: float
    slowest: float
    calls: int  # in each window

    @property
    def spread(self) -> str:
        """Of the windows, in percent of the median."""
        low, high = (100 * (t / self.seconds - 1) for t in (self.fastest, self.slowest))
        return f"windows {low:+.0f} to {high:+.0f} %"


@dataclasses.dataclass(frozen=True)
class Clock:
    """How long to measure."""

    windows: int
    seconds: float  # of one window
    warmup: int = 3  # calls: the first ones choose algorithms and grow the memory pool

    def time(self, calls: Mapping[str, Callable], wait: Mapping[str, Callable]) -> dict:
        """name -> Timing. Windows of different calls alternate, so all meet the same weather.

        Args:
            calls: name -> a function that starts one call and returns something to wait for.
            wait: name -> what waits for it; `jax.block_until_ready` where a name is missing.
        """
        waits = {name: wait.get(name, jax.block_until_ready) for name in calls}
        counts, windows = {}, {name: [] for name in calls}
        for name, call in calls.items():
            for _ in range(self.warmup):
                waits[name](call())
            start = time.perf_counter()
            waits[name](call())
            counts[name] = max(1, round(self.seconds / (time.perf_counter() - start)))
        for _ in range(self.windows):
            for name, call in calls.items():
                start = time.perf_counter()
                for _ in range(counts[name]):
                    result = call()
                waits[name](result)  # a device works in order: the last result is the end of all
                windows[name].append((time.perf_counter() - start) / counts[name])
        return {
            name: Timing(statistics.median(times), min(times), max(times), counts[name])
            for name, times in windows.items()
        }

    def time_one(self, call: Callable) -> Timing:
        """`time` of a single JAX call."""
        return self.time({"": call}, {})[""]


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program ready to run, with the seconds it took and XLA's account of it."""

    call: Callable
    trace_seconds: float
    compile_seconds: float
    from_cache: bool
    flops: float  # of one call, as XLA counts the optimised program; 0 where it does not say
    bytes: float  # read and written by the optimised program's operations
    planned: float  # bytes of memory: arguments, results and temporaries, donated ones once

    def account(self, seconds: float, images: int) -> tuple[str, dict]:
        """XLA's figures per image and per second, as text and as numbers."""
        figures = {
            "gflop_per_image": self.flops / images / 1e9,
            "gb_per_image": self.bytes / images / 1e9,
            "tflop_per_s": self.flops / seconds / 1e12,
            "gb_per_s": self.bytes / seconds / 1e9,
        }
        text = (
            f"XLA counts {figures['gflop_per_image']:.3g} GFLOP and {figures['gb_per_image']:.3g} "
            f"GB an image: {figures['tflop_per_s']:.3g} TFLOP/s, {figures['gb_per_s']:,.0f} GB/s"
        )
        return text, figures


def compile_program(function: Any, *args) -> Compiled:
    """Traces and compiles a jitted function for these arguments."""
    start = time.perf_counter()
    lowered = function.lower(*args)
    traced, hits = time.perf_counter(), _cache_hits
    compiled = lowered.compile()
    done = time.perf_counter()
    cost = _or_none(compiled.cost_analysis) or {}
    cost = cost[0] if isinstance(cost, (list, tuple)) else cost
    memory = _or_none(compiled.memory_analysis)
    planned = 0
    if memory is not None:
        planned = memory.argument_size_in_bytes + memory.output_size_in_bytes
        planned += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    return Compiled(
        call=compiled,
        trace_seconds=traced - start,
        compile_seconds=done - traced,
        from_cache=_cache_hits > hits,
        flops=float(cost.get("flops", 0)),
        bytes=float(cost.get("bytes accessed", 0)),
        planned=float(planned),
    )


def peak_bytes() -> int | None:
    """The most device memory in use since the process began; None where it is not counted."""
    return (_or_none(jax.local_devices()[0].memory_stats) or {}).get("peak_bytes_in_use")


def _or_none(function: Callable):
    """A backend need not know its costs or its memory."""
    try:
        return function()
    except Exception:  # noqa: BLE001  each backend refuses in its own way
        return None
