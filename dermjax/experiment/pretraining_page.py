"""Does the encoder learn: a pretraining's curves and nearest neighbours on one offline page."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dermjax.report import figures, pages
from dermjax.report.figures import Curve, Level, Panel


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """One photograph beside others."""

    pixels: np.ndarray  # [h, w, 3] uint8
    label: str  # '' where there is none
    name: str
    similarity: float = 1.0  # cosine to the query; of no meaning for the query itself


@dataclasses.dataclass(frozen=True)
class NeighbourRow:
    """A query and the photographs nearest to it, the nearest first."""

    query: Neighbour
    neighbours: tuple[Neighbour, ...]


@dataclasses.dataclass(frozen=True)
class Page:
    """What the page is made of."""

    title: str
    facts: Sequence[tuple[str, str]]  # ("network", "efficientnet_b0")
    lines: Sequence[dict]  # of metrics.jsonl: 'step', and scalars of which any may be missing
    warnings: Sequence[str]  # in words
    rows: Sequence[NeighbourRow]
    embedding_dim: int  # D
    queue_size: int  # K
    negatives: int  # of a query: K, and the batch's other keys where they count
    majority: str = ""  # the commonest class
    classes: int = 0  # how many; 0 where it is not known
    chance_same_label: float | None = None  # expected share of same labels, neighbours at random
    positives: str = "image"  # or lesion, patient: of which another photograph is the positive


@dataclasses.dataclass(frozen=True)
class _Section:
    """A figure with its words."""

    heading: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 2


def render(page: Page) -> str:
    """The page as HTML: one file that needs no network and no script."""
    return pages.render(
        "pretraining.html",
        title=page.title,
        page=page,
        findings=_findings(page),
        sections=[_drawn(section, page) for section in _sections(page) if section.panels],
        neighbours=_same_labels(page),
        judged=_judged(page),
        mark=_mark,
    )


def _drawn(section: _Section, page: Page) -> dict:
    last_step = max((line["step"] for line in page.lines), default=0)
    picture, width = figures.draw(section.panels, last_step=last_step, columns=section.columns)
    return {
        "heading": section.heading,
        "caption": section.caption,
        "source": figures.data_uri(picture, "png"),
        "width": width,
        "alt": figures.describe(section.panels),
    }


# --- what the numbers say, in words -------------------------------------------------------------


def _judged(page: Page) -> str:
    """Whether a collapse would have been seen: noise in the queue hides it."""
    if (_newest(page, "queue_filled") or 0) >= 1:
        return "No collapse of the embeddings was seen."
    return (
        "Whether the embeddings have collapsed cannot be said: the queue still holds some of the "
        "noise that it started with."
    )


def _findings(page: Page) -> list[str]:
    """Where kNN began, ended and was best, beside what needs no encoder; a paragraph each."""
    accuracy = _curve(page, "knn_accuracy", "kNN accuracy")
    if not accuracy.steps:
        return [
            "kNN accuracy was not measured: nothing here says whether the encoder tells classes "
            "apart. That takes labelled images."
        ]
    naive = f"“{page.majority}”, the commonest class," if page.majority else "the commonest class"
    findings = [_course(accuracy, naive, _newest(page, "majority_accuracy"))]
    sensitivity = _curve(page, "knn_macro_sensitivity", "kNN macro sensitivity")
    if sensitivity.steps:
        naive, chance = f"any one of the {page.classes} classes", 1 / max(page.classes, 1)
        findings.append(_course(sensitivity, naive, chance if page.classes else None))
    queries, bank = _newest(page, "knn_queries"), _newest(page, "knn_bank")
    if queries and bank:
        findings.append(
            f"Measured on {queries:,.0f} labelled images, each against {bank:,.0f} others: one "
            f"image is {100 / queries:.2g} percentage points."
        )
    return findings


def _course(curve: Curve, naive: str, floor: float | None) -> str:
    """Began, ended, best; and how far the end is from the beginning and from the floor."""
    first, last, best = curve.values[0], curve.values[-1], max(curve.values)
    ended = f"{last:.1%} {_when(curve.steps[-1])}"
    if len(curve.steps) == 1:
        sentences = [f"{curve.label} was {ended}, the only time that it was measured."]
        distances = []
    else:
        peaked = f"it was best, {best:.1%}, {_when(curve.steps[curve.values.index(best)])}"
        sentences = [
            f"{curve.label} began at {first:.1%} {_when(curve.steps[0])} and ended at {ended}"
            + (", its best." if best == last else f"; {peaked}.")
        ]
        distances = [_distance(last, first, "where it began")]
    if floor is not None:
        sentences.append(f"Always answering {naive} would reach {floor:.1%}.")
        distances.append(_distance(last, floor, "that floor"))
    if distances:
        subject = "The end" if len(curve.steps) > 1 else "It"
        sentences.append(f"{subject} is {' and '.join(distances)}.")
    return " ".join(sentences)


def _when(step: int) -> str:
    return f"at step {step:,}" if step else "before training"


def _distance(value: float, other: float, place: str) -> str:
    """The difference in percentage points of the rounded values that the reader sees."""
    points = round(100 * value, 1) - round(100 * other, 1)
    if abs(points) < 0.05:
        return f"level with {place}"
    return f"{abs(points):.1f} percentage points {'above' if points > 0 else 'below'} {place}"


def _agrees(query: Neighbour, neighbour: Neighbour) -> bool | None:
    """Whether both have the same label; None where one has none."""
    return query.label == neighbour.label if query.label and neighbour.label else None


def _mark(query: Neighbour, neighbour: Neighbour) -> tuple[str, str]:
    """The kind of frame round a neighbour, and the same in words beside its similarity."""
    kind, words = {
        True: ("same", "✓ same"),
        False: ("other", "✗ other"),
        None: ("unknown", "not comparable"),
    }[_agrees(query, neighbour)]
    cosine = neighbour.similarity
    return kind, f"{words} ({cosine:.2f})" if math.isfinite(cosine) else words


def _same_labels(page: Page) -> str:
    """How many neighbours have their query's label."""
    pairs = [_agrees(row.query, other) for row in page.rows for other in row.neighbours]
    known = [pair for pair in pairs if pair is not None]
    if not known:
        return "None of them can be compared: there are no labels."
    text = f"{sum(known):,} of {len(known):,} neighbours ({sum(known) / len(known):.1%}) have the "
    text += "label of their query"
    if page.chance_same_label is not None:
        text += f"; drawn at random, {page.chance_same_label:.1%} would"
    if len(known) < len(pairs):
        text += f"; {len(pairs) - len(known):,} more cannot be compared for want of a label"
    return text + "."


