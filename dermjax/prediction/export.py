"""A trained classifier to hand on: a folder, a program or weights, with its model card."""

import pathlib

from dermjax.experiment import export as files
from dermjax.experiment import reference
from dermjax.prediction import export_folder, model_card
from dermjax.prediction.calibration import usual
from dermjax.prediction.ensemble import Member
from dermjax.runs.files import write_text
from dermjax.runs.run_folder import RunFolder
from dermjax.stores import expanded, folder


def export(workdir: str, path: str, stage: str) -> str:
    """Writes what the path's ending names; a classifier gets its card beside, `NAME.card.md`.

    Args:
      workdir: folder of a finished run.
      path: of a file with an ending of `experiment.export`, or of a new folder.
      stage: `finetune`, or `pretrain` for the encoder it started from: .safetensors alone.

    Returns:
      What was written, in lines.

    Raises:
      ValueError: a user's mistake, in words.
      OSError: it cannot be written.
    """
    suffix = pathlib.PurePath(path).suffix
    if stage == "pretrain":
        return files.export(workdir, path, stage)
    if not suffix:
        return export_folder.export(workdir, path)
    found = reference.read(RunFolder.named(workdir))
    if found is None:
        said = files.export(workdir, path, stage)
        return f"{said}\nwithout calibration and card, as the run is older than these: predict once"
    calibration = usual([found])
    said = files.export(workdir, path, stage, temperature=calibration.temperature)
    card = pathlib.Path(expanded(path)).with_suffix(".card.md")
    text = model_card.write(Member.of(RunFolder.named(workdir)), found, calibration, suffix)
    write_text(folder(card), text)
    return f"{said}\n{card}: its model card"
