"""What learns from the labels, by the name that a user types."""

import numpy as np
from etils import epath

from dermjax.labelling import fine_tuning
from dermjax.labelling.candidates import Candidates
from dermjax.labelling.learner import Learner, Probe
from dermjax.labelling.settings import FINETUNE, LabelSettings
from dermjax.labelling.source import Source
from dermjax.training.writer import Writer


def make(
    settings: LabelSettings,
    source: Source,
    candidates: Candidates,
    measured: np.ndarray,
    *,
    directory: epath.Path,
    writer: Writer,
) -> Learner:
    """The learner that the settings name, for a pool and the images that it is measured on.

    Args:
      measured: `[V]` int, rows of the data set.
      directory: what a network says after a training is kept in a folder of it.

    Raises:
      ValueError: the run says nothing of fine-tuning, or has not finished its encoder.
    """
    if settings.classifier == FINETUNE:
        return fine_tuning.prepare(
            source,
            candidates.rows,
            measured,
            directory / settings.classifier,
            writer,
            steps=settings.finetune_steps,
        )
    pool = candidates.pool
    return Probe(pool.features, pool.patients, source.features[measured])
