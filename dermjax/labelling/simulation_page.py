"""`label/simulation.html`: whether choosing helps here, in figures, tables and plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from dermjax.labelling import simulation_figures
from dermjax.labelling.classifier import CS
from dermjax.labelling.methods import FEW, RANDOM
from dermjax.labelling.simulation_results import LEVEL, nan_of
from dermjax.report import figures, looks, pages
from dermjax.report.illustration import Illustration
from dermjax.report.numbers import number, p_value, signed, signed_span
from dermjax.report.table import Table, unlinked

# Half an interval's width above which a simulation tells little: gains of choosing are some points.
_WIDE = 0.05
_MUCH = 0.5  # of the pool: beyond, all methods have chosen much the same


def render(results: Mapping[str, Any]) -> str:
    """The page as HTML, a file that needs nothing else.

    Args:
      results: as `simulation.json` has them.
    """
    return pages.render(
        "label_simulation.html",
        title="Does choosing what to label help here?",
        facts=_facts(results),
        findings=findings(results),
        warnings=warnings(results),
        drawn=_drawn(results),
        tables=[_comparison(results), _curves(results)],
        methods=_methods(results),
        png=lambda drawn: figures.data_uri(looks.png(drawn.figure), "png"),
    )


def findings(results: Mapping[str, Any]) -> list[str]:
    """The answer in sentences."""
    labels, best, others = results["labels"], results["best"], _others(results)
    span = f"from {labels[1]:,} to {labels[-1]:,} labels"
    if best == RANDOM:
        said = ["No method beats random choice here: draw the photographs at random."]
        if all(one["p_holm"] >= LEVEL for one in others.values()):
            said.append(
                f"Of {len(others)} methods none differs from it by more than chance explains "
                f"(smallest p, adjusted: {p_value(min(o['p_holm'] for o in others.values()))})."
            )
        highs = [nan_of(own["difference"]["high"]) for own in others.values()]
        if all(high == high for high in highs) and max(highs) > 0:
            said.append(
                f"No 95 % interval reaches beyond {signed(max(highs))}: larger gains are unlikely."
            )
    else:
        one = results["methods"][best]
        p = p_value(one["p_holm"])
        said = [
            f"{best} beats random choice here: on average {span}, its macro sensitivity on "
            f"validation patients is {_gain(one)} higher, p {p if '<' in p else f'= {p}'} after "
            f"Holm's adjustment for {len(others)} methods."
        ]
        also = [
            name
            for name, own in others.items()
            if name != best and own["p_holm"] < LEVEL and own["difference"]["value"] > 0
        ]
        if also:
            said.append(f"So do {', '.join(also)}." if len(also) > 1 else f"So does {also[0]}.")
        needs = one["needs_for_random_s_last"]
        if needs is not None:
            said.append(
                f"{best} reaches with {needs:,.0f} labels what random choice reaches with "
                f"{labels[-1]:,}."
            )
    worse = [
        f"{name} ({_gain(own)})"
        for name, own in others.items()
        if own["p_holm"] < LEVEL and own["difference"]["value"] < 0
    ]
    if worse:
        said.append(f"Worse than random choice: {', '.join(worse)}.")
    return said


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What the reader must not overlook."""
    said, others = [], _others(results)
    halves = [
        (nan_of(one["difference"]["high"]) - nan_of(one["difference"]["low"])) / 2
        for one in others.values()
    ]
    if not all(half <= _WIDE for half in halves):  # NaN is wide, too
        widest = max(halves, default=0)
        reach = f"± {number(widest, 3)}" if widest == widest else "without bound"
        said.append(
            f"This simulation has little power: its widest interval is {reach} of macro "
            "sensitivity, more than choosing usually gains. That no difference is seen then says "
            "little; more labelled validation patients, or more seeds, would make it narrower."
        )
    share = results["labels"][-1] / results["n"]["train"]
    if share > _MUCH:
        said.append(
            f"At the end {100 * share:.0f} % of the labelled training photographs are chosen by "
            "every method: they differ the less the more of all they have."
        )
    if results["encoder"] == "finetune":
        said.append(
            "The encoder was fine-tuned on labels of some of these training photographs, so that "
            "choosing was tried on features that know part of the answer: take encoder=pretrain."
        )
    if results["n"]["validation_patients"] < 2:
        said.append("There is one validation patient: no interval can be given.")
    return said


def _others(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: one for name, one in results["methods"].items() if name != RANDOM}


def _gain(one: Mapping[str, Any]) -> str:
    """`+.034 [+.012, +.056]`."""
    found = one["difference"]
    span = signed_span(nan_of(found["low"]), nan_of(found["high"]))
    return f"{signed(nan_of(found['value']))} {span}"


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    n, labels = results["n"], results["labels"]
    who = "patients"
    if results["without_patient"]:
        who += " (where no patient is named, a lesion or a photograph counts as one)"
    return [
        ("run", results["run"]),
        ("features", f"{results['encoder']} encoder, {results['model']}"),
        ("classifier", _classifier(results)),
        (
            "chosen from",
            f"{n['train']:,} labelled training photographs of {n['train_patients']:,} {who}, "
            f"{len(results['classes'])} classes",
        ),
        (
            "measured on",
            f"{n['validation']:,} validation photographs of {n['validation_patients']:,} {who}",
        ),
        (
            "labels",
            f"{labels[0]:,} at random, then {len(labels) - 1} batches of {labels[1] - labels[0]:,}",
        ),
        ("seeds", f"{results['seeds']:,}"),
    ]


