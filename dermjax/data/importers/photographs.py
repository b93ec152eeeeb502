"""Photographs and nothing else, in a folder and all below it: to pretrain on, without labels."""

from pathlib import Path

import pandas as pd

from dermjax.data.importers import folders


def read(folder: Path) -> folders.Raw:
    """Every photograph is its own group: it is not known whose they are."""
    found, others = folders.files(folder)
    if not found:
        raise folders.Absent("no photographs")
    names = [path.relative_to(folder).as_posix() for path in found]
    raw = pd.DataFrame({"image": names, "label": "", "row": range(1, len(names) + 1)})
    return raw, [*folders.left_out(others), "a folder of photographs knows no labels, no patients"]
