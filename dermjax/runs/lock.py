"""The lock of a folder: one process, or one group of processes, works in it at a time."""

import contextlib
import pathlib
from collections.abc import Iterator

import filelock
from etils import epath

from dermjax import stores
from dermjax.training import processes
from dermjax.training.writer import Writer

_LOCK = ".lock"


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


def _remove_empty(folders: list[pathlib.Path]) -> None:
    """The innermost first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()
