"""How far maps depend on their own noise and on the weights: findings, tables and their files."""

from collections.abc import Sequence

from etils import epath

from dermjax.report.table import Table
from dermjax.runs.files import write_text
from dermjax.saliency import randomisation, repeatability
from dermjax.saliency.map_store import Explained, Maps


def write(
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    checked: randomisation.Checked | None,
    directory: epath.Path,
) -> tuple[list[str], list[Table]]:
    """Findings and tables for the page; writes `repeatability.csv` and `sanity.csv`.

    Files of an earlier call that have nothing to say any more are removed.

    Args:
      methods: the first is shown.
      checked: None where no layer was drawn anew.
    """
    repeats = repeatability.summarise(explained, methods, maps)
    findings, tables = repeatability.finding(repeats, methods[0]), repeatability.table(repeats)
    frames = {"repeatability": repeats, "sanity": ()}
    if checked is not None:
        frames["sanity"] = randomisation.summarise(checked)
        findings += randomisation.findings(checked)
        tables.append(randomisation.table(checked, frames["sanity"]))
    for name, frame in frames.items():
        path = directory / f"{name}.csv"
        if len(frame):
            write_text(path, frame.to_csv(index=False, float_format="%.6g"))
        else:
            path.unlink(missing_ok=True)
    return findings, tables
