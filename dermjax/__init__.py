"""dermjax: self-supervised classification of skin photographs with few labels, in JAX and Flax."""

__version__ = "0.1.0"
