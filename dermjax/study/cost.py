"""What a study cost, from the records of its runs: hours by stage, energy of the devices."""

import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

# Rated power in W by the whole name that the driver gives: an L4 is no L40S, and boards of one
# chip differ by their form. TPU: of a chip, which is one device.
_WATTS = {
    "NVIDIA H200": 700,
    "NVIDIA H200 NVL": 600,
    "NVIDIA H100 80GB HBM3": 700,
    "NVIDIA H100 PCIe": 350,
    "NVIDIA H100 NVL": 400,
    "NVIDIA A100-SXM4-40GB": 400,
    "NVIDIA A100-SXM4-80GB": 400,
    "NVIDIA A100-PCIE-40GB": 250,
    "NVIDIA A100 80GB PCIe": 300,
    "NVIDIA L40S": 350,
    "NVIDIA L40": 300,
    "NVIDIA L4": 72,
    "NVIDIA A40": 300,
    "NVIDIA A30": 165,
    "NVIDIA A10": 150,
    "NVIDIA RTX A6000": 300,
    "NVIDIA RTX 6000 Ada Generation": 300,
    "Tesla V100-SXM2-16GB": 300,
    "Tesla V100-SXM2-32GB": 300,
    "Tesla V100-PCIE-16GB": 250,
    "Tesla V100-PCIE-32GB": 250,
    "Tesla T4": 70,
    "TPU v4": 192,
}
_OWN_STAGES = ("prepare", "finetune", "evaluate")


def cost(results: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Names and values for the page.

    Args:
      results: of the finished runs, as `results.json` has them.
    """
    devices = sorted({f"{r['devices']['count']} x {r['devices']['kind']}" for r in results})
    seconds = {stage: sum(r["seconds"].get(stage, 0) for r in results) for stage in _OWN_STAGES}
    pretrainings = _pretrainings(results)
    seconds["pretrain"] = sum(
        max(run["seconds"]["pretrain"] for run in runs) for runs in pretrainings.values()
    )
    lines = [("devices of a run", ", ".join(devices))]
    lines += [(f"{stage}, hours", f"{value / 3600:.2f}") for stage, value in seconds.items()]
    if pretrainings:
        lines.append(("pretrainings", f"{len(pretrainings)}, each counted once"))
    each = [r["seconds"]["finetune"] for r in results]
    of = "a run, mean of all" if len(each) > 1 else "the run"
    lines.append((f"fine-tuning of {of}, minutes", f"{statistics.mean(each) / 60:.1f}"))
    return [*lines, ("energy", _energy(results, pretrainings))]


def _pretrainings(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs that share each pretraining, by the name of its folder.

    Not by its path: machines see one folder under several.
    """
    shared: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        if one["pretraining"]:
            name = pathlib.PurePosixPath(one["pretraining"].replace("\\", "/")).name
            shared.setdefault(name, []).append(one)
    return shared


def _energy(results, pretrainings) -> str:
    """kWh at the boards' rated power; each run with its own devices."""
    kinds = {one["devices"]["kind"] for one in results}
    if unknown := sorted(kinds - set(_WATTS)):
        return f"not estimated: the rated power of {', '.join(unknown)} is not known here"

    def of_stage(run: dict[str, Any], stage: str) -> float:
        device = run["devices"]
        return run["seconds"].get(stage, 0) * _WATTS[device["kind"]] * device["count"]

    joules = sum(of_stage(run, stage) for run in results for stage in _OWN_STAGES)
    joules += sum(max(of_stage(run, "pretrain") for run in runs) for runs in pretrainings.values())
    watts = ", ".join(f"{kind} {_WATTS[kind]} W" for kind in sorted(kinds))
    said = (
        f"{joules / 3.6e6:.2f} kWh, if all devices drew their rated power ({watts}) in the hours "
        "above. Hosts and cooling are not in it, nor what a stop made void, nor runs that are not "
        "in this report; a run that was continued elsewhere counts with its last devices"
    )
    if any(len({_devices(run) for run in runs}) > 1 for runs in pretrainings.values()):
        said += (
            "; a pretraining that runs on several kinds of devices share counts with the most "
            "powerful of them"
        )
    return said + "."


def _devices(run: dict[str, Any]) -> tuple[str, int]:
    return run["devices"]["kind"], run["devices"]["count"]
