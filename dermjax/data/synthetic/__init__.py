"""Synthetic photographs of ten skin diseases: licence-free, private to nobody, with true masks."""

from dermjax.data.synthetic.dataset import DRAWING, regions_of, write_dataset
from dermjax.data.synthetic.patients import CLASSES, SyntheticSettings

__all__ = ["CLASSES", "DRAWING", "SyntheticSettings", "regions_of", "write_dataset"]
