"""What goes wrong in contrastive pretraining, said in words."""

from collections.abc import Mapping

_COLLAPSED, _NARROW = 0.1, 0.3  # of what embeddings spread over the whole sphere would have
_FLAT = 2.0  # directions


def diagnose(
    scalars: Mapping[str, float], *, dim: int, queue_size: int, images: int, masked: bool
) -> dict[str, str]:
    """Warnings about a pretraining, by a short name each; empty when nothing is wrong.

    Args:
      scalars: of the monitor: `queue_filled`, `queue_std`, `queue_effective_rank`, `knn_accuracy`,
        `majority_accuracy`; what is missing is not judged.
      dim: D of an embedding.
      queue_size: K, keys.
      images: that are trained on.
      masked: whether a query's own image is left out of its negatives.
    """
    found = {}
    # A queue that still holds its first noise says nothing of the encoder.
    real = scalars.get("queue_filled") == 1
    spread = scalars["queue_std"] * dim**0.5 if real else 1.0
    if spread < _COLLAPSED:
        found["collapse"] = (
            "the embeddings have collapsed: those of different photographs are nearly one point "
            f"(standard deviation x sqrt(dim) = {spread:.2f}; 1 when they fill the sphere). A "
            "queue of two steps' keys (--config.pretrain.queue_size=0) with those of the batch "
            "(--config.pretrain.batch_negatives=True), a warm-up or a lower learning rate are the "
            "usual remedies"
        )
    elif spread < _NARROW:
        found["cone"] = (
            "the embeddings lie in a narrow cone (standard deviation x sqrt(dim) = "
            f"{spread:.2f}; 1 when they fill the sphere): little has been learned yet. Longer "
            "training usually opens it; if not, another learning rate"
        )
    elif real and scalars["queue_effective_rank"] < _FLAT:
        found["rank"] = (
            f"the keys have an effective rank of {scalars['queue_effective_rank']:.1f} of {dim}: "
            "they use hardly more than one direction"
        )
    if queue_size >= images and not masked:
        found["queue"] = (
            f"the queue of {queue_size} keys is longer than the {images} training images: each "
            "query meets old keys of its own image as negatives. "
            "--config.pretrain.mask_same_image=True leaves them out, "
            "--config.pretrain.queue_size=0 takes two steps' keys"
        )
    knn, floor = scalars.get("knn_accuracy"), scalars.get("majority_accuracy")
    if knn is not None and floor is not None and knn <= floor:
        found["floor"] = (
            f"nearest neighbours answer no better (accuracy {knn:.3f}) than always naming the "
            f"commonest class ({floor:.3f})"
        )
    return found
