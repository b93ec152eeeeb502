"""Flags as users type them: configs found from any folder, mistakes answered in one line."""

import errno
import logging as python_logging
import os
import pathlib
import platform
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable

from absl import flags, logging

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def parse(arguments: list[str]) -> list[str]:
    """absl's flags parser with config paths resolved; leaves the process at a user's mistake."""
    try:
        left = flags.FLAGS(_with_resolved_config(arguments))
    except (flags.Error, ValueError, AttributeError, KeyError, TypeError) as error:
        sys.exit(refuse(_explain(error, arguments), error))
    if len(left) > 1:
        sys.exit(refuse(f"{left[1]!r} is not understood; options begin with --, see --help"))
    return left


def restart_with_huge_pages() -> None:
    """Starts the process anew with an allocator of huge pages, where glibc has one.

    XLA on CPU returns its arena after every step and faults it in again, page by page: with 4 kB
    pages a training step takes 1.4 times as long. glibc reads the setting only at process start.
    """
    name, value = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    if platform.libc_ver()[0] == "glibc" and name not in os.environ:
        os.environ[name] = value
        os.execv(sys.executable, sys.orig_argv)


def silence_libraries() -> None:
    """Silences the libraries: what matters is raised, and their messages would hide it.

    Orbax tells every step of a save and, when a disk is full or a checkpoint damaged, leaves a
    traceback for every file of it; tensorstore one for each that Orbax does not wait for any more.
    """
    logging.set_verbosity(logging.FATAL)
    python_logging.getLogger("asyncio").setLevel(python_logging.CRITICAL)

    def hook(unraisable):
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        ours = code is None or "orbax" not in code.co_filename
        if ours and str(unraisable.exc_value) != "Event loop is closed":
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = hook
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def ended_quietly(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """`main`, after which no library keeps the process, or speaks.

    Ctrl-C in their clean-up would print tracebacks, and where a part of a checkpoint could not be
    written Orbax's threads wait ten minutes for it.
    """

    def run(arguments: list[str]) -> int:
        status = main(arguments)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        kept = [thread for thread in threading.enumerate() if not thread.daemon]
        if status and len(kept) > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        return status

    return run


def in_words(error: Exception) -> str:
    """An error in words; of a full disk, and of a bucket, the beginning of what a library says."""
    text = str(error)
    words = " ".join(text.split())[:200]
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return f"the disk is full: make room, and the same command continues ({words})"
    if is_of_store(error):
        return f"the bucket cannot be used: the same command continues when it can be ({words})"
    return text


def is_of_store(error: Exception) -> bool:
    """Whether an object store has refused, or cannot be reached any more."""
    library = type(error).__module__.partition(".")[0]
    return library in ("gcsfs", "aiohttp", "google") or (
        isinstance(error, OSError) and str(error).startswith("Forbidden: ")
    )


def refuse(message: str, error: Exception | None = None) -> int:
    """Prints the mistake on stderr; the traceback only for developers, on DERMJAX_TRACEBACK=1."""
    if error is not None and os.environ.get("DERMJAX_TRACEBACK"):
        raise error
    print(f"dermjax: {message}", file=sys.stderr)
    return 2


def _with_resolved_config(arguments: list[str]) -> list[str]:
    """`configs/ss.py` is looked for here first, then beside the package."""
    resolved = list(arguments)
    for i, argument in enumerate(arguments):
        match = re.fullmatch(r"--?config=(.*)", argument, re.DOTALL)
        if match:
            resolved[i] = f"--config={_resolve(match[1])}"
        elif argument in ("--config", "-config") and i + 1 < len(arguments):
            resolved[i + 1] = _resolve(arguments[i + 1])
    return resolved


def _resolve(value: str) -> str:
    """A config file's path that exists, with its argument.

    Raises:
      ValueError: there is no such file; names the configs there are.
    """
    path, colon, argument = value.partition(":")
    relative = path.removeprefix("configs/")
    folders = [_PACKAGE / "configs", _PACKAGE.parent / "configs"]
    named = pathlib.Path(os.path.expanduser(path))
    for candidate in [named, *(folder / relative for folder in folders)]:
        if candidate.is_file():
            return f"{candidate}{colon}{argument}"
    files = (file for folder in folders for file in folder.glob("*.py"))
    known = {f"configs/{file.name}" for file in files if "def get_config" in file.read_text()}
    raise ValueError(f"--config={path} does not exist; there are {', '.join(sorted(known))}")


def _explain(error: Exception, arguments: list[str]) -> str:
    """ml_collections' and absl's errors in one line that names flag, value and remedy."""
    text = " ".join(str(error).replace("\\", "").split())
    if "Traceback (most recent call last)" in text:  # raised inside get_config
        return text.rpartition("Error: ")[2]
    if isinstance(error, (AttributeError, KeyError)):
        quoted, bare = re.findall(r"'(\w+)'|(\w+)", text.strip('"'))[0]
        name = quoted or bare
        flag = next((a for a in arguments if re.search(rf"config\..*\b{name}\b", a)), name)
        near = re.search(r'Did you mean "(\w+)"', text)
        hint = f"did you mean {near[1]!r}?" if near else "see config.json of a run for all fields"
        return f"{flag}: this config has no field {name!r}; {hint}"
    if isinstance(error, flags.IllegalFlagValueError):
        return f"{text}; the value has the wrong type for this field"
    return text
