"""Weights from the Hugging Face hub: downloaded once, verified, kept in the hub's own cache."""

import json
import logging
import pathlib
import re

from dermjax.models import weight_files

_FILE, _CONFIG = "model.safetensors", "config.json"


class Missing(ValueError):
    """The hub has no such file."""


def is_name(text: str) -> bool:
    """Whether a text is a repository's name, as in `timm/efficientnet_b4.ra2_in1k`."""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None
    return named and pathlib.Path(text).suffix not in weight_files.SUFFIXES


def download(name: str) -> pathlib.Path:
    """The `model.safetensors` of a repository; from the cache, if it is there, without a network.

    The cache is `HF_HOME` (by default `~/.cache/huggingface`), shared with timm.

    Args:
        name: `owner/repository`.

    Raises:
        ValueError: No such repository or file, no network, a cache that cannot be written, or
            bytes that are not those the hub promises.
    """
    path = _fetch(name, _FILE)
    # The hub calls a stored file by its SHA-256, and so does the cache.
    stored = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", stored.name) and weight_files.sha256(stored) != stored.name:
        for damaged in {stored, path}:  # the link to it, too
            damaged.unlink()
        raise ValueError(
            f"{_FILE} of {name} does not have the SHA-256 that the hub promises: the damaged copy "
            "was removed from the cache; the same command gets it again"
        )
    return path


def config(name: str) -> dict:
    """The `config.json` of a repository, empty where it has none.

    Raises:
        ValueError: No network, or a cache that cannot be written.
    """
    try:
        content = json.loads(_fetch(name, _CONFIG).read_text())
    except (Missing, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _fetch(name: str, file: str) -> pathlib.Path:
    """One file of a repository; every way this fails in one line."""
    import huggingface_hub  # only here: it takes a while to import
    from huggingface_hub import constants, errors

    try:
        return pathlib.Path(huggingface_hub.hf_hub_download(name, file, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        pass
    url = f"{constants.ENDPOINT}/{name}/resolve/main/{file}"
    copy = f"{name.partition('/')[2]}{pathlib.Path(file).suffix}"
    by_hand = f"get {url} where there is a network, and name the copy ({copy}) instead of {name}"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every retry; the error below is told once
    try:
        return pathlib.Path(huggingface_hub.hf_hub_download(name, file))
    except errors.LocalEntryNotFoundError as error:
        raise ValueError(
            f"the hub cannot be reached, and {name} is not in the cache: {by_hand}"
        ) from error
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        raise Missing(f"the hub has no {file} of {name!r}; check the name") from error
    except PermissionError as error:
        raise ValueError(
            f"{error.filename or constants.HF_HUB_CACHE} cannot be written: set HF_HOME to a "
            f"folder that can, or {by_hand}"
        ) from error
    except Exception as error:  # its transport library changes, and every failure ends here
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the download of {name} failed ({reason}); try again, or {by_hand}"
        ) from error
    finally:
        logger.setLevel(level)
