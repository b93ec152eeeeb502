"""The report of a whole study and, apart from it, t-SNE of a panel: seconds and peak memory.

    python tests/benchmarks/study_report.py                 # 90 runs x 6,910 images x 10 classes
    python tests/benchmarks/study_report.py --images=300 --alphas=0.1+1.0 --trials=1

Predictions and features are made up; nothing is trained. On a machine that others use, read the CPU
seconds (of all threads) beside the clock's.
"""

import argparse
import os
import pathlib
import resource
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))


class Watch:
    """Seconds since it was made."""

    def __init__(self):
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self):
        clock, cpu = time.perf_counter() - self.clock, time.process_time() - self.cpu
        return f"{clock:.1f} s, CPU {cpu:.1f} s, load of the machine {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Prints seconds of each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6_910)
    parser.add_argument("--features", type=int, default=1_792)
    parser.add_argument("--alphas", default="+".join(f"{i / 10:g}" for i in range(1, 11)))
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--panels", type=int, default=1, help="of t-SNE that are timed; 0: none")
    given = parser.parse_args()

    from dermjax.study import feature_maps, report, results
    from dermjax.training.writer import Writer
    from tests.study.made_up import changed, write_study

    with tempfile.TemporaryDirectory() as folder:
        settings, runs = write_study(
            folder,
            argument=f"alphas={given.alphas},trials={given.trials}",
            classes=10,
            images=given.images,
            features=given.features,
        )
        directory = runs[0].folder.path.parent.parent
        settings = changed(settings, report__tsne=False)
        watch = Watch()
        report.write_report(settings, directory, runs, {}, Writer())
        print(
            f"report of {len(runs)} runs x {given.images:,} images x 10 classes, "
            f"{settings.report.resamples:,} resamples: {watch}"
        )
        settings = changed(settings, report__tsne=True)
        for run in runs[: given.panels]:
            found, _ = results.collect([run])
            watch = Watch()
            feature_maps.make(settings, directory / "feature_maps", found, Writer())
            print(f"t-SNE of a panel, {given.features:,} features: {watch}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print(f"peak memory {memory:.2f} GB")


if __name__ == "__main__":
    main()
