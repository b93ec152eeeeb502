"""Photographs that a trained network takes for alike: the nearest pairs in its features."""

import numpy as np
import pandas as pd

from dermjax.data import images, pipeline
from dermjax.experiment import networks, trained_networks
from dermjax.experiment.predictor import Predictor
from dermjax.runs.locations import cache_dir
from dermjax.runs.run_folder import RunFolder
from dermjax.statistics import neighbours
from dermjax.training import compile_cache, parallel
from dermjax.training.writer import Writer

_NEIGHBOURS = 4  # of each photograph, itself among them


def nearest_pairs(frame: pd.DataFrame, writer: Writer, *, run: str) -> pd.DataFrame:
    """The most similar pairs of files by the cosine of their features.

    Args:
      frame: a scanned manifest's table.
      writer: where progress is shown.
      run: the folder of a finished run: its pretrained encoder, else its fine-tuned network's.

    Returns:
      One row per pair, the most similar first, every file once at most: first, second (index of
      the table), cosine.

    Raises:
      ValueError: the run has no finished network.
    """
    files = frame[(frame["width"] > 0) & (frame["exclude"] != "all")].drop_duplicates("content")
    features = _features(RunFolder.named(run), files["path"].tolist(), writer)
    features = features - features.mean(axis=0)  # what all photographs share says nothing
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count = min(_NEIGHBOURS, len(files))
    cosine, other = map(np.asarray, neighbours.nearest(features, features, count))
    one = np.repeat(np.arange(len(files))[:, None], count, axis=1)
    pairs = pd.DataFrame(
        {
            "first": np.minimum(one, other).ravel(),
            "second": np.maximum(one, other).ravel(),
            "cosine": cosine.ravel().astype(float),
        }
    )
    pairs = pairs[pairs["first"] < pairs["second"]].drop_duplicates(["first", "second"])
    pairs = pairs.reset_index(drop=True)
    pairs = _each_once(pairs.sort_values("cosine", ascending=False, kind="stable"))
    index = files.index.to_numpy()
    return pairs.assign(first=index[pairs["first"]], second=index[pairs["second"]])


def _each_once(pairs: pd.DataFrame) -> pd.DataFrame:
    """Leaves out the pairs of which one photograph stands in a nearer pair."""
    seen: set[int] = set()
    kept = []
    for pair in pairs.itertuples():
        if not {pair.first, pair.second} & seen:
            seen |= {pair.first, pair.second}
            kept.append(pair.Index)
    return pairs.loc[kept]


def _features(run: RunFolder, paths: list[str], writer: Writer) -> np.ndarray:
    """`[len(paths), F]` of whole photographs."""
    settings = run.settings()
    stage = settings.pretrain or settings.finetuning
    variables, step = trained_networks.restore(settings, run, stage.SECTION)
    writer.say(f"look-alikes by the {stage.SECTION} encoder of {run}, step {step}")
    compile_cache.keep_compiled(cache_dir() / "xla")
    devices = parallel.all_devices()
    predictor = Predictor(
        networks.make_encoder(settings, devices),
        _Files(paths, stage.image_size, writer),
        devices,
        networks.recorded_preprocessing(run),
        image_size=stage.image_size,
        batch_size=settings.evaluate.batch_size,
    )
    return predictor(variables, np.arange(len(paths)))


class _Files:
    """Photographs' files, as a predictor asks for them."""

    def __init__(self, paths: list[str], size: int, writer: Writer):
        self._paths, self._side, self._writer = paths, 2 * size, writer

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.asarray(images.read_rgb(self._paths[row], self._side))

    def evaluation_batches(self, rows, *, size: int, interpolation: str, batch_size: int):
        """Every file once, with progress."""
        batches = pipeline.evaluation_batches(
            self,
            rows,
            size=size,
            interpolation=interpolation,
            batch_size=batch_size,
            reading=pipeline.Reading(),
        )
        return self._writer.track(batches, -(-len(rows) // batch_size), "embedding images")
