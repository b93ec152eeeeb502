"""Host input in training: images/s/core through the pipeline, against a bare loop of its decoder.

    python tests/benchmarks/training_input.py

The bare loop decodes the same bytes, in as many threads, and keeps nothing: no pipeline can do with
less. Windows of one process are taken in turn. Images per second of CPU time, of which a busy
machine takes nothing, counts all that was made; `of the limit` compares it with the bare loop's of
the same round. Images/s is by the clock, from a start with nothing made ahead. Medians.
"""

import argparse
import concurrent.futures
import os
import pathlib
import statistics
import tempfile
import time

import numpy as np
from PIL import Image

from dermjax.cli import command_line
from dermjax.data import images, pipeline
from dermjax.data.crops import ENCODERS
from dermjax.data.records import FORMS

_KEPT = 64  # different images on disk; the pipeline is told of many times more rows
_ROWS = 10_240


class Repeated:
    """A source of many rows that are a few records over and over."""

    def __init__(self, records):
        self._records, self.reads = records, []

    def __len__(self):
        return _ROWS

    def __getitem__(self, row):
        self.reads.append(row)
        return self._records[row % _KEPT]


def crops(side):
    """Images with the look of skin under a JPEG: soft shapes and a little grain; of many shapes."""
    rng = np.random.default_rng(0)
    for _ in range(_KEPT):
        width, height = side, int(side * rng.uniform(0.7, 1))
        soft = Image.fromarray(rng.integers(60, 220, (9, 12, 3), np.uint8))
        soft = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), float)
        pixels = soft + rng.normal(0, 3, (height, width, 1))
        if rng.random() < 0.5:
            pixels = pixels.swapaxes(0, 1)
        yield Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write(folder, side):
    """name of a form -> its records on disk, opened."""
    opened = {}
    for name, form in FORMS.items():
        form = form(side)
        (folder / name).mkdir()
        form.write(folder / name, map(ENCODERS[name], crops(side)), range(_KEPT))
        opened[name] = form.open(folder / name, range(_KEPT))
    return opened


def bare(records, count, *, threads):
    """Seconds by the clock, seconds of CPU an image, of decoding and nothing else."""
    data = [records[place] for place in range(_KEPT)]

    def decode(first):
        for number in range(first, count, threads):
            images.decode(data[number % _KEPT])

    start, spent = time.perf_counter(), time.process_time()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(threads)))
    return time.perf_counter() - start, (time.process_time() - spent) / count


def batches(records, count, *, side, batch_size, threads):
    """Seconds by the clock of `count` images, seconds of CPU an image, through the pipeline."""
    source = Repeated(records)
    start, spent = time.perf_counter(), time.process_time()
    iterator = pipeline.training_batches(
        source,
        np.arange(_ROWS),
        np.zeros(_ROWS, np.int32),
        side=side,
        order=pipeline.Order(batch_size, seed=0),
        reading=pipeline.Reading(threads=threads, prefetch_batches=threads),
    )
    for _ in range(count // batch_size):
        next(iterator)
    seconds = time.perf_counter() - start
    while True:  # until the threads have made the batches that they are at
        before = time.process_time()
        time.sleep(0.05)
        if time.process_time() - before < 0.005:
            return seconds, (time.process_time() - spent) / len(source.reads)


def main():
    """Prints one table."""
    command_line.restart_with_huge_pages()  # as `dermjax.main` does
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512, help="px of the records")
    parser.add_argument("--batch-size", type=int, default=64, help="images")
    parser.add_argument("--images", type=int, default=4096, help="in a window")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved windows of each row")
    parser.add_argument("--quick", action="store_true", help="whether it runs, not how fast")
    options = parser.parse_args()
    if options.quick:
        options.side, options.batch_size, options.images, options.rounds = 64, 8, 64, 2
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        opened = write(pathlib.Path(folder), options.side)
        counts, table = range(1, min(2, len(cores)) + 1), {}
        for threads in counts:
            table["bare decoder", threads] = lambda threads=threads: bare(
                opened["jpeg"], options.images, threads=threads
            )
        for name in FORMS:
            for threads in counts:
                table[name, threads] = lambda name=name, threads=threads: batches(
                    opened[name],
                    options.images,
                    side=options.side,
                    batch_size=options.batch_size,
                    threads=threads,
                )
        spent = {row: [] for row in table}
        for number in range(options.rounds + 1):
            for row, measure in table.items():
                os.sched_setaffinity(0, cores[: row[1]])
                measured = measure()
                if number:  # the first round fills caches
                    spent[row].append(measured)
    print(f"{options.side} px, batches of {options.batch_size}, {options.rounds} windows of each")
    print(f"{'':14}{'threads':>8}{'images/s':>10}{'per CPU s':>11}{'of the limit':>14}")
    for (name, threads), windows in spent.items():
        limit = spent["bare decoder", threads]
        rate = options.images / statistics.median(clock for clock, _ in windows)
        per_cpu = 1 / statistics.median(cpu for _, cpu in windows)
        share = statistics.median(a / b for (_, a), (_, b) in zip(limit, windows, strict=True))
        print(f"{name:14}{threads:>8}{rate:>10,.0f}{per_cpu:>11,.0f}{share:>13.0%}")


if __name__ == "__main__":
    main()
