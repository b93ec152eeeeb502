"""A run's folder: whose config it belongs to, who is working in it, where the caches are."""

import contextlib
import io
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import filelock
from etils import epath
from ml_collections import ConfigDict

from dermjax import atomic, stores
from dermjax.strategies import file_name
from dermjax.training import processes
from dermjax.training.writer import Writer

RESULTS = "results.json"
_CONFIG = "config.json"
_LOCK = ".lock"
_LONGEST_NAME = 60  # characters of a data set's name in that of a folder
# Fields that say where and how it is computed, not what: the results are the same to rounding.
_WITHOUT_EFFECT = ("accumulate_steps", "distributed", "patience")
# Fields that folders of earlier versions lack, with what those did: of a run, and of a study.
SINCE = {
    "control": False,
    "pretrain.repeat": 0,
    "pretrain.head_norm": False,
    "pretrain.positives": "image",
    "data.synthetic.tail": 1.0,
    "finetune.encoder_rate": 1.0,
}
_STUDY_SINCE = {"pretrainings": 1, **{f"run.{field}": value for field, value in SINCE.items()}}


def default_workdir(config: ConfigDict) -> str:
    """`runs/` and a name made of what distinguishes the runs of a study."""
    parts = [file_name(config.strategy), config.scale, source_name(config)]
    return f"runs/{'-'.join(parts)}-alpha{config.data.alpha:g}-trial{config.data.trial}"


def source_name(config: ConfigDict) -> str:
    """Network and data set, for the name of a folder."""
    data = pathlib.Path(stores.expanded(config.data.source))
    model = config.model.name.replace("efficientnet_", "")
    named = (data.stem if data.suffix else data.name).encode(errors="replace").decode()
    return f"{model}-{named[:_LONGEST_NAME].replace(chr(92), '_')}"


def cache_dir(config: ConfigDict | None = None) -> pathlib.Path:
    """Where prepared images, the embedded data and compiled programs are kept between runs.

    Raises:
      ValueError: it is no folder of a disk.
    """
    named = (config and config.data.cache_dir) or os.environ.get("DERMJAX_CACHE")
    if named and stores.is_remote(named):
        raise ValueError(f"cache folder {named}: name one of a disk, crops are mapped into memory")
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(stores.expanded(named or pathlib.Path(base) / "dermjax")).resolve()


def read_config(directory: epath.Path) -> ConfigDict:
    """The config of the run in a folder; fields that came after it have what it did without them.

    Raises:
      ValueError: there is none.
    """
    path = directory / _CONFIG
    if not path.exists():
        raise ValueError(f"{directory} is not the folder of a run: it has no {_CONFIG}")
    config = ConfigDict(json.loads(path.read_text()))
    for field, value in SINCE.items():
        *sections, name = field.split(".")
        section = config
        for part in sections:
            section = section.get(part, {})
        if section and name not in section:
            section[name] = value
    return config


def check_claim(directory: epath.Path, config: dict) -> None:
    """Whether a folder is free, or belongs to this very config.

    Raises:
      ValueError: it belongs to another config; names the fields that differ.
    """
    path = directory / _CONFIG
    if not path.exists():
        return
    differing = _differences(json.loads(path.read_text()), json.loads(json.dumps(config)))
    if differing:
        raise ValueError(
            f"{directory} holds a run of another config ({'; '.join(differing)}); "
            "take another --workdir, or set these fields back"
        )


def claim(directory: epath.Path, config: dict) -> None:
    """Writes `config.json` into a folder that is free; raises as `check_claim` where it is not."""
    check_claim(directory, config)
    write_text(directory / _CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_text(path: epath.Path, text: str) -> None:
    """The whole text under its name, as UTF-8, or nothing."""
    with whole_file(path) as file:
        # A file name that is no Unicode holds surrogates, which UTF-8 refuses.
        file.write(text.encode(errors="replace"))


@contextlib.contextmanager
def whole_file(path: epath.Path) -> Iterator[BinaryIO]:
    """Opens a file that gets its name when it is complete: a killed process leaves no half file.

    Of several processes that train together, the first one writes; what the others write is lost.
    """
    if not processes.is_first():
        yield io.BytesIO()
        return
    if stores.is_remote(path):
        whole = io.BytesIO()  # an object that is closed counts, also after an error
        yield whole
        path.write_bytes(whole.getvalue())
        return
    with atomic.replace(path) as beside, beside.open("wb") as file:
        yield file


@contextlib.contextmanager
def exclusive(directory: epath.PathLike, writer: Writer, *, wait: bool) -> Iterator[None]:
    """Nobody else works in `directory` meanwhile; a process that dies lets go of it.

    An object store has no locks: there, nobody is kept out. `launch/tpu_vm.sh study` gives each VM
    runs of its own instead.

    Args:
      wait: for the other process to finish, rather than refusing. Who does not wait leaves nothing
        behind where nothing was done: neither the lock nor the folders that were made for it.

    Raises:
      ValueError: another process is at work there, and `wait` is false.
    """
    directory = epath.Path(directory)
    if stores.is_remote(directory):
        yield
        return
    path = pathlib.Path(directory) / _LOCK
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise ValueError(
                f"another process is running in {directory}; wait for it, or take another --workdir"
            ) from None
        writer.say(f"another process is at work in {directory}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        if not wait:  # a process that waits would miss the file that it waits for
            with contextlib.suppress(OSError):  # Windows does it itself, on release
                path.unlink()
        lock.release()
        if not wait:
            _remove_empty(made)


@contextlib.contextmanager
def exclusive_together(directory: epath.PathLike, writer: Writer, *, wait: bool) -> Iterator[None]:
    """`exclusive` of all processes that train together: the first one has the lock for them.

    Raises:
      ValueError: as `exclusive`, in all of them; or they do not see the same folder.
    """
    with contextlib.ExitStack() as stack:
        held = exclusive(directory, writer, wait=wait)
        processes.first_does(lambda: stack.enter_context(held))
        # A folder of a bucket, which all see, is there when something lies in it.
        seen = stores.is_remote(directory) or epath.Path(directory).exists()
        if not processes.all_true(seen):
            raise ValueError(
                f"not all processes see {directory}, which process 0 has made: they need a folder "
                "on a disk that they share, or in a bucket"
            )
        yield


@contextlib.contextmanager
def exclusive_in_turn(directory: epath.PathLike, writer: Writer) -> Iterator[None]:
    """`exclusive` of each process that trains together, on whatever disk it has.

    Where they share the disk, the first one goes first: it is the one whose progress is seen.
    """
    with contextlib.ExitStack() as stack:
        held = exclusive(directory, writer, wait=True)
        processes.first_does(lambda: stack.enter_context(held))
        if not processes.is_first():
            stack.enter_context(held)
        yield


def _remove_empty(folders: list[pathlib.Path]) -> None:
    """The innermost first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def is_taken(directory: epath.PathLike) -> bool:
    """Whether somebody works in `directory` at this moment; of an object store always no."""
    path = pathlib.Path(directory) / _LOCK
    if stores.is_remote(directory) or not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def _differences(old: dict, new: dict) -> list[str]:
    """`field: old -> new` for every field that differs."""
    old, new = _flat(old), _flat(new)
    found = []
    for field in sorted(old.keys() | new.keys()):
        absent = (SINCE | _STUDY_SINCE).get(field, "(none)")
        there, here = old.get(field, absent), new.get(field, absent)
        if there != here and field.rpartition(".")[2] not in _WITHOUT_EFFECT:
            found.append(f"{field}: {there!r} there, {here!r} here")
    return found


def _flat(tree: dict, prefix: str = "") -> dict:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