# --- the curves ---------------------------------------------------------------------------------


def _curve(page: Page, scalar: str, label: str, scale: float = 1.0) -> Curve:
    """The finite values of one scalar, by step."""
    points = sorted(
        (line["step"], float(line[scalar]) * scale)
        for line in page.lines
        if line.get(scalar) is not None and math.isfinite(line[scalar])
    )
    return Curve(label, tuple(step for step, _ in points), tuple(value for _, value in points))


def _newest(page: Page, scalar: str) -> float | None:
    values = _curve(page, scalar, "").values
    return values[-1] if values else None


def _panel(page: Page, title: str, scalars: dict[str, str], scale: float = 1.0, **kwargs):
    """`[panel]` of the scalars that were measured; `[]` if none was."""
    curves = [_curve(page, name, label, scale) for name, label in scalars.items()]
    curves = [curve for curve in curves if curve.steps]
    return [Panel(title, tuple(curves), **kwargs)] if curves else []


def _sections(page: Page) -> list[_Section]:
    return [
        _neighbour_section(page),
        _collapse_section(page),
        _similarity_section(page),
        _loss_section(page),
        _schedule_section(page),
    ]


def _neighbour_section(page: Page) -> _Section:
    floor = _newest(page, "majority_accuracy")
    accuracy = {"knn_accuracy": "kNN", "nearest_accuracy": "nearest image"}
    caption = (
        "Each labelled image gets the label of the images whose features are most similar to its "
        "own (kNN) or of the most similar one; nothing is trained for it. Good: curves that rise "
        "from the first look on, above the dotted line of an answer that ignores the image; bad: "
        "curves that stay level or fall, whatever the loss does."
    )
    panels = [
        *_panel(
            page,
            "Accuracy",
            accuracy,
            percent=True,
            levels=() if floor is None else (Level("commonest class", floor),),
        ),
        *_panel(
            page,
            "Macro sensitivity (rare classes count as much)",
            {"knn_macro_sensitivity": "kNN"},
            percent=True,
            levels=(Level("any one class", 1 / page.classes),) if page.classes else (),
        ),
    ]
    return _Section("Are classes told apart?", caption, tuple(panels))


