"""The model card: who made the network, of what, how good it is, and what it must not be used for.

Every number is read from the run's files.
"""

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dermjax.data import subgroup_values
from dermjax.experiment.reference import Reference
from dermjax.prediction.calibration import Calibration
from dermjax.prediction.ensemble import Member
from dermjax.prediction.quality import Quality, with_interval
from dermjax.report.numbers import number, percent
from dermjax.report.table import Table, unlinked
from dermjax.statistics import subgroups

_SETS = {
    "made": "Sets were made by patient.",
    "given": "Sets came with the data.",
    "given without validation": "Sets came with the data; validation was made by patient.",
}
_COLUMNS = ("skin_type", "sex", "age", "site")
_LEAST = 20  # images of a subgroup
_FRONT = """---
library_name: dermjax
pipeline_tag: image-classification
tags: [dermatology, jax, flax, self-supervised]
license: other
---
"""
_CODE = {
    "": """```python
import dermjax

classifier = dermjax.load("FOLDER")  # this folder
answer = classifier("photograph.jpg", box=None)  # or box=(x, y, w, h) of the lesion, px
print(answer.predicted, answer.probabilities, answer.set, answer.flags)
```
""",
    ".safetensors": """```python
import timm

model = timm.create_model("MODEL", num_classes=COUNT, checkpoint_path="FILE")
```

The file's metadata have the classes and how photographs are resized and normalised.
""",
    ".stablehlo": """```python
import jax

program = jax.export.deserialize(bytearray(open("FILE", "rb").read()))
answers = program.call(images)  # [B, SIZE, SIZE, 3] uint8, whole photographs or lesions, squeezed
```
""",
}
_LIMITS = """
## What it must not be used for

- It is not a medical device. It must not diagnose, exclude a disease, or decide on a treatment.
- It knows {count} classes and gives one of them to any photograph, healthy skin and cats included.
  Answers flagged `unfamiliar` should not be used; photographs can be unsuited without a flag, and
  files other than the folder do not flag.
- What is measured below holds for patients and photographs like those of the test set: not for
  other cameras, clinics, skin tones or age groups than were in it.
"""


def write(member: Member, reference: Reference, calibration: Calibration, suffix: str = "") -> str:
    """The card as Markdown, with the front matter of the Hugging Face hub.

    Args:
      suffix: of the file that it goes with; '' for a folder.
    """
    results, settings = member.folder.results(), member.settings
    quality = Quality.of(calibration, [reference], member.classes)
    versions = {**results["versions"], "dermjax": results["versions"].get("dermjax", "")}
    return "\n".join(
        [
            _FRONT,
            f"# {settings.model.name}, {len(member.classes)} skin diseases\n",
            _lines(_facts(member, results)),
            "\n## Use\n",
            _code(member, suffix),
            _LIMITS.format(count=len(member.classes)),
            "## Data\n",
            _markdown(_counts(member, reference)),
            f"\n{_SETS.get(results.get('sets', ''), '')} Classes: {', '.join(member.classes)}.",
            f"{member.without_patient}\n",
            "## Measured\n",
            *(_table(one) for one in quality.tables(calibration)),
            *_subgroups(member),
            "## Versions\n",
            ", ".join(f"{name} {version}" for name, version in versions.items() if version) + "\n",
            "## Licence\n",
            "The licence of the weights is that of the photographs: fill it in here and above. "
            "dermjax itself is under Apache 2.0.\n",
        ]
    )


def _code(member: Member, suffix: str) -> str:
    """The lines that use the file."""
    if suffix == ".onnx":
        from dermjax.models import onnx  # of an extra

        intro = "`python use.py FILE photograph.jpg`, with onnxruntime and Pillow alone; use.py:"
        return f"{intro}\n\n```python\n{onnx.EXAMPLE}```\n"
    known = {
        "MODEL": member.settings.model.name,
        "COUNT": str(len(member.classes)),
        "SIZE": str(member.image_size),
    }
    code = _CODE[suffix]
    for name, value in known.items():
        code = code.replace(name, value)
    return code


