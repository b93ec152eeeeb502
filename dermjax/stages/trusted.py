"""What of a map is its noise's and what the weights': findings, tables and their files."""

from collections.abc import Sequence

from etils import epath

from dermjax.report import saliency as report
from dermjax.stages import randomised, repeated
from dermjax.stages.kept import Explained, Maps
from dermjax.stages.workdir import write_text


def tell(
    explained: Sequence[Explained],
    methods: Sequence[str],
    maps: Maps,
    checked: randomised.Checked | None,
    directory: epath.Path,
) -> tuple[list[str], list[report.Table]]:
    """Findings and tables for the page; writes `repeatability.csv` and `sanity.csv`.

    Files of an earlier call that have nothing to say any more are removed.

    Args:
      methods: the first is shown.
      checked: None where no layer was drawn anew.
    """
    repeats = repeated.summarise(explained, methods, maps)
    findings, tables = repeated.finding(repeats, methods[0]), repeated.table(repeats)
    frames = {"repeatability": repeats, "sanity": ()}
    if checked is not None:
        frames["sanity"] = randomised.summarise(checked)
        findings += randomised.findings(checked)
        tables.append(randomised.table(checked, frames["sanity"]))
    for name, frame in frames.items():
        path = directory / f"{name}.csv"
        if len(frame):
            write_text(path, frame.to_csv(index=False, float_format="%.6g"))
        else:
            path.unlink(missing_ok=True)
    return findings, tables