def _collapse_section(page: Page) -> _Section:
    caption = (
        "Spread: near 1 the keys fill the sphere; at 0 all images have the same embedding, and the "
        "encoder is useless. Effective rank: how many dimensions are in use (keys have "
        f"{page.embedding_dim:,}); good is a value that grows or holds, bad a fall to a few. The "
        "queue starts as noise, which fills the sphere."
    )
    panels = [
        *_panel(
            page,
            "Spread of keys, std × √D",
            {"key_std": "of the step", "queue_std": "in the queue"},
            scale=math.sqrt(page.embedding_dim),
            levels=(Level("fills the sphere", 1.0),),
            bottom=0.0,
            top=1.1,
        ),
        *_panel(
            page,
            "Effective rank",
            {
                "feature_effective_rank": "features",
                "queue_effective_rank": "keys in the queue",
            },
            bottom=0.0,
        ),
    ]
    return _Section("Has it collapsed?", caption, tuple(panels))


def _similarity_section(page: Page) -> _Section:
    positive = "another view of the same image"
    if page.positives != "image":
        positive = f"a view of another photograph of the same {page.positives} where there is one"
    caption = (
        f"Good: a query is much more similar to its positive, {positive}, than "
        "to the negatives; when the two curves meet, nothing is told apart. Alignment "
        "(squared distance of positives) and uniformity (near −4 on a filled sphere) are better "
        "the lower they are, but only together: a collapse aligns perfectly."
    )
    panels = [
        *_panel(
            page,
            "Cosine similarity",
            {"positive_similarity": "to the positive", "negative_similarity": "to negatives"},
        ),
        *_panel(
            page,
            "Alignment and uniformity (lower is better)",
            {
                "alignment": "alignment",
                "feature_uniformity": "uniformity, features",
                "queue_uniformity": "uniformity, queue",
            },
        ),
    ]
    return _Section("Similarity of views", caption, tuple(panels))


def _loss_section(page: Page) -> _Section:
    filled = _curve(page, "queue_filled", "")
    full = [step for step, share in zip(filled.steps, filled.values, strict=True) if share >= 1]
    caption = (
        "The loss is no measure of progress: it rises while real keys replace the noise that the "
        f"queue starts with{f' (all by step {full[0]:,})' if full else ''}, and depends on the "
        "queue's length. Bad is a loss that stays at the "
        f"dotted line (it knows nothing: every one of the 1 + {page.negatives:,} keys is as "
        "likely), or one that falls to 0 at once with an accuracy of 100%: something other than "
        "the picture gives the positive away."
    )
    panels = [
        *_panel(
            page,
            "Loss (nats)",
            {"loss": "loss"},
            levels=(Level("knows nothing", math.log1p(page.negatives)),),
        ),
        *_panel(
            page,
            "Queries nearest to their positive",
            {"accuracy": "accuracy"},
            percent=True,
            bottom=0.0,
            top=1.0,
        ),
    ]
    return _Section("Loss and instance accuracy", caption, tuple(panels))


def _schedule_section(page: Page) -> _Section:
    caption = (
        "What the run was given, and its machinery. A gradient norm that jumps asks for a lower "
        "learning rate; keys of a query's own image among its negatives should be well below one, "
        "or masked."
    )
    if page.positives != "image":
        caption += f" Here all keys of its {page.positives} are masked."
    panels = [
        *_panel(page, "Learning rate", {"learning_rate": ""}, bottom=0.0),
        *_panel(page, "Momentum of the key encoder", {"momentum": ""}),
        *_panel(page, "Gradient norm", {"grad_norm": ""}, bottom=0.0),
        *_panel(page, "Mean age of keys (steps)", {"queue_age": ""}, bottom=0.0),
        *_panel(
            page,
            "Own-image keys per query",
            {"same_image_share": ""},
            scale=page.queue_size,
            bottom=0.0,
        ),
        *_panel(
            page,
            f"Own-{page.positives} keys per query (masked)",
            {"same_subject_share": ""},
            scale=page.queue_size,
            bottom=0.0,
        ),
        *_panel(
            page,
            "Positives of another photograph",
            {"partner_share": ""},
            percent=True,
            bottom=0.0,
            top=1.0,
        ),
        *_panel(page, "Images per second", {"images_per_second": ""}, bottom=0.0),
    ]
    return _Section("Schedule, queue and speed", caption, tuple(panels), columns=3)
