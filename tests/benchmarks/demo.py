"""The README's first command as a whole: wall time, peak memory, waiting for data, by stage.

python tests/benchmarks/demo.py [--folder=DIR]

Starts with empty caches, as a stranger does; the goals are 6 minutes and 4 GB on 2 cores, and less
than 5 % of the training time spent waiting for data.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time


def main():
    """Runs the demo in a process of its own and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="keep the run here instead of in a temporary folder")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        measure(pathlib.Path(folder or temporary).resolve())


def measure(folder: pathlib.Path) -> None:
    """The demo in `folder`, with its caches beside it."""
    command = [
        *(sys.executable, "-m", "dermjax.main"),
        "--config=configs/ss.py:alpha=0.1,scale=demo",
        f"--workdir={folder / 'run'}",
    ]
    repository = pathlib.Path(__file__).resolve().parents[2]
    environment = os.environ | {"DERMJAX_CACHE": str(folder / "cache")}
    begun = time.monotonic()
    subprocess.run(command, cwd=repository, env=environment, check=True)
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    results = json.loads((folder / "run" / "results.json").read_text())
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    report(wall, used, results, [json.loads(line) for line in lines])


def report(wall: float, used, results: dict, lines: list[dict]) -> None:
    """Prints what the goals speak of, and where the time went."""
    print(f"\n{'wall time':30} {wall / 60:6.1f} min   goal 6")
    print(f"{'peak memory of one process':30} {used.ru_maxrss / 2**20:6.1f} GB    goal 4")
    batch = {"pretrain": 32, "finetune": 32}
    for stage, size in batch.items():
        own = [line for line in lines if line["stage"] == stage]
        steps = own[0]["step"]  # steps between two reports
        training = sum(steps * size / line["images_per_second"] for line in own)
        waiting = sum(line["seconds_waiting_for_data"] for line in own)
        rate = size * own[-1]["step"] / training
        print(f"{stage + ': images/s':30} {rate:6.1f}")
        print(f"{stage + ': waiting for data':30} {100 * waiting / training:6.1f} %     goal 5")
    for stage, seconds in results["seconds"].items():
        print(f"{stage + ': seconds in all':30} {seconds:6.0f}")


if __name__ == "__main__":
    main()
