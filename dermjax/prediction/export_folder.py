"""A classifier to hand on: a folder without checkpoints, photographs, or anything of a patient."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from dermjax import models, stores
from dermjax.experiment import reference
from dermjax.prediction import model_card
from dermjax.prediction.calibration import usual
from dermjax.prediction.ensemble import Member
from dermjax.runs.files import write_text
from dermjax.runs.run_folder import RunFolder

CARD = "card.md"
_LOCAL = ("pretraining", "without_pretraining", "allowed")  # of the results: of this machine's data


def export(workdir: str, path: str) -> str:
    """Writes the folder, which `dermjax.load` and `configs/predict.py` take like a run's.

    Args:
      workdir: folder of a finished run.
      path: of the new folder, on a disk.

    Returns:
      What was written, in one line.

    Raises:
      ValueError: no finished run with a classifier, an address in a bucket, or a folder with
        something in it.
      OSError: it cannot be written.
    """
    if stores.is_remote(path):
        raise ValueError(f"{path}: name a folder of this disk, and copy it from there")
    member = Member.of(RunFolder.named(workdir))
    if member.is_export:
        raise ValueError(f"{workdir} is an export already: copy the folder")
    folder = RunFolder(epath.Path(stores.expanded(path)))
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise ValueError(f"{path} is there and not empty: name a new folder")
    found = reference.read(member.folder)
    if found is None:
        raise ValueError(
            f"the run in {workdir} has no {member.folder.reference().name}, by which its answers "
            f"are calibrated: predict with it once (configs/predict.py:run={workdir}), then export"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    _write_settings(member, folder)
    folder.write_weights(_named_only(member.folder.weights()))
    model = models.create(member.settings.model.name, num_classes=len(member.classes))
    models.save_weights(
        os.fspath(folder.classifier), model, member.variables, classes=member.classes
    )
    reference.write(folder, found)
    write_text(folder.path / CARD, model_card.write(member, found, usual([found])))
    results = member.folder.results()
    # The mark of a whole folder is written last.
    kept = {name: one for name, one in results.items() if name not in _LOCAL}
    kept |= {"exported": True, "weights": _named_only(results["weights"])}
    folder.write_results(kept)
    return f"{path}: {member.settings.model.name}, {len(member.classes)} classes, and {CARD}"


def _named_only(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the first weights, their file without its place on this machine."""
    source = str(weights["source"])
    return {**weights, "source": os.path.basename(source) if os.path.isabs(source) else source}


def _write_settings(member: Member, folder: RunFolder) -> None:
    """The settings without the places of this machine."""
    settings = member.settings
    data = dataclasses.replace(settings.data, source="", redact="", cache_dir="", allow=())
    init = dataclasses.replace(settings.init, weights="")
    stage = settings.pretrain
    pretrain = None if stage is None else dataclasses.replace(stage, directory="")
    folder.claim(dataclasses.replace(settings, data=data, init=init, pretrain=pretrain))
