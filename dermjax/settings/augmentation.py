"""A stage's augmentation, as its config has it."""

from ml_collections import ConfigDict

from dermjax import models
from dermjax.data.augment import Augmentation


def make_augmentation(stage: ConfigDict, preprocessing: models.Preprocessing) -> Augmentation:
    """The augmentation of a stage, normalised as the network's weights expect.

    Raises:
      ValueError: a field of `augment` out of its bounds.
    """
    return Augmentation(
        image_size=stage.image_size,
        **stage.augment.to_dict(),
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
