"""The compile cache: programs of XLA that one process has compiled serve later ones."""

import os
import pathlib

import jax


def keep_compiled(folder: pathlib.Path) -> None:
    """Programs that took over a second to compile are kept in `folder` for later processes.

    Whoever has given JAX a folder of its own for them ($JAX_COMPILATION_CACHE_DIR), and a least
    time ($JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS), has these.
    """
    for name, value in (
        ("jax_compilation_cache_dir", str(folder)),
        ("jax_persistent_cache_min_compile_time_secs", 1.0),
    ):
        if name.upper() not in os.environ:
            jax.config.update(name, value)
