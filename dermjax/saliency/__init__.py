"""Where a network looks: maps of what in an image speaks for a class."""

from dermjax.saliency.bottleneck import FeatureStatistics, feature_statistics
from dermjax.saliency.input_iba import InputIBASettings, forwards_per_image, iba, input_iba

__all__ = [
    "FeatureStatistics",
    "InputIBASettings",
    "feature_statistics",
    "forwards_per_image",
    "iba",
    "input_iba",
]
