"""A study's statistics at the paper's size: intervals, comparisons, calibration, t-SNE.

    python tests/benchmarks/study_statistics.py [--quick] [--only=tsne] [--out=rows.json]

90 runs (3 strategies x 10 label fractions x 3 trials) on 6,910 test images of 10 classes and 2,500
patients, 2,000 resamples; features of 1,792 dimensions. Nothing is real but the sizes.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one

from _report import Report  # noqa: E402
from sklearn import manifold  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402

from dermjax.analysis import (  # noqa: E402
    bootstrap,
    calibration,
    comparison,
    discrimination,
    subgroups,
    tsne,
)

MEASURES = ("accuracy", "macro_precision", "macro_sensitivity", "precision", "sensitivity")


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a study."""

    images: int
    patients: int
    resamples: int
    fractions: int
    features: int


PAPER = Size(images=6910, patients=2500, resamples=2000, fractions=10, features=1792)
TINY = Size(images=200, patients=60, resamples=50, fractions=2, features=64)
STRATEGIES, TRIALS, CLASSES = 3, 3, 10


class Benchmark:
    """The measurements; each adds its own rows to the report."""

    def __init__(self, size: Size, report: Report, jobs: int):
        self.size, self.report, self.jobs = size, report, jobs
        self.rng = np.random.default_rng(0)
        self.labels = np.minimum(self.rng.geometric(0.3, size.images) - 1, CLASSES - 1)
        self.patients = self.rng.integers(0, size.patients, size.images)

    def predictions(self, right: float) -> np.ndarray:
        """`[T, B]` answers that are right on that share of the images, and else by chance."""
        shape = (TRIALS, self.size.images)
        wrong = self.rng.integers(0, CLASSES, shape)
        return np.where(self.rng.random(shape) < right, self.labels, wrong)

    def intervals(self):
        """Every run of a study resampled, then every pair of strategies compared."""
        size, pairs = self.size, ((0, 1), (0, 2), (1, 2))
        groups = STRATEGIES * size.fractions
        shares = np.linspace(0.6, 0.95, groups)
        runs = [self.predictions(share) for share in shares]
        start = time.perf_counter()
        weights = bootstrap.patient_weights(self.patients, size.resamples)
        drawn = time.perf_counter()
        found = [bootstrap.resample(self.labels, run, weights, CLASSES) for run in runs]
        estimates = [one.estimate(name) for one in found for name in MEASURES]
        resampled = time.perf_counter()
        ps = [
            comparison.difference(
                found[first * size.fractions + i], found[second * size.fractions + i], name
            ).p
            for first, second in pairs
            for i in range(size.fractions)
            for name in MEASURES[:3]
        ]
        comparison.holm(ps)
        compared = time.perf_counter()
        what = f"{groups * TRIALS} runs x {size.images:,} images x {size.resamples:,} resamples"
        self.report.add("intervals/draws", drawn - start, "s", f"of {size.patients:,} patients")
        self.report.add(
            "intervals/runs", resampled - drawn, "s", f"{what}, {len(estimates)} intervals"
        )
        self.report.add(
            "intervals/comparisons", compared - resampled, "s", f"{len(ps)} pairs, Holm"
        )
        ages = self.rng.integers(0, 90, size.images).astype(str)
        start = time.perf_counter()
        subgroups.break_down(ages, self.labels, runs[0], weights, CLASSES)
        seconds = time.perf_counter() - start
        self.report.add("intervals/subgroups", seconds, "s", "one attribute of 9 decades, 3 trials")

    def probabilities(self):
        """What a run's probabilities are measured by; a study has 90 runs."""
        logits = 2 * np.eye(CLASSES)[self.labels] + self.rng.normal(
            size=(len(self.labels), CLASSES)
        )
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        start = time.perf_counter()
        fitted = calibration.fit_temperature(self.labels, logits)
        for q in (p, calibration.apply_temperature(p, fitted)):
            calibration.calibration_error(self.labels, q)
            calibration.classwise_calibration_error(self.labels, q)
            calibration.brier_score(self.labels, q)
            calibration.log_loss(self.labels, q)
        calibrated = time.perf_counter()
        discrimination.auroc(self.labels, p)
        discrimination.auprc(self.labels, p)
        discrimination.top_k_accuracy(self.labels, p)
        ranked = time.perf_counter()
        self.report.add("run/calibration", calibrated - start, "s", "one run, before and after T")
        self.report.add(
            "run/discrimination", ranked - calibrated, "s", "one run, AUROC, AUPRC, top 3"
        )
        weights = bootstrap.patient_weights(self.patients, self.size.resamples)
        for name, resample in (
            ("calibration", calibration.resample),
            ("discrimination", discrimination.resample),
        ):
            start = time.perf_counter()
            resample(self.labels, p, weights)
            seconds = time.perf_counter() - start
            hint = f"one run, {self.size.resamples:,} resamples"
            self.report.add(f"run/{name} resampled", seconds, "s", hint)

    def tsne(self):
        """dermjax's t-SNE (openTSNE) against scikit-learn's, both of 50 components."""
        centres = self.rng.normal(size=(CLASSES, self.size.features)) / 10
        noise = self.rng.normal(size=(self.size.images, self.size.features))
        features = (centres[self.labels] + noise).astype(np.float32)

        def ours():
            return tsne.embed(features, seed=0, jobs=self.jobs)

        def scikit_learn():
            components = PCA(min(50, *features.shape), random_state=0).fit_transform(features)
            return manifold.TSNE(random_state=0, n_jobs=self.jobs).fit_transform(components)

        k, pictures = min(10, len(features) - 1), {}
        for name, embed in (
            ("openTSNE", ours),
            ("openTSNE again", ours),
            ("scikit-learn", scikit_learn),
        ):
            start = time.perf_counter()
            pictures[name] = embed()
            seconds = time.perf_counter() - start
            purity = tsne.purity(pictures[name], self.labels, k)
            same = np.array_equal(pictures[name], pictures["openTSNE"])
            hint = f"purity {purity.mean:.3f}, by class {purity.macro:.3f}"
            hint += ", the same picture" if same and name != "openTSNE" else ""
            self.report.add(f"tsne/{name}", seconds, "s", hint, purity=purity.mean, same=same)
        start = time.perf_counter()
        purity = tsne.purity(features, self.labels, k)
        silhouette = tsne.silhouette(features, self.labels, seed=0)
        self.report.add(
            "tsne/features",
            time.perf_counter() - start,
            "s",
            f"purity {purity.mean:.3f}, by class {purity.macro:.3f}; silhouette {silhouette:.3f}",
            purity=purity.mean,
        )


def main() -> None:
    """Prints rows as they come and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--only", default="", help="intervals, probabilities or tsne")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="threads of t-SNE")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file, whole after every row")
    given = parser.parse_args()
    size = TINY if given.quick else PAPER
    report = Report(given.out, dataclasses.asdict(size), budget=float("inf"))
    benchmark = Benchmark(size, report, given.jobs)
    for name in ("intervals", "probabilities", "tsne"):
        if given.only in ("", name):
            report.attempt(name, getattr(benchmark, name))
    print("\n" + report.table())


if __name__ == "__main__":
    main()