def _facts(member: Member, results: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings, n = member.settings, results["n"]
    stage = settings.finetuning
    facts = [
        ("strategy", f"{settings.strategy}: {_STRATEGIES[settings.strategy]}"),
        ("first weights", os.path.basename(str(results["weights"]["source"]))),
        (
            "fine-tuning",
            f"{stage.steps:,} steps of {stage.batch_size} images of {stage.image_size} px on "
            f"{n['train_labelled']:,} labelled of {n['train']:,} training images "
            f"({percent(results['alpha'])} of the labels)",
        ),
        (
            "selected",
            f"at step {results['best_step']:,} by {stage.select.replace('_', ' ')} on "
            f"{n['validation']:,} validation images",
        ),
    ]
    if settings.pretrain is not None:
        first = settings.pretrain
        text = (
            f"MoCo-v2, {first.steps:,} steps of {first.batch_size} pairs at {first.image_size} px"
        )
        facts.insert(1, ("pretraining", text))
    return facts


_STRATEGIES = {
    "SS": "self-supervised on its own training photographs, then fine-tuned",
    "SS-IN": "self-supervised from ImageNet weights, then fine-tuned",
    "IN": "fine-tuned from ImageNet weights",
    "FS": "trained from scratch",
}


def _counts(member: Member, reference: Reference) -> pd.DataFrame:
    """Images and patients by class: of the test and validation sets, without who they are."""
    rows = []
    for c, name in enumerate(member.classes):
        row: dict[str, Any] = {"class": name}
        for split in ("validation", "test"):
            one = getattr(reference, split)
            own = one.labels == c
            row[f"{split} images"] = int(own.sum())
            row[f"{split} patients"] = len(set(one.patients[own].tolist()))
        rows.append(row)
    return pd.DataFrame(rows)


def _subgroups(member: Member) -> list[str]:
    """For whom it works worse, of the columns that are there; uncalibrated, as the run answered."""
    if member.is_export:
        return ["### Subgroups\n", "Known where the network was exported: see that card.\n"]
    table = member.folder.predictions("test").merge(
        member.folder.splits().drop(columns=["patient", "label"]), on="image"
    )
    columns = [name for name in _COLUMNS if name in table]
    if not columns:
        return [
            "### Subgroups\n",
            f"Not measured: the table of photographs has no column {', '.join(_COLUMNS[:-1])} or "
            f"{_COLUMNS[-1]}.\n",
        ]
    number_of = {name: c for c, name in enumerate(member.classes)}
    labels, predicted = (table[name].map(number_of).to_numpy() for name in ("label", "predicted"))
    rows = []
    for column in columns:
        grouped = subgroup_values.group(table[column].to_numpy(str))
        found = subgroups.break_down(
            grouped.names,
            grouped.order,
            labels,
            predicted,
            table["patient"].to_numpy(str),
            len(member.classes),
            minimum=_LEAST,
        )
        rows += [_subgroup(column, one) for one in found.subgroups]
    header = unlinked(["column", "value", "images", "patients", "accuracy", "macro sensitivity"])
    caption = (
        f"Of test photographs, with the 95 % interval over patients; of fewer than {_LEAST} "
        "nothing is shown. Many small subgroups differ by chance alone."
    )
    return [_table(Table("Subgroups", caption, header, rows))]


def _subgroup(column: str, one: subgroups.Subgroup) -> list[str]:
    shares = (
        None if m is None else m.networks(0.95) for m in (one.accuracy, one.macro_sensitivity)
    )
    written = ["–" if share is None else with_interval(share) for share in shares]
    if one.n < _LEAST:  # small numbers can point at a person
        return [column, one.value, f"fewer than {_LEAST}", "–", *written]
    return [column, one.value, f"{one.n:,}", f"{one.patients:,}", *written]


def _lines(facts: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts) + "\n"


def _table(one: Table) -> str:
    header = [words for words, _ in one.header]
    frame = pd.DataFrame(one.rows, columns=header)
    return f"### {one.heading}\n\n{one.caption}\n\n{_markdown(frame)}\n"


def _markdown(frame: pd.DataFrame) -> str:
    """A table; a class may have a bar in its name."""
    rows = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    rows += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: Any) -> str:
    text = number(value, 3) if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
