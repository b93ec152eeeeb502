"""The control of a pretraining: the same fine-tuning from what the pretraining began with."""

import time
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from dermjax.experiment.dataset import Dataset
from dermjax.experiment.evaluate import evaluate
from dermjax.experiment.finetune import finetune
from dermjax.experiment.networks import Beginning
from dermjax.training import parallel, stop
from dermjax.training.writer import Writer

FOLDER = "without_pretraining"  # in the run's; has checkpoints, metrics and predictions of its own


def without_pretraining(
    config: ConfigDict,
    dataset: Dataset,
    devices: parallel.Devices,
    writer: Writer,
    directory: epath.Path,
    beginning: Beginning,
) -> tuple[dict[str, Any], float]:
    """Fine-tunes on the same labels, with the same seed, and measures on the same test images.

    Of the settings only `finetune.encoder_rate` does not hold where the encoder is random.

    Args:
      directory: the run's folder.
      beginning: what the pretraining began with: random weights, or ImageNet's.

    Returns:
      Its measures, and its seconds.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
    """
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    writer.say("control: the same fine-tuning without pretraining")
    variables, best_step, seconds = finetune(
        config, dataset, devices, writer, folder, beginning.encoder, beginning.preprocessing
    )
    clock = time.monotonic()
    with stop.deferred_signals():
        measured = evaluate(config, dataset, devices, variables, beginning.preprocessing, folder)
    return measured | {"best_step": best_step}, seconds + time.monotonic() - clock
