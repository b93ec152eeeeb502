"""What the page of answers shows: the least certain photographs, and what was measured on test."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

import dermjax
from dermjax.data import images, pipeline, redactions
from dermjax.data.manifest import BOX
from dermjax.experiment.reference import Reference
from dermjax.prediction import page
from dermjax.prediction.calibration import Answers, Calibration
from dermjax.prediction.ensemble import Member
from dermjax.prediction.photographs import Photographs
from dermjax.prediction.quality import Quality
from dermjax.prediction.settings import PredictSettings
from dermjax.report.numbers import percent
from dermjax.report.table import Table, unlinked
from dermjax.runs.files import write_text
from dermjax.statistics import patientwise

_UNFAMILIAR = "unlike the training photographs"
_NAME = "predictions.html"


@dataclasses.dataclass(frozen=True)
class Shown:
    """What has been answered about which photographs, by whom."""

    settings: PredictSettings
    networks: Sequence[Member]
    references: Sequence[Reference]
    calibration: Calibration
    wanted: Photographs
    answers: Answers

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the networks."""
        return self.networks[0].classes


def write_page(shown: Shown, directory: epath.Path) -> epath.Path:
    """Writes the page and the tables that it shows; returns the page's place."""
    quality = Quality.of(shown.calibration, shown.references, shown.classes)
    for name, frame in quality.frames().items():
        write_text(directory / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))
    # Flagged ones first: the surest of their answers may be the most dangerous ones.
    certainty = shown.answers.probabilities.max(1)
    order = np.lexsort((certainty, ~shown.answers.unfamiliar))[: shown.settings.shown]
    content = page.Page(
        title="Predictions",
        facts=_facts(shown),
        warnings=_warnings(shown),
        promises=_promises(shown),
        tables=[_counts(shown), *quality.tables(shown.calibration)],
        classes=shown.classes,
    )
    left_out = len(certainty) - len(order)
    path = directory / _NAME
    write_text(path, page.render(content, [_card(shown, row) for row in order], left_out=left_out))
    return path


def _facts(shown: Shown) -> list[tuple[str, str]]:
    first, count = shown.networks[0], len(shown.networks)
    runs = str(first.folder) if count == 1 else f"{first.folder} and {count - 1} more, averaged"
    facts = [
        ("networks", f"{runs} ({first.settings.strategy}, {first.settings.model.name})"),
        ("photographs", f"{len(shown.wanted):,}, of {shown.settings.images or 'the run itself'}"),
        ("test-time augmentation", "flips and quarter turns" if shown.settings.tta else "none"),
        ("temperature of calibration", f"{shown.calibration.temperature:.2f}"),
        ("dermjax", dermjax.__version__),
    ]
    return facts


def _warnings(shown: Shown) -> list[str]:
    """What a reader must know before the answers."""
    found = ["Not a medical device: an answer is a hint, never a diagnosis."]
    share, expected = float(shown.answers.unfamiliar.mean()), shown.settings.unfamiliar
    if share > 2 * expected:
        found.append(
            f"{percent(round(share, 3))} of these photographs are unlike those that the network "
            f"was trained on; of patients like those of validation {percent(expected)} would be "
            "expected. Another camera, another way of cutting, or other patients: what is promised "
            "below need not hold for them."
        )
    if without := shown.networks[0].without_patient:
        found.append(without)
    return found + list(shown.wanted.notes)


def _promises(shown: Shown) -> list[str]:
    """What holds, for whom, and of which classes nothing can be said."""
    rule, classes = shown.calibration.rule, np.array(shown.classes, object)
    sure, rest = classes[rule.guaranteed], classes[~rule.guaranteed]
    known = "each disease" if not len(rest) else ", ".join(sure)
    sentences = []
    if len(sure):
        sentences.append(
            "A prediction set is a list of classes. Of new patients like those of the validation "
            f"photographs, the true disease is in the set of {percent(rule.coverage)} or more, for "
            f"{known}: an average over patients, not a promise for any one of them. The step of "
            "training that is used and the temperature were chosen on the same patients, which "
            "makes the share approximate; what was measured on the test photographs stands below."
        )
    if len(rest):
        few = ", ".join(
            f"{name} ({rule.patients[i]})"
            for i, name in enumerate(classes)
            if not rule.guaranteed[i]
        )
        sentences.append(
            f"Too few validation patients have {few}: for these nothing is promised. They are in a "
            "set by the rule of all classes together, or of their own few patients where that "
            "takes them in more often"
            + (
                "; as there are too few patients altogether, every set has them."
                if np.isinf(rule.quantiles[~rule.guaranteed]).all()
                else "."
            )
        )
    if not np.isfinite(shown.calibration.farthest):
        needed = patientwise.least_patients(1 - shown.settings.unfamiliar)
        sentences.append(
            f"With fewer than {needed} validation patients it cannot be said which photographs are "
            "unlike the training photographs: nothing is marked."
        )
        return sentences
    sentences.append(
        f"“{_UNFAMILIAR.capitalize()}” marks photographs farther from the training photographs "
        f"than those of {percent(1 - shown.settings.unfamiliar)} of the validation patients. Such "
        "an answer should not be used."
    )
    return sentences


def _counts(shown: Shown) -> Table:
    """How many photographs have which answer."""
    answered = shown.answers.probabilities.argmax(1)
    rows = []
    for c, name in enumerate(shown.classes):
        own = answered == c
        single = own & (shown.answers.sets.sum(1) == 1)
        flagged = own & shown.answers.unfamiliar
        rows.append([name, f"{own.sum():,}", f"{single.sum():,}", f"{flagged.sum():,}"])
    header = unlinked(["class", "likeliest", "alone in the set", "flagged"])
    return Table("Answers by class", "Numbers of photographs.", header, rows)


def _card(shown: Shown, row: int) -> page.Card:
    shares, inside = shown.answers.probabilities[row], shown.answers.sets[row]
    best = int(shares.argmax())
    others = [c for c in np.argsort(-shares, kind="stable") if inside[c] and c != best]
    one = shown.wanted.frame.iloc[row]
    return page.Card(
        name=str(one["name"]),
        pixels=_picture(shown.wanted, one, row),
        predicted=shown.classes[best],
        probability=float(shares[best]),
        others=[(shown.classes[c], float(shares[c])) for c in others],
        flags=[_UNFAMILIAR] if shown.answers.unfamiliar[row] else [],
    )


def _picture(wanted: Photographs, one: pd.Series, row: int) -> np.ndarray:
    """The photograph with its box, or the crop; what is blacked out is black here, too."""
    box = one[list(BOX)].to_numpy(float)
    if np.isnan(box).any() or not one["path"]:
        return page.framed(pipeline.to_pixels(wanted.source[row]), None)
    whole = images.black_out(images.read_rgb(one["path"]), redactions.parse(one["redact"]))
    return page.framed(np.asarray(whole), box)
