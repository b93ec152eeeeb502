"""What answers on photographs are worth: calibration, sets, augmentation, ensembles, flags.

    python tests/benchmarks/predictions.py study/ss-alpha1 [--other=FOLDER] [--ordinary=FOLDER]

    python tests/benchmarks/predictions.py runs/mine --rate=FOLDER

With --rate: photographs a second of a folder, read, predicted and judged, as a share of what the
network alone does in the same minutes.

Reads a study's trials; their data must still be there. Prints, of the runs' own test images, each
way of answering (one network: means over trials; the ensemble; with and without test-time
augmentation), and the area under the ROC curve by which ways of judging novelty tell the test
images from another data set's photographs, from ordinary ones, and from frames that show nothing.
"""

import argparse
import time

import numpy as np
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from dermjax.data import layouts, pipeline
from dermjax.data.manifest import make_crops
from dermjax.experiment import reference
from dermjax.experiment.dataset import Dataset, as_recorded, prepare
from dermjax.prediction import predict
from dermjax.prediction.calibration import Calibration
from dermjax.prediction.ensemble import Member, members
from dermjax.prediction.photographs import CropsOfFiles
from dermjax.prediction.quality import Quality
from dermjax.runs.locations import cache_dir
from dermjax.statistics import novelty
from dermjax.training import parallel
from dermjax.training.writer import Writer

BATCH = 128
MOST = 800  # photographs of each kind
METHODS = ("knn", "mahalanobis", "relative_mahalanobis")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", help="what the folders of a study's trials begin with")
    parser.add_argument("--other", default="", help="another data set: a folder or a table")
    parser.add_argument("--ordinary", default="", help="a folder of photographs of anything else")
    parser.add_argument("--rate", default="", help="a folder of photographs: measure speed alone")
    given = parser.parse_args()
    networks = members(given.runs)
    if given.rate:
        return show_rate(networks[0], given.rate)
    dataset = as_recorded(prepare(networks[0].settings, Writer(active=False)), networks[0].folder)
    show_answers(networks, dataset)
    show_flags(networks[0], dataset, given)


def show_rate(member: Member, folder: str) -> None:
    """Windows of the network alone and of the whole way, in turns."""
    source = _photographs(folder, member)
    images, batch_size = pipeline.Images(source, pipeline.Reading()), 32
    predictor = member.predictor(parallel.all_devices(), images, batch_size=batch_size)
    known = reference.read(member.folder)
    size = member.image_size
    batch = {
        "image": np.zeros((batch_size, size, size, 3), np.uint8),
        "id": np.arange(batch_size, dtype=np.int32),
    }
    predictor.of_batch(batch)  # compiles
    shares = []
    for _ in range(5):
        began, count = time.perf_counter(), max(len(source) // batch_size, 1)
        for _ in range(count):
            predictor.of_batch(batch)
        alone = count * batch_size / (time.perf_counter() - began)
        began = time.perf_counter()
        batches = predictor.batches(np.arange(len(source)))
        found = sum(far.shape[1] for _, far in predict.outputs([predictor], [known], batches))
        whole = found / (time.perf_counter() - began)
        shares.append(whole / alone)
        print(f"network {alone:.1f}/s, all {whole:.1f}/s: {shares[-1]:.2f}", flush=True)
    print(f"median {np.median(shares):.2f}")


def show_answers(networks: list[Member], dataset: Dataset) -> None:
    """A line for each way of answering."""
    print(
        "\nanswers, temperature, accuracy, macro sensitivity, log loss (raw, calibrated), "
        "ECE (raw, calibrated), coverage at .9, classes in a set"
    )
    for tta in (0, 8):
        references = [_reference(one, dataset, tta) for one in networks]
        lines = [_line([one], networks[0].classes) for one in references]
        print(f"one network, tta {tta}:", *_numbers(np.mean(lines, axis=0)))
        if len(networks) > 1:
            print(
                f"ensemble of {len(networks)}, tta {tta}:",
                *_numbers(_line(references, networks[0].classes)),
            )


def _reference(member: Member, dataset: Dataset, tta: int) -> reference.Reference:
    found = reference.read(member.folder, tta=tta)
    if found is None:
        predictor = member.predictor(parallel.all_devices(), dataset, batch_size=BATCH, tta=tta)
        found = reference.make(predictor, dataset)
        reference.write(member.folder, found, tta=tta)
    return found


def _line(references: list[reference.Reference], classes) -> list[float]:
    fitted = Calibration.fit(references, coverage=0.9, unfamiliar=0.05, sensitivity=0.9)
    quality = Quality.of(fitted, references, classes)
    raw, calibrated = (row for _, row in quality.whole.iterrows())
    whole = quality.sets.iloc[-1]
    return [
        fitted.temperature,
        calibrated["accuracy"],
        calibrated["macro_sensitivity"],
        raw["log_loss"],
        calibrated["log_loss"],
        raw["ECE"],
        calibrated["ECE"],
        whole["coverage"],
        whole["size"],
    ]


def _numbers(values) -> list[str]:
    return [f"{value:.3f}" for value in values]


def show_flags(member: Member, dataset: Dataset, given) -> None:
    """AUROC of each method against each kind of photograph."""
    devices = parallel.all_devices()

    def outputs(images, rows):
        return member.predictor(devices, images, batch_size=BATCH)(rows)

    train = dataset.rows("train", labelled=True)
    known, _ = outputs(dataset, train)
    test_rows = dataset.rows("test", labelled=True)[:MOST]
    test, test_logits = outputs(dataset, test_rows)
    print("\nAUROC of flagging:", ", ".join([*METHODS, "1 - largest probability"]))
    fitted = {name: novelty.fit(known, dataset.labels[train], name) for name in METHODS}
    for kind, source in kinds(member, dataset, given):
        features, logits = outputs(
            pipeline.Images(source, pipeline.Reading()), np.arange(len(source))
        )
        labels = np.r_[np.zeros(len(test)), np.ones(len(features))]
        shares = []
        for name in METHODS:
            far = [novelty.distances(fitted[name], one) for one in (test, features)]
            shares.append(roc_auc_score(labels, np.concatenate(far)))
        unsure = [1 - _largest(one) for one in (test_logits, logits)]
        shares.append(roc_auc_score(labels, np.concatenate(unsure)))
        print(f"{kind} ({len(source)}):", *_numbers(shares))


def _largest(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return 1 / shifted.sum(1)


def kinds(member: Member, dataset: Dataset, given):
    """Name and photographs of each kind that the network should not be asked about."""
    for name in ("other", "ordinary"):
        if folder := getattr(given, name):
            yield name, _photographs(folder, member)
    rng = np.random.default_rng(0)
    side = member.settings.data.max_side
    yield "noise", list(rng.integers(0, 256, (200, side, side, 3), dtype=np.uint8))
    yield (
        "black frames",
        [np.full((side, side, 3), rng.integers(0, 8), np.uint8) for _ in range(50)],
    )
    rows = dataset.rows("test", labelled=True)[:200]
    blurred = [
        ndimage.gaussian_filter(dataset.pixels(row), (side / 8, side / 8, 0)) for row in rows
    ]
    yield "extreme blur", blurred


def _photographs(source: str, member: Member):
    data = member.settings.data
    manifest = layouts.load(
        source,
        labelled=False,
        on_bad_image="skip",
        near=0,
        cache_dir=cache_dir(data.cache_dir) / "scans",
    )
    frame = manifest.frame[manifest.frame["exclude"] != "all"]
    frame = frame.sample(min(MOST, len(frame)), random_state=0)
    return CropsOfFiles(make_crops(frame), data)


if __name__ == "__main__":
    main()
