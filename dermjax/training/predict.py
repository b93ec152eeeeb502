"""Predictions over a whole set: every image exactly once, on any number of devices."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dermjax.training import stop, watch


def predict_all(
    predict_step: Callable,
    variables: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
    rows: np.ndarray,
) -> np.ndarray:
    """Outputs in the order of `rows`.

    Args:
      predict_step: `(variables, batch) -> {'output' [B, N], 'id' [B]}` over the global batch.
      variables: of the network.
      batches: padded with images of negative id.
      rows: ids expected, each once.

    Returns:
      `[len(rows), N]` float32.

    Raises:
      ValueError: an image is missing or came twice.
      stop.Interrupted: asked to stop, where signals are deferred.
    """
    found, ids = [], []
    with watch.watched():
        for batch in batches:
            stop.check()
            outputs = predict_step(variables, batch)
            real = outputs["id"] >= 0
            found.append(outputs["output"][real])
            ids.append(outputs["id"][real])
            watch.moved()
    found, ids = np.concatenate(found), np.concatenate(ids)
    order = np.argsort(ids, kind="stable")
    if not np.array_equal(ids[order], np.sort(rows)):
        raise ValueError(
            f"{len(rows)} images were to be predicted once each, but {len(ids)} predictions of "
            f"{len(np.unique(ids))} images came back"
        )
    return found[order][np.argsort(np.argsort(rows, kind="stable"), kind="stable")]
