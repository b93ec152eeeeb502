"""Whose config a folder belongs to: `config.json`, written once, compared ever after."""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from dermjax.runs.files import write_text
from dermjax.settings import RunFields
from dermjax.settings.section import flat

CONFIG = "config.json"
# Fields that say where and how it is computed, or how a run is called, not what: the results are
# the same to rounding.
_WITHOUT_EFFECT = ("accumulate_steps", "distributed", "patience", "variant")


def check_claim(directory: epath.Path, config: Mapping[str, Any]) -> None:
    """Whether a folder is free, or belongs to this very config.

    Raises:
      ValueError: it belongs to another config; names the fields that differ.
    """
    path = directory / CONFIG
    if not path.exists():
        return
    differing = _differences(json.loads(path.read_text()), json.loads(json.dumps(config)))
    if differing:
        raise ValueError(
            f"{directory} holds a run of another config ({'; '.join(differing)}); "
            "take another --workdir, or set these fields back"
        )


def claim(directory: epath.Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json` into a folder that is free; raises as `check_claim` where it is not."""
    check_claim(directory, config)
    write_text(directory / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _differences(old: dict, new: dict) -> list[str]:
    """`field: old -> new` for every field that differs."""
    old, new = flat(old), flat(new)
    found = []
    since = _since()
    for field in sorted(old.keys() | new.keys()):
        absent = since.get(field, "(none)")
        there, here = old.get(field, absent), new.get(field, absent)
        if there != here and field.rpartition(".")[2] not in _WITHOUT_EFFECT:
            found.append(f"{field}: {there!r} there, {here!r} here")
    return found


def _since() -> dict[str, Any]:
    """What folders did without the fields that came after them: of a run, and of a study."""
    fields = RunFields.since()
    return fields | {f"run.{name}": value for name, value in fields.items()} | {"pretrainings": 1}
