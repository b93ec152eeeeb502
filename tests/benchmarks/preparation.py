"""Preparation of crops: decoding at a reduced size, workers, kill -9 and resuming, memory.

    python tests/benchmarks/preparation.py

Photographs are drawn by the embedded data set, 3840 x 2160 px, with random boxes. Ratios are
medians over rounds whose windows alternate. Every preparation is started anew, with the allocator
that dermjax takes.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from dermjax.data import images
from dermjax.data.synthetic.patients import SyntheticSettings, plan_photos
from dermjax.data.synthetic.render import render_photo

# Prints what it made and its peak memory; `crops` and settings arrive as JSON.
_PREPARE = """
import json, os, pathlib, re, resource, sys, time
from dermjax.data import builder
settings = json.loads(sys.argv[1])
os.sched_setaffinity(0, settings.pop("cores"))
crops = [builder.Crop(path, tuple(box)) for path, box in settings.pop("crops")]
made = 0
def track(items, total, label):
    global made
    for item in items:
        made += item is not None
        yield item
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
before, start = peak(), time.perf_counter()
builder.prepare(crops=crops, track=track, **settings)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "made": made,
    # Of this process what it took; not by getrusage, which begins with the parent's. Of the workers
    # all, as if each had as much as the largest.
    "peak_mb": (peak() - before) / 1024
    + settings["workers"] * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
}))
"""
# As `dermjax.main` starts.
_ENVIRONMENT = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def photographs(folder, width, height, count=4):
    """Paths of JPEGs, 4:2:0 as cameras have them."""
    settings = SyntheticSettings(lesions=120, seed=0, width=width, height=height)
    plans = plan_photos(settings)[:: len(plan_photos(settings)) // count][:count]
    for number, plan in enumerate(plans):
        path = folder / f"{number}.jpg"
        image = Image.fromarray(np.asarray(render_photo(plan, settings).image))
        image.save(path, "JPEG", quality=92)
        yield str(path)


def boxes(count, width, height):
    """(x, y, w, h) from a fifth of the height to all of it, four to three at most."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        h = int(rng.uniform(0.2, 1) * height)
        w = int(h * rng.uniform(0.75, 4 / 3))
        yield int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h


def decode_in_full(data, box, side):
    """What `images.read_crop` saves: all of the photograph, then the crop."""
    return images.shrink(images.crop(images.read_rgb(data), box), side)


def decoding(crops, side, rounds):
    """Rows of images per CPU second: full and reduced, and what their JPEG costs."""
    files = [(pathlib.Path(path).read_bytes(), box) for path, box in crops]
    ways = {"full decode": decode_in_full, "reduced decode": images.read_crop}
    times, errors = {name: [] for name in ways}, []
    for data, box in files:
        pixels = [np.asarray(way(data, box, side), float) for way in ways.values()]
        errors.append(np.square(pixels[0] - pixels[1]).mean())
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            for data, box in files:
                images.encode_jpeg(way(data, box, side), 95)
            times[name].append((time.process_time() - start) / len(files))
    full, reduced = times.values()
    ratio = statistics.median(a / b for a, b in zip(full, reduced, strict=True))
    worst = 10 * np.log10(255**2 / max(max(errors), 1e-9))
    for name, seconds in times.items():
        print(f"{name:32}{1 / statistics.median(seconds):10.1f} images/s of CPU")
    print(f"{'reduced over full':32}{ratio:10.2f} x; PSNR at least {worst:.1f} dB")


def prepare(folder, crops, **settings):
    """Starts a preparation; what it prints is a JSON line."""
    settings |= {"directory": str(folder), "crops": crops}
    return subprocess.Popen(
        [sys.executable, "-c", _PREPARE, json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT,
    )


def result(process):
    """What a preparation that was left alone has to say."""
    printed, _ = process.communicate()
    return json.loads(printed.splitlines()[-1])


def workers(folder, crops, common, cores, rounds):
    """Rows of one worker on a core, and two on two."""
    counts = (1, 2) if len(cores) > 1 else (1,)
    rates = {count: [] for count in counts}
    for number in range(rounds):
        for count in counts:
            place = folder / f"workers-{number}-{count}"
            settings = common | {"workers": count, "cores": cores[:count]}
            rates[count].append(len(crops) / result(prepare(place, crops, **settings))["seconds"])
    for count, rate in rates.items():
        print(f"{f'prepare, workers {count}':32}{statistics.median(rate):10.1f} images/s")
    if len(counts) == 2:
        ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
        print(f"{'two workers over one':32}{ratio:10.2f} x")


def killing(folder, crops, common):
    """Rows of a preparation that is killed when half of its shards are whole, and goes on."""
    place = folder / "killed"
    process = prepare(place, crops, **common)
    shards = -(-len(crops) // common["shard_size"])
    whole = 0
    while whole < shards // 2 and process.poll() is None:
        time.sleep(0.01)
        whole = len([p for p in place.glob("rows-*") if p.suffix != ".incomplete"])
    process.kill()
    process.communicate()
    resumed = result(prepare(place, crops, **common))
    print(f"{'killed with whole shards':32}{whole:10} of {shards}")
    print(f"{'crops made on resuming':32}{resumed['made']:10} of {len(crops)}")


def memory(folder, crops, common):
    """Rows of how far memory grows in a preparation and in one four times as long."""
    peaks = []
    for times in (1, 4):
        done = result(prepare(folder / f"memory-{times}", crops * times, **common))
        peaks.append(done["peak_mb"])
        print(f"{f'memory taken, {len(crops) * times} crops':32}{done['peak_mb']:10.0f} MB")
    print(f"{'four times as many':32}{peaks[1] / peaks[0]:10.2f} x")


def main():
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=96, help="in every preparation")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved windows of each row")
    parser.add_argument("--side", type=int, default=512, help="px, of a prepared crop")
    parser.add_argument("--quick", action="store_true", help="whether it runs, not how fast")
    options = parser.parse_args()
    width, height = 3840, 2160
    if options.quick:
        width, height = 480, 270
        options.crops, options.rounds, options.side = 8, 1, 64
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = list(photographs(folder, width, height))
        crops = [
            (paths[i % len(paths)], box)
            for i, box in enumerate(boxes(options.crops, width, height))
        ]
        print(f"{width} x {height} px, crops of at most {options.side} px")
        decoding(crops, options.side, options.rounds)
        common = {"max_side": options.side, "workers": min(2, len(cores)), "cores": cores}
        # More: processes take half a second to start, and a clinic has thousands.
        workers(folder, 8 * crops, common, cores, options.rounds)
        killing(folder, crops, common | {"shard_size": max(1, len(crops) // 8)})
        memory(folder, crops, common | {"shard_size": max(1, len(crops) // 4)})


if __name__ == "__main__":
    main()
