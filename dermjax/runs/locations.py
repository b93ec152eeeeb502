"""Where things are by default: a run's folder, and the cache that all runs share."""

import os
import pathlib

from dermjax import stores
from dermjax.settings import RunFields
from dermjax.strategies import file_name

_LONGEST_NAME = 60  # characters of a data set's name in that of a folder


def default_workdir(settings: RunFields) -> str:
    """`runs/` and a name made of what distinguishes the runs of a study."""
    parts = [file_name(settings.strategy), settings.scale, source_name(settings)]
    return f"runs/{'-'.join(parts)}-alpha{settings.data.alpha:g}-trial{settings.data.trial}"


def source_name(settings: RunFields) -> str:
    """Network and data set, for the name of a folder."""
    data = pathlib.Path(stores.expanded(settings.data.source))
    model = settings.model.name.replace("efficientnet_", "")
    named = (data.stem if data.suffix else data.name).encode(errors="replace").decode()
    return f"{model}-{named[:_LONGEST_NAME].replace(chr(92), '_')}"


def cache_dir(named: str = "") -> pathlib.Path:
    """Where prepared images, the embedded data and compiled programs are kept between runs.

    Args:
      named: `data.cache_dir` of a run; '': $DERMJAX_CACHE, else a folder of the user's own cache.

    Raises:
      ValueError: it is no folder of a disk.
    """
    named = named or os.environ.get("DERMJAX_CACHE", "")
    if named and stores.is_remote(named):
        raise ValueError(f"cache folder {named}: name one of a disk, crops are mapped into memory")
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(stores.expanded(named or pathlib.Path(base) / "dermjax")).resolve()
