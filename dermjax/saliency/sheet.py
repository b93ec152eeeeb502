"""What is made of maps and scores: Figure 6's sheet, the page."""

from collections.abc import Sequence

from etils import epath

from dermjax.report import looks
from dermjax.report.table import Table
from dermjax.runs.files import write_text
from dermjax.saliency import page as report
from dermjax.saliency import score_tables
from dermjax.saliency.context import SaliencyContext
from dermjax.saliency.map_store import Explained, Maps, visible
from dermjax.saliency.score_definitions import definitions
from dermjax.saliency.scores import is_empty

PAGE = "saliency.html"
_MOST = 100  # images in the page; all have files
_LISTED = 5  # empty maps that a warning names
# What a map without any heat says, by method, and what it does not.
_EMPTY = {
    "input_iba": "at this price of information (beta_input) the mask lets next to nothing of the "
    "photograph pass. The network may need nothing of it for the explained class, or its "
    "information costs more than it is worth",
    "iba": "at this price of information (beta_feature) nothing of the layer passes. Its features "
    "may not matter for the explained class, or cost more than they are worth",
    "grad_cam": "the layer has nothing that speaks for the explained class once what speaks "
    "against it is cut off, as Grad-CAM does. The network may use the photograph all the same",
    "integrated_gradients": "no pixel has an attribution, as where the photograph is the mean "
    "colour or the class's logit is flat between that and the photograph",
    "random": "the numbers were drawn so",
}
_EMPTY["input_iba_gan"] = _EMPTY["input_iba"]


def write(
    context: SaliencyContext,
    facts: Sequence[tuple[str, str]],
    failed: Sequence[str],
    trust: tuple[Sequence[str], Sequence[Table]],
) -> None:
    """Writes `sheet*.png` and `.pdf`, the tables as CSV, and `saliency.html`.

    Args:
      facts: what the page says first.
      failed: lines on maps that there are not.
      trust: findings and tables on noise and weights, of `sanity_tables`; they come last.
    """
    settings, methods, directory = context.settings, context.methods, context.directory
    explained = sorted(context.explained, key=lambda one: (one.sample.label < 0, one.sample.label))
    found = (_shown(one, methods[0], context.maps) for one in explained)
    shown = [one for one in found if one is not None]
    names = _sheets(shown, directory) if shown else []
    tables, findings = score_tables.write(settings, explained, methods, context.maps, directory)
    size = context.explainer.size
    page = report.Page(
        title=_title(methods[0]),
        reading=_reading(methods[0], scored=settings.scores),
        facts=facts,
        warnings=_warnings(shown, methods[0], failed),
        findings=[*findings, *trust[0]],
        tables=[*tables, *trust[1]],
        definitions=definitions(settings.score, size) if tables and shown else {},
    )
    text = report.render(page, shown[:_MOST], left_out=len(shown[_MOST:]))
    write_text(directory / PAGE, text)
    context.writer.say(f"{directory}: {PAGE}, {', '.join(names)}, a folder per image")


def _shown(one: Explained, method: str, maps: Maps) -> report.Shown | None:
    """An image with its map; None where there is none."""
    record, heat = maps.record(one, method), maps.heat(one, method)
    if record is None or heat is None:
        return None
    return report.Shown(
        name=one.sample.name,
        true=record["true"] or "",
        predicted=record["predicted"],
        probability=record["probabilities"][record["predicted"]],
        target=record["target"],
        pixels=one.sample.pixels(),
        heat=visible(heat, method),
    )


def _sheets(shown: Sequence[report.Shown], directory: epath.Path) -> list[str]:
    """Figures of at most a page each; `sheet`, then `sheet-2`. Those of an earlier call go."""
    names = []
    for number, figure in enumerate(report.sheets(shown[:_MOST]), start=1):
        names.append("sheet" if number == 1 else f"sheet-{number}")
        looks.save(figure, directory, names[-1])
    for old in directory.glob("sheet*.*"):
        if old.name.partition(".")[0] not in names:
            old.unlink()
    return [f"{name}.{kind}" for name in names for kind in ("png", "pdf")]


def _title(method: str) -> str:
    if method == "random":
        return "Random maps"
    return f"Where the network looks: {report.titled(method)}"


def _reading(method: str, *, scored: bool) -> str:
    """How the maps are to be read, and what says whether to believe them."""
    if method == "random":
        return (
            "The maps are random numbers, which know neither the photograph nor the network: what "
            "a method is compared with."
        )
    said = "Dark red is most informative for the explained class, dark blue least"
    if method == "integrated_gradients":
        said += "; what speaks against the class is as red as what speaks for it"
    trust = "the sentences above and the tables below say how far to believe that"
    if not scored:
        trust = "with --config.scores=True the page says how far to believe that"
    return (
        f"{said}. A map is to show what the network used for that class, not what is ill; {trust}."
    )


def _warnings(shown: Sequence[report.Shown], method: str, failed: Sequence[str]) -> list[str]:
    """What a reader must not miss."""
    known, wrong = sum(bool(one.true) for one in shown), sum(one.wrong for one in shown)
    lines = []
    if wrong:
        lines.append(
            f"{wrong} of {report.counted(known, 'answer')} {'is' if wrong == 1 else 'are'} wrong, "
            f"marked ✗: the map explains {_explained(shown)}, not the disease."
        )
    empty = [one.name for one in shown if is_empty(one.heat)]
    if empty:
        are = "is" if len(empty) == 1 else "are"
        more = f" and {len(empty) - _LISTED} more" if len(empty) > _LISTED else ""
        lines.append(
            f"{len(empty)} of {report.counted(len(shown), 'map')} {are} empty "
            f"({', '.join(empty[:_LISTED])}{more}): {_EMPTY[method]}."
        )
    return [*lines, *failed]


def _explained(shown: Sequence[report.Shown]) -> str:
    """What the maps of wrong answers explain."""
    answers = all(one.target == one.predicted for one in shown if one.wrong)
    return "the answer" if answers else "the class that it was made for"
