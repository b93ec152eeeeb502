"""dermjax: self-supervised classification of skin photographs with few labels, in JAX and Flax."""

__version__ = "0.1.0"
_MODELS = ("create_model", "list_models", "save_weights")
__all__ = [*_MODELS, "load"]


def __getattr__(name: str):
    """The public functions, imported on first use: `--help` need not wait for jax."""
    if name in _MODELS:
        from dermjax import models

        return getattr(models, name)
    if name == "load":
        from dermjax.prediction.classifier import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
