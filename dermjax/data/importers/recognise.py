"""Which of the known layouts a folder has."""

from pathlib import Path

import pandas as pd

from dermjax.data.importers import LAYOUTS, WITHOUT_LABELS, WITHOUT_TABLE
from dermjax.data.importers.folders import Absent, NoTable, files, left_behind
from dermjax.data.problems import ManifestError, quoted

_TABLES = (".csv", ".tsv", ".json", ".xlsx")


class _Beside(Absent):
    """A folder of photographs holds files that its layout does not know."""


def recognise(source: Path, layout: str, labelled: bool) -> tuple[str, pd.DataFrame, list[str]]:
    """Reads a folder by the layout that is named, or else by the first that fits.

    Args:
        source: The folder.
        layout: One of LAYOUTS, or 'auto'.
        labelled: Labels are needed, so that photographs alone are no layout.

    Returns:
        (layout, table, notes).

    Raises:
        ManifestError: It has none, or not the one that is named.
    """
    tried, own = [], _tables_in(source)
    known = [name for name in LAYOUTS if not (labelled and name in WITHOUT_LABELS)]
    for name in known if layout == "auto" else [layout]:
        try:
            frame, notes = LAYOUTS[name](source)
            if layout == "auto" and name in WITHOUT_TABLE:
                _check_guess(name, frame, source, own, labelled)
        except Absent as reason:
            unlikely = isinstance(reason, NoTable) or (own and name in WITHOUT_TABLE)
            if layout == name or isinstance(reason, _Beside) or not unlikely:
                tried.append(f"{name} ({reason})")
            continue
        if layout == "auto":
            notes = [*notes, f"folder read as {name}; --config.data.layout=NAME says otherwise"]
        return name, frame, notes
    hint = f" such as {quoted(own)} in it" if own else ""
    alone = ""
    if labelled and not own and files(source)[0]:
        alone = (
            "; photographs without labels can be pretrained on: --config.task=pretrain of a run, "
            "--unlabelled of an audit"
        )
    nearly = f"; nearly {'; '.join(tried)}" if tried else ""
    raise ManifestError(
        source,
        [
            f"is a folder of no known layout ({', '.join(known)}){nearly}: name a CSV "
            f"instead{hint}, with the columns image, label and patient{alone}"
        ],
    )


def _check_guess(name: str, frame: pd.DataFrame, source: Path, own, labelled: bool) -> None:
    """Whether the folders of a layout that has no table may be taken for what they seem."""
    remedy = f"if that does not matter: --config.data.layout={name}"
    if own:  # labels may stand there, and `images` and `masks` be no classes
        raise _Beside(f"{own[0]} lies beside the folders; {remedy}")
    if not labelled and len(frame) < len(files(source)[0]):
        raise _Beside(f"further photographs lie beside the folders; {remedy}")


def _tables_in(folder: Path) -> list[str]:
    """The names of tables that lie in a folder, at most five."""
    found = (path.name for path in folder.iterdir() if path.suffix.lower() in _TABLES)
    return sorted(name for name in found if not left_behind(name))[:5]
