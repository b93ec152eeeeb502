"""How the processes of one run find each other: what started this one, and what it knows."""

import re
from collections.abc import Mapping
from typing import Any

LOCAL = "DERMJAX_PROCESS"  # HOST:PORT,COUNT,INDEX, as launch/local.sh sets it
_FIRST_PORT, _PORTS = 49_152, 16_384  # those that nobody owns


def arguments(setting: str, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments of `jax.distributed.initialize`; None for a process that is alone.

    Raises:
      ValueError: the setting is not understood.
    """
    if setting == "off":
        return None
    if setting != "auto":
        return _given(setting)
    if LOCAL in environment:
        return _given(environment[LOCAL])
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _slurm(environment)
    # Importing JAX says so where there are TPU chips and their library; the rest JAX asks the VM's
    # metadata, and a VM without other workers is told that it is one of one.
    if environment.get("TPU_ML_PLATFORM") == "JAX" and "TPU_SKIP_MDS_QUERY" not in environment:
        return {}
    return None


def _given(text: str) -> dict[str, Any]:
    match = re.fullmatch(r"(.+:\d+),(\d+),(\d+)", text)
    if not match or not int(match[3]) < int(match[2]):
        raise ValueError(
            f"config.distributed = {text!r} is not understood: off, auto, or HOST:PORT,COUNT,INDEX "
            "with INDEX from 0 to COUNT - 1, as in 10.0.0.1:8476,4,0"
        )
    return _arguments(match[1], int(match[2]), int(match[3]), None)


def _arguments(address: str, count: int, index: int, local: list[int] | None) -> dict[str, Any]:
    return {
        "coordinator_address": address,
        "num_processes": count,
        "process_id": index,
        "local_device_ids": local,
        # Otherwise JAX asks the cluster for what is None, and takes one device of each machine.
        "cluster_detection_method": "deactivate",
    }


def _slurm(environment: Mapping[str, str]) -> dict[str, Any]:
    """A step of several tasks: one for each GPU of a node, or one for each node."""
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", "localhost"))
    # node003 of `node003`, `node003,other7`, `node[003-010,12],other7`.
    host = "".join(re.findall(r"([^,\[]*)(?:\[([^,\-\]]+))?", nodes)[0])
    # Of its own for each job and step: a node may be shared.
    number = int(environment["SLURM_JOB_ID"]) * 31 + int(environment.get("SLURM_STEP_ID", 0))
    visible = [v for v in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if v]
    tasks = int(re.split(r"\D", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))[0])
    # A node's only task has all of its GPUs; SLURM may have given each task its own already.
    own = [int(environment["SLURM_LOCALID"])] if tasks > 1 and len(visible) > 1 else None
    return _arguments(
        f"{host}:{_FIRST_PORT + number % _PORTS}",
        int(environment["SLURM_STEP_NUM_TASKS"]),
        int(environment["SLURM_PROCID"]),
        own,
    )
