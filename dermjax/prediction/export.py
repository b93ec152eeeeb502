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
    """Writes what the path's ending names; a classifier gets its card beside, `FILE.card.md`.

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
    if suffix not in files.SUFFIXES:
        raise ValueError(
            f"{path} must end in {', '.join(files.SUFFIXES)}, or be the name of a new folder "
            "without a dot"
        )
    parent = pathlib.Path(expanded(path)).parent
    if not parent.is_dir():
        raise ValueError(f"there is no folder {parent}: make it first, or name another")
    member = Member.of(RunFolder.named(workdir))
    found = reference.read(member.folder)
    if found is None:
        said = files.export(workdir, path, stage)
        return f"{said}\nwithout calibration and card, as the run is older than these: predict once"
    calibration = usual([found])
    said = files.export(workdir, path, stage, temperature=calibration.temperature)
    card = pathlib.Path(f"{expanded(path)}.card.md")
    text = model_card.write(member, found, calibration, suffix)
    if card.exists() and card.read_text() != text:  # somebody has filled in the licence
        return f"{said}\n{card} is there and stays as it is"
    write_text(folder(card), text)
    return f"{said}\n{card}: its model card"
