"""Several processes that train as one: how they find each other, agree, and notice an end.

The engine is `jax.distributed`. A process that nobody else belongs to is alone: here everything is
true of it without a word over the network.
"""

import faulthandler
import functools
import hashlib
import math
import os
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dermjax.training import cluster, watch

_JOIN_SECONDS = 300  # until all processes have come
_HEARTBEAT_SECONDS = 60  # without a sign of life, after which JAX ends all others (status 134)
_SHUTDOWN_SECONDS = 20
# Orbax where all have to meet; collectives, whose errors are ValueErrors where a value is read.
_LOST = ("Timed out while waiting for", "Gloo ", "NCCL", "Connection reset by peer")
_LONGEST = 4096  # bytes of a message from the first process


def join(setting: str, *, patience: float) -> None:
    """Becomes one of several processes, if there are several; before JAX is used for anything else.

    Args:
      setting: `off`; `auto`: by launch/local.sh, SLURM (a step of several tasks) or a cloud TPU VM;
        or `HOST:PORT,COUNT,INDEX`: where process 0 listens, how many there are, which one this is.
      patience: seconds without a step after which a process does not wait for the others any more.

    Raises:
      ValueError: the setting is not understood, or the others did not come.
    """
    arguments = cluster.arguments(setting, os.environ)
    if arguments is None:
        return
    # JAX's own handler of SIGTERM would be in the way of the loop's; see `Vote`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=_JOIN_SECONDS,
            heartbeat_timeout_seconds=math.ceil(min(patience, _HEARTBEAT_SECONDS)),
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except RuntimeError as error:
        raise ValueError(
            f"the processes of this run did not find each other ({str(error).splitlines()[0]}); "
            "--config.distributed=off trains on this machine alone"
        ) from error
    if not alone():
        faulthandler.disable()  # absl's: hundreds of lines on threads would bury JAX's own words
        watch.start(patience, named)


def check_alone(what: str, setting: str = "auto") -> None:
    """Refuses work that several processes cannot share.

    Raises:
      ValueError: there are several.
    """
    arguments = cluster.arguments(setting, os.environ)
    if arguments and arguments["num_processes"] > 1:
        raise ValueError(
            f"{what} is work of one process, and {arguments['num_processes']} were started: start "
            "one (--config.distributed=off on one of them)"
        )


def alone() -> bool:
    """Whether this process trains by itself."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return alone() or jax.process_index() == 0


def named() -> str:
    """`process 1 of 4: `, before what one of several has to say; nothing of one that is alone."""
    return "" if alone() else f"process {jax.process_index()} of {jax.process_count()}: "


def of_how_many() -> str:
    """` of 4 processes`, for a line on what a run has."""
    return "" if alone() else f" of {jax.process_count()} processes"


def first_does(action: Callable[[], Any]) -> None:
    """The first process does something, the others wait for it; if it fails, all fail.

    Raises:
      ValueError: the first raised a ValueError or an OSError; with its words.
    """
    if alone():
        action()
        return
    problem, words = None, ""
    if is_first():
        try:
            action()
        except (ValueError, OSError) as error:
            problem, words = error, str(error) or type(error).__name__
    words = _from_first(words)
    if problem is not None:
        raise problem
    if words:
        raise ValueError(words)


def first_says(value: bool) -> bool:
    """What the first process sees: a disk may show the same file to others a little later."""
    return value if alone() else _from_first("yes" if value else "") == "yes"


def all_true(value: bool) -> bool:
    """Whether it holds in every process."""
    return value if alone() else bool(np.all(multihost_utils.process_allgather(np.array(value))))


def check_same(text: str, what: str) -> None:
    """Whether all processes have the same text.

    Raises:
      ValueError: in all of them, when one has another.
    """
    if alone():
        return
    digest = hashlib.sha256(text.encode(errors="replace")).digest()
    every = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    other = np.flatnonzero((every != every[0]).any(1))
    if len(other):
        raise ValueError(
            f"processes {', '.join(map(str, other))} have {what} other than process 0: all of them "
            "need the same command, data and version"
        )


def _from_first(text: str) -> str:
    """The first process's text, in every process."""
    content = text.encode(errors="replace")[:_LONGEST].ljust(_LONGEST)
    received = multihost_utils.broadcast_one_to_all(np.frombuffer(content, np.uint8))
    return np.asarray(received, np.uint8).tobytes().decode(errors="replace").rstrip()


def is_lost(error: Exception) -> bool:
    """Whether it tells, in the words of a library, that another process is gone."""
    return not alone() and any(words in str(error) for words in _LOST)


def leave(error: Exception) -> NoReturn:
    """Ends this process, because another one is gone."""
    watch.leave(f"{named()}another process is gone ({str(error).splitlines()[0]})")


class Vote:
    """Whether any process wants to stop: asked once a step, and answered alike in all of them.

    The answer is that of the step before, which is there: nobody waits for the network.
    """

    def __init__(self, wanted: Callable[[], bool]):
        self._wanted, self._pending = wanted, None

    def __call__(self) -> bool:
        if alone():
            return self._wanted()
        answer = self._pending is not None and bool(self._pending)
        count, any_of = _all_devices()
        own = np.full(jax.local_device_count(), self._wanted())
        self._pending = any_of(jax.make_array_from_process_local_data(count, own))
        return answer


@functools.cache
def _all_devices():
    """One value for each device, and the program that says whether any of them is true."""
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    each, everywhere = PartitionSpec("devices"), PartitionSpec()
    any_of = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(mesh, everywhere))
    return NamedSharding(mesh, each), any_of


def finish() -> None:
    """Waits until all processes are done: who ends early would take the others' network away."""
    if not alone():
        multihost_utils.sync_global_devices("dermjax: done")
