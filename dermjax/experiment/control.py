"""The control of a pretraining: the same fine-tuning from what the pretraining began with."""

import dataclasses
import time
from typing import Any

from dermjax.experiment.context import RunContext
from dermjax.experiment.evaluate import evaluate
from dermjax.experiment.finetune import finetune
from dermjax.training import stop

FOLDER = "without_pretraining"  # in the run's; has checkpoints, metrics and predictions of its own


def without_pretraining(run: RunContext) -> tuple[dict[str, Any], float]:
    """Fine-tunes on the same labels, with the same seed, and measures on the same test images.

    Of the settings only `finetune.encoder_rate` does not hold where the encoder is random.

    Returns:
      Its measures, and its seconds.

    Raises:
      stop.Interrupted: stopped by a signal; saved.
    """
    run.writer.say("control: the same fine-tuning without pretraining")
    control = dataclasses.replace(run, folder=run.folder.part(FOLDER))
    variables, best_step, seconds = finetune(control, run.beginning.encoder)
    clock = time.monotonic()
    with stop.deferred_signals():
        measured = evaluate(control, variables)
    return measured | {"best_step": best_step}, seconds + time.monotonic() - clock