def _drawn(results: Mapping[str, Any]) -> list[Illustration]:
    return [
        Illustration(
            "curves",
            simulation_figures.curves(results),
            "Macro sensitivity by labels",
            f"Mean over {results['seeds']:,} seeds. Grey: 95 % interval of random choice, over "
            "seeds and validation patients.",
        ),
        Illustration(
            "differences",
            simulation_figures.differences(results),
            "Difference to random choice",
            "From the same first labels, with 95 % intervals over seeds and validation patients, "
            "not widened for their number. Above the line: better than random choice.",
        ),
    ]


def _comparison(results: Mapping[str, Any]) -> Table:
    labels, rare = results["labels"], results["rare_classes"]
    rows, best = [], []
    for name, one in results["methods"].items():
        is_random = name == RANDOM
        rows.append(
            [
                name,
                "" if is_random else _gain(one),
                "" if is_random else p_value(one["p"]),
                "" if is_random else p_value(one["p_holm"]),
                "" if is_random else _needed(one["needs_for_random_s_last"], labels[-1]),
                "" if is_random else _needed(one["random_needs_for_its_last"], labels[-1]),
                _spread(one["rare_found"], 1),
            ]
        )
        best.append([name == results["best"]] + [False] * (len(rows[0]) - 1))
    return Table(
        "The methods",
        f"Differences are means over the rounds from {labels[1]:,} to {labels[-1]:,} labels, with "
        "95 % intervals over seeds and validation patients; p is two-sided. Labels are read off "
        "the mean curves and have no interval: of a method that does not beat random choice they "
        "say nothing. "
        f"Rare classes, with less than half of an equal share of the photographs, are "
        f"{', '.join(rare)}: {results['n']['rare']:,} photographs in all; found are those that "
        f"the method chose among {labels[-1] - labels[0]:,}, mean over seeds with 95 % interval "
        "over seeds. In bold what method=auto takes.",
        unlinked(
            [
                "method",
                "minus random",
                "p",
                "p, adjusted",
                f"labels for what random reaches with {labels[-1]:,}",
                f"labels random needs for what it reaches with {labels[-1]:,}",
                "rare found",
            ]
        ),
        rows,
        best,
    )


def _curves(results: Mapping[str, Any]) -> Table:
    rows = [
        [name, *(_spread(value, 3) for value in one["macro_sensitivity"])]
        for name, one in results["methods"].items()
    ]
    return Table(
        "Macro sensitivity on validation patients",
        "Mean over seeds, in brackets the 95 % interval over seeds and validation patients.",
        unlinked(["method", *(f"{count:,} labels" for count in results["labels"])]),
        rows,
    )


def _needed(labels: float | None, last: int) -> str:
    return f"{labels:,.0f}" if labels is not None else f"more than {last:,}"


def _spread(found: Mapping[str, float | None], digits: int) -> str:
    low, high = nan_of(found["low"]), nan_of(found["high"])
    value = number(nan_of(found["value"]), digits)
    return value if low != low else f"{value} [{number(low, digits)}, {number(high, digits)}]"


def _classifier(results: Mapping[str, Any]) -> str:
    """What learnt from the labels."""
    if stage := results.get("finetune"):
        return f"the network, fine-tuned for {stage['steps']:,} steps of {stage['batch_size']:,}"
    return "logistic regression on the features"


def _training(results: Mapping[str, Any]) -> list[str]:
    """How the classifier learnt, and what it does not tell."""
    blind = (
        "the validation photographs chose nothing, they were predicted only. The test set was not "
        "touched."
    )
    if stage := results.get("finetune"):
        return [
            "After each batch the network was fine-tuned anew on the labels so far, from the "
            f"{results['encoder']} encoder, with the run's own settings for {stage['steps']:,} "
            f"steps of {stage['batch_size']:,} images; the network after the last step counts: "
            f"{blind} Probabilities are of the classes that had a label by then. typicality and "
            "coverage choose by the features of the encoder as it was before.",
        ]
    cs = ", ".join(f"{c:g}" for c in CS)
    return [
        "After each batch a logistic regression on the frozen, standardised features was fitted to "
        f"the labels so far, each class weighing the same. Its C, of {cs}, has the least log loss "
        f"over three folds of the patients that are labelled: {blind}",
        "A network that is fine-tuned on the chosen photographs may gain more, or less, than this "
        "linear probe does (classifier=finetune tries it).",
    ]


def _methods(results: Mapping[str, Any]) -> Sequence[str]:
    return [
        "The labels of the training photographs were hidden. From each seed the same first labels "
        "were drawn for all methods, every patient once before any came again; then each method "
        f"asked for its batches, with {results['per_patient']} photograph"
        f"{'s' if results['per_patient'] > 1 else ''} of a patient and one of a lesion and of near "
        "duplicates in a batch. Random choice has the same bounds.",
        *_training(results),
        "Each method is asked one question: whether its macro sensitivity, averaged over the "
        "rounds, exceeds that of random choice. Seeds are paired by their first labels. Intervals "
        "and p are over seeds and validation patients (Obuchowski & Rockette 1995 for readers and "
        "cases; here seeds and patients); p is adjusted over the methods (Holm 1979).",
        f"handover is typicality (TypiClust) while there are fewer than {FEW} labels for each "
        "class that is known, then margin, in the order of TCM (Doucet et al. 2024).",
    ]
