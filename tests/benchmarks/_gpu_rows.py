"""GPUs that are not there: their descriptions, the programs compiled for them, what is read off.

Rows are those of `_tpu_rows`, with GPUs for chips: `finetune-h200-1-x32`.
"""

import dataclasses
import importlib.util
import os

import _tpu_cost
import _tpu_rows
import numpy as np
from jax._src import xla_bridge
from jax.experimental import topologies
from jax.sharding import Mesh

from dermjax.training import parallel

GB = 1e9
COUNTS = (1, 4, 8)
# What a process that compiles needs from its start. Autotuning would need the GPU itself.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false "
    + os.environ.get("XLA_FLAGS", ""),
}
PACKAGES = ("jax_cuda13_plugin", "jax_cuda12_plugin")


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as NVIDIA states it, and its limits as CUDA tells them."""

    name: str
    memory: float  # GB
    bandwidth: float  # GB/s of the memory
    cores: int  # streaming multiprocessors
    capability: tuple[int, int]
    shared: int  # bytes of a core; a block may have 1 kB less
    cache: int  # bytes of the second level
    clock: float  # GHz


GPUS = {
    "a100": Gpu("NVIDIA A100-SXM4-80GB", 80, 2039, 108, (8, 0), 167_936, 41_943_040, 1.41),
    "h100": Gpu("NVIDIA H100 80GB HBM3", 80, 3352, 132, (9, 0), 233_472, 52_428_800, 1.98),
    "h200": Gpu("NVIDIA H200", 141, 4800, 132, (9, 0), 233_472, 52_428_800, 1.98),
}


def description(gpu: Gpu) -> str:
    """The GPU as XLA's compiler takes it (stream_executor.GpuTargetConfigProto, as text)."""
    numbers = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49_152,
        "shared_memory_per_core": gpu.shared,
        "shared_memory_per_block_optin": gpu.shared - 1024,
        "threads_per_core_limit": 2048,
        "core_count": gpu.cores,
        "fpus_per_core": 64 if gpu.capability[0] < 9 else 128,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65_535,
        "block_dim_limit_z": 65_535,
        "registers_per_core_limit": 65_536,
        "registers_per_block_limit": 65_536,
        "memory_bandwidth": int(gpu.bandwidth * GB),
        "l2_cache_size": gpu.cache,
        "clock_rate_ghz": gpu.clock,
        "device_memory_size": int(gpu.memory * GB),
    }
    major, minor = gpu.capability
    limits = " ".join(f"{name}: {value}" for name, value in numbers.items())
    return (
        f"gpu_device_info {{ {limits} "
        f"cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } '
        f'runtime_version {{ major: 12 minor: 8 }} device_description_str: "{gpu.name}"'
    )


def parse_row(name: str) -> _tpu_rows.Row:
    """The row of a name.

    Raises:
      ValueError: no such program, GPU or number of GPUs.
    """
    return _tpu_rows.row_of(name, dict.fromkeys(GPUS, COUNTS), "GPU")


def default_rows() -> list[_tpu_rows.Row]:
    """What is compiled unless rows are named."""
    return [parse_row(f"{program}-h200-1-x32") for program in ("finetune", "pretrain")]


def missing() -> str:
    """Why nothing can be compiled for GPUs here; "" where it can."""
    if not any(map(importlib.util.find_spec, PACKAGES)):
        return (
            "XLA's compiler for GPUs cannot be imported: pip install -e '.[cuda]', or of that only "
            "jax-cuda13-plugin, jax-cuda13-pjrt, nvidia-cuda-nvcc, nvidia-nvvm"
        )
    return ""


def gpus(kind: str, count: int) -> parallel.Devices:
    """GPUs of one machine that are not there, in one row."""
    usual = xla_bridge.canonicalize_platform
    # Without a GPU, JAX does not know that a program for `gpu` is one for `cuda` (its issue 23971).
    xla_bridge.canonicalize_platform = lambda name: "cuda" if name == "gpu" else usual(name)
    topology = topologies.get_topology_desc(
        "", "cuda", target_config=description(GPUS[kind]), topology=f"1x1x{count}"
    )
    return parallel.Devices(Mesh(np.array(topology.devices), (parallel.AXIS,)))


def compile_row(row: _tpu_rows.Row, model: str = "", size: int = 0) -> dict:
    """All that the table says of a row; `error` where the compiler refuses the program.

    Args:
      model, size: another network and image size (px) than the config's.
    """
    devices = gpus(row.chip, row.count)
    found, compiled = _tpu_rows.compile_for(devices, row, model, size, platform="cuda")
    if compiled is None:
        return found
    cost = _tpu_cost.read_cost(compiled.as_text())
    kernels = [one for one in cost.instructions if one.traffic]
    found["kernels"] = sum(one.times for one in kernels)
    found["traffic"] = cost.traffic
    found["unknown_loops"] = cost.unknown_loops
    dearest = sorted(kernels, key=lambda one: -one.traffic * one.times)[:10]
    found["dearest"] = [
        [one.traffic * one.times, one.kind, one.layer, "backward" if one.backward else ""]
        for one in dearest
    ]
    return found
