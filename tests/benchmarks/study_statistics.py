"""A study's statistics: whether they hold, by simulation, and what they cost at the paper's size.

    python tests/benchmarks/study_statistics.py [--quick] [--only=coverage] [--out=rows.json]

`coverage`: how many in a hundred 95 % intervals hold the truth of simulated studies (see
`_simulated_study.py`), of these networks and of the strategy, overall and by class. `equal`: how
often strategies of equal expectation differ with p < .05. `saliency`: the same of the saliency page
(`_saliency_null.py`). The others are seconds of 90 runs (3 strategies x 10 label fractions x 3
trials) on 6,910 test images of 10 classes and 2,500 patients; features of 1,792 dimensions. Nothing
is real but the sizes. The simulations take half an hour of a core.
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

import _saliency_null  # noqa: E402
from _report import Report  # noqa: E402
from _simulated_study import CLINICS, Clinic, Strategy, coverage, equal_strategies  # noqa: E402
from sklearn import manifold  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402

from dermjax.statistics import (  # noqa: E402
    bootstrap,
    calibration,
    classification,
    comparison,
    discrimination,
    subgroups,
    tsne,
)

MEASURES = ("accuracy", "macro_precision", "macro_sensitivity")


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a study."""

    images: int
    patients: int
    resamples: int
    fractions: int
    features: int
    studies: int  # simulated ones of each kind
    clinics: int  # of CLINICS


PAPER = Size(
    *(6910, 2500, 2000, 10, 1792),
    studies=500,
    clinics=len(CLINICS),
)
TINY = Size(images=200, patients=60, resamples=50, fractions=2, features=64, studies=3, clinics=2)
STRATEGIES, TRIALS, CLASSES = 3, 3, 10
PARTS = ("coverage", "equal", "saliency", "intervals", "probabilities", "tsne")


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

    def coverage(self):
        """How often 95 % intervals hold the truth, of 1, 3 and 5 trials."""
        for name, patients in list(CLINICS.items())[: self.size.clinics]:
            for trials in (1, 3, 5) if self.size.clinics > 2 else (3,):
                found = coverage(Clinic(patients), trials, self.size.studies)
                groups = {
                    "networks": found.networks,
                    "strategy": found.strategy,
                    "classes of 5 patients or more": found.common,
                    "rarer classes": found.rare,
                }
                for kind, held in groups.items():
                    if not held:
                        continue
                    said = ", ".join(
                        f"{measure} {one.percent:.1f}" for measure, one in held.items()
                    )
                    worst = min(one.percent for one in held.values())
                    id = f"coverage/{name}, {trials} trials, {kind}"
                    self.report.add(id, worst, "% at least", said)

    def equal(self):
        """How often strategies of equal expectation differ: 5 % should."""
        quiet = Strategy(training=0.04, by_class=0.05)
        for name, patients in list(CLINICS.items())[:2]:
            for what, second in (("alike", Strategy()), ("one three times as steady", quiet)):
                for trials in (3, 5):
                    found = equal_strategies(
                        Clinic(patients), Strategy(), second, trials, 2 * self.size.studies
                    )
                    said = ", ".join(
                        f"{measure} {100 * p:.1f} (of these networks "
                        f"{100 * found.networks[measure]:.0f})"
                        for measure, p in found.strategies.items()
                    )
                    self.report.add(
                        f"equal/{name}, {trials} trials, {what}",
                        100 * max(found.strategies.values()),
                        "% at most",
                        f"{said}; sd over trials {found.sd:.3f}",
                    )

    def saliency(self):
        """False findings and coverage of the saliency page."""
        _saliency_null.measure(self.report, min(400, self.size.studies))

    def intervals(self):
        """Every run of a study measured, then every pair of strategies compared."""
        size, pairs = self.size, ((0, 1), (0, 2), (1, 2))
        groups = STRATEGIES * size.fractions
        patients = np.unique(self.patients, return_inverse=True)[1]
        runs = [self.predictions(share) for share in np.linspace(0.6, 0.95, groups)]
        start = time.perf_counter()
        found = [
            classification.overall(name, self.labels, run, patients, CLASSES).strategy()
            for run in runs
            for name in classification.OVERALL
        ]
        for run in runs:
            for name in classification.BY_CLASS:
                every = classification.by_class(name, self.labels, run, patients, CLASSES)
                found += [every.of(index).strategy() for index in range(CLASSES)]
        measured = time.perf_counter()
        ps = [
            comparison.difference(
                name,
                self.labels,
                runs[first * size.fractions + i],
                runs[second * size.fractions + i],
                patients,
                CLASSES,
            ).p_strategy()
            for first, second in pairs
            for i in range(size.fractions)
            for name in MEASURES
        ]
        comparison.holm(ps)
        compared = time.perf_counter()
        what = f"{groups * TRIALS} runs x {size.images:,} images, {len(found)} intervals"
        self.report.add("intervals/runs", measured - start, "s", what)
        self.report.add("intervals/comparisons", compared - measured, "s", f"{len(ps)} pairs, Holm")
        ages = self.rng.integers(0, 9, size.images).astype(str)
        start = time.perf_counter()
        subgroups.break_down(ages, np.unique(ages), self.labels, runs[0], patients, CLASSES)
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
        patients = np.unique(self.patients, return_inverse=True)[1]
        start = time.perf_counter()
        calibration.errors(self.labels, p, weights)
        resampled = time.perf_counter()
        for name in ("auroc", "auprc"):
            discrimination.by_class(name, self.labels, p, patients)
        areas = time.perf_counter()
        hint = f"one run, {self.size.resamples:,} resamples"
        self.report.add("run/calibration resampled", resampled - start, "s", hint)
        self.report.add("run/areas with influences", areas - resampled, "s", "one run")

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
    parser.add_argument("--only", default="", help=", ".join(PARTS))
    parser.add_argument("--studies", type=int, default=0, help="simulated ones of each kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="threads of t-SNE")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file, whole after every row")
    given = parser.parse_args()
    size = TINY if given.quick else PAPER
    size = dataclasses.replace(size, studies=given.studies or size.studies)
    report = Report(given.out, dataclasses.asdict(size), budget=float("inf"))
    benchmark = Benchmark(size, report, given.jobs)
    for name in PARTS:
        if given.only in ("", name):
            report.attempt(name, getattr(benchmark, name))
    print("\n" + report.table())


if __name__ == "__main__":
    main()
