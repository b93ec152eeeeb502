"""Choosing what to label: seconds and memory, and how often two random choices are told apart.

    python tests/benchmarks/labelling.py --photographs=50000 --features=1792 --count=1000
    python tests/benchmarks/labelling.py --null=200

Each method chooses in a process of its own, from features around as many centres as a clinic has
kinds of lesions; a tenth of the count is labelled before. `of a core` are the seconds of computing,
which a busy machine hardly lengthens. `--null` repeats the whole simulation of `trial=simulate` in
miniature with two arms that both choose at random: of a test at .05 they may differ in one of
twenty. `--library` measures scikit-activeml's methods, where it is installed.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))

from dermjax.labelling import simulation_results  # noqa: E402
from dermjax.labelling.learner import Probe  # noqa: E402
from dermjax.labelling.methods import METHODS, RANDOM  # noqa: E402
from dermjax.labelling.pool import Pool  # noqa: E402
from dermjax.labelling.rehearsal import Rehearsal, perform  # noqa: E402

CLASSES, KINDS, RANK = 10, 300, 100
LIBRARY = ("TypiClust", "ProbCover")


def clinic(rng: np.random.Generator, images: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit features `[N, F]` of a network's kind, most of whose variance lies in few directions,
    and classes `[N]`."""
    kind = rng.integers(KINDS, size=images)
    rank = min(RANK, size)
    inner = rng.normal(size=(KINDS, rank))[kind] + 0.7 * rng.normal(size=(images, rank))
    features = (inner @ rng.normal(size=(rank, size))).astype(np.float32)
    features += 0.2 * rank**0.5 * rng.normal(size=features.shape).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, kind % CLASSES


def measure(method: str, photographs: int, size: int, count: int) -> None:
    """One process's figures as JSON: seconds of the choice, peak memory of the whole."""
    features, truth = clinic(np.random.default_rng(0), photographs, size)
    labels = np.full(photographs, -1)
    labels[: count // 10] = truth[: count // 10]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start, work = time.perf_counter(), time.process_time()
    if method in LIBRARY:
        from skactiveml import pool as library

        given = np.where(labels < 0, np.nan, labels)
        chosen = getattr(library, method)(random_state=0).query(features, given, batch_size=count)
    else:
        pool = Pool(features, labels, labels < 0, np.arange(photographs) // 4)
        chosen = METHODS[method](pool, count, 0)
    print(
        json.dumps(
            {
                "method": method,
                "chosen": len(chosen),
                "seconds": round(time.perf_counter() - start, 1),
                "of a core": round(time.process_time() - work, 1),
                "gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
                "of them before": round(before, 2),
            }
        )
    )


def null(repeats: int, seeds: int = 5) -> tuple[float, float]:
    """Shares of simulations in which one random choice differs from another, and beats it."""
    differ = beat = 0
    methods = {
        RANDOM: METHODS[RANDOM],
        "again": lambda pool, count, seed: METHODS[RANDOM](pool, count, seed + 500_000),
    }
    for repeat in range(repeats):
        features, truth = clinic(np.random.default_rng([1, repeat]), 520, 24)
        hidden = np.full(400, -1), np.ones(400, bool)
        patients = np.arange(400) // 2
        # One C for speed: how it is chosen is the same for both.
        rehearsal = Rehearsal(
            pool=Pool(features[:400], *hidden, patients),
            learner=Probe(features[:400], patients, features[400:], cs=(1e-2,)),
            truth=truth[:400] % 4,
            labels=truth[400:] % 4,
            patients=np.arange(120) // 2,
            classes=tuple("abcd"),
            start=20,
            count=20,
            rounds=3,
        )
        arms = {
            name: [perform(rehearsal, method, seed) for seed in range(seeds)]
            for name, method in methods.items()
        }
        found = simulation_results.compare(rehearsal, arms)
        differ += found["methods"]["again"]["p_holm"] < simulation_results.LEVEL
        beat += found["best"] != RANDOM
    return differ / repeats, beat / repeats


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=1792)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--methods", default="+".join(METHODS), help="with + between them")
    parser.add_argument("--library", action="store_true")
    parser.add_argument("--null", type=int, default=0, help="repetitions; nothing else is done")
    parser.add_argument("--one", default="", help="internal: measure one method here")
    given = parser.parse_args()
    if strange := sorted(set(given.methods.split("+")) - set(METHODS)):
        parser.error(f"--methods: {', '.join(strange)}; there are {'+'.join(METHODS)}")
    if given.one:
        measure(given.one, given.photographs, given.features, given.count)
        return 0
    if given.null:
        differ, beat = null(given.null)
        print(
            f"{given.null} simulations of two random choices: {100 * differ:.1f} % differ with "
            f"p < .05, in {100 * beat:.1f} % the second beats chance (5 % and 2.5 % are expected)"
        )
        return 0
    failed = False
    for method in [*given.methods.split("+"), *(LIBRARY if given.library else ())]:
        command = [sys.executable, __file__, f"--one={method}"]
        command += [f"--{name}={getattr(given, name)}" for name in ("photographs", "features")]
        done = subprocess.run([*command, f"--count={given.count}"], capture_output=True, text=True)
        failed |= done.returncode != 0
        print(done.stdout.strip() or f"{method}: {done.stderr.strip().splitlines()[-1:]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
