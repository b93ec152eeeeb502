"""A million rows: read, checked, grouped and split; seconds and memory, and how both grow.

    python tests/benchmarks/manifest.py --rows=1000000

Few files stand behind the rows, so that the table is measured and not the disk.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from PIL import Image

CLASSES, FILES, IMAGES_PER_PATIENT = 10, 200, 4


def write_table(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """A clinic's table: `rows` boxes on a few photographs, several for each patient."""
    rng = np.random.default_rng(0)
    for index in range(FILES):
        coarse = rng.integers(0, 255, (9, 12, 3), np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(
            folder / f"{index}.jpg"
        )
    patients = rows // IMAGES_PER_PATIENT
    patient = rng.integers(0, patients, rows)
    # Photographs belong to patients, as they do: those of one file are one group of patients.
    file = patient % FILES
    label = np.minimum(rng.geometric(0.35, rows) - 1, CLASSES - 1)
    corner = np.arange(rows)
    frame = pd.DataFrame(
        {
            "image": [f"{name}.jpg" for name in file],
            "label": [f"class {name}" for name in label],
            "patient": [f"p{name}" for name in patient],
            # A box of its own for each row, within the photograph.
            "x": corner % 500,
            "y": corner // 500 % 400,
            "w": 40 + corner // 200_000,
            "h": 40,
            "sex": rng.choice(["f", "m", ""], rows),
        }
    )
    frame.to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


def measure(path: str) -> None:
    """One process's figures as JSON: seconds of each part, peak memory of the whole."""
    from dermjax.audit import checks
    from dermjax.data import layouts, splits

    start = time.perf_counter()
    manifest = layouts.load(path, cache_dir=pathlib.Path(path).parent / "cache")
    loaded = time.perf_counter()
    frame = manifest.frame
    # The photographs tie patients together here; the split is measured on the patients alone.
    split = splits.split_by_group(frame["label"], frame["patient"], seed=0)
    made = time.perf_counter()
    checks.audit(manifest, split, checks.alike(manifest))
    counted = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "rows": len(frame),
                "load": loaded - start,
                "split": made - loaded,
                "audit": counted - made,
                "gigabytes": memory / (1 << 20 if sys.platform != "darwin" else 1 << 30),
            }
        )
    )


def main() -> None:
    """Prints one line for a tenth of the rows and one for all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.measure)
    print("rows       load and check   split   audit   peak memory")
    found = []
    for rows in (given.rows // 10, given.rows):
        with tempfile.TemporaryDirectory() as folder:
            path = write_table(pathlib.Path(folder), rows)
            command = [sys.executable, __file__, f"--measure={path}"]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(run.stdout))
        print(
            "{rows:9,} {load:10.1f} s {split:10.1f} s {audit:5.1f} s {gigabytes:8.2f} GB".format(
                **found[-1]
            )
        )
    few, many = found
    print(
        "ten times the rows take: "
        + ", ".join(f"{part} {many[part] / few[part]:.1f} x" for part in ("load", "split", "audit"))
    )


if __name__ == "__main__":
    main()
