"""The study's methods in words and numbers, from the configs and the records of its runs."""

import collections
from collections.abc import Iterable, Mapping
from typing import Any

from dermjax.report import wording
from dermjax.report.numbers import percent
from dermjax.settings import DataSettings
from dermjax.strategies import VARIANTS, split
from dermjax.study.cost import cost
from dermjax.study.deviations import ONLY_WITH, deviations, positives_in_words
from dermjax.study.results import Outcome, Outcomes
from dermjax.study.settings import StudySettings

# Fields of a stage that say where, how often and by which run, not what.
_NAMES = {"encoder_rate": "learning rate of an encoder that was trained before, as a factor"}
_WITHOUT_EFFECT = "directory report_every save_every monitor accumulate_steps repeat".split()


def describe(settings: StudySettings, outcomes: Outcomes) -> dict[str, list[tuple[str, str]]]:
    """The methods by heading: names and values."""
    run = settings.run
    described = {
        "Data": _data(settings, outcomes),
        "Network": [
            ("network", run.model.name),
            ("longest side of a crop", f"{run.data.max_side} px"),
            ("dropout, stochastic depth", f"{run.model.drop_rate}, {run.model.drop_path_rate}"),
            *_starts(outcomes),
        ],
    }
    described |= _pretrainings(settings, outcomes)
    options = {split(one.planned.strategy)[1] for one in outcomes.runs}
    named = [name for name in VARIANTS if name in options]
    but = ", but for the options below" if named else ""
    described[f"Fine-tuning (all strategies{but})"] = [
        ("optimizer", "AdamW, whose decay is of kernels only"),
        *_fields(run.finetuning.to_dict()),
    ]
    if named:
        described["Fine-tuning for rare classes"] = [
            (name, _together_in_words(VARIANTS[name])) for name in named
        ]
    described["Statistics"] = _statistics(settings, outcomes)
    described["Machine and cost"] = cost([one.results for one in outcomes.runs])
    described["Software"] = _versions(outcomes)
    theirs = ""
    if any(one.planned.settings.strategy == "SS" for one in outcomes.runs):
        theirs = "; of pretraining, from the authors' public files, which are older than the paper"
    described[f"Deviations from the paper{theirs}"] = [
        (f"{i + 1}", text) for i, text in enumerate(deviations(settings, outcomes))
    ]
    return described


def _pretrainings(settings: StudySettings, outcomes: Outcomes) -> dict[str, list[tuple[str, str]]]:
    """A heading for each strategy with pretraining; of SS-IN beside SS what it has otherwise."""
    found, first = {}, None
    for strategy in outcomes.pretrained():
        own = settings.pretraining(strategy)
        stage = own.to_dict()
        stage["queue_size"] = own.queue_length(outcomes.runs[0].results["n"]["train"])
        stage["positives"] = positives_in_words(own, strategy, outcomes)
        heading = f"Pretraining ({strategy}): MoCo-v2 on all training images, labels unused"
        if first is not None:
            heading = f"Pretraining ({strategy}): as that of SS, but for"
        elif own.init == "imagenet":
            heading += ", from the weights named above"
            if strategy == "SS":
                heading += " (which makes it what SS-IN is elsewhere)"
        found[heading] = _fields(stage, than=first)
        first = stage
    return found


def checklist(settings: StudySettings, outcomes: Outcomes) -> list[tuple[str, str]]:
    """Questions of a reader, and where the answer is; '' for what only the authors know."""
    first = outcomes.runs[0].results
    excluded = first["excluded"]
    parts = any(name in outcomes.columns for name in settings.report.subgroups)
    compared = "Differences, " if len(outcomes.strategies()) > 1 else ""
    return [
        ("Where do the photographs come from, and who may use them?", ""),
        ("How was the reference label made, by whom, with histology in which share?", ""),
        (
            "Which patients are these (ages, skin types, sites)?",
            "Subgroups, as far as the data say; audit.html of a run" if parts else "",
        ),
        ("How many images and patients in each set?", "Methods, data"),
        ("Is anybody in two sets?", _in_two_sets(outcomes)),
        (
            "What was left out, and why?",
            f"{excluded['everywhere']:,} images everywhere, {excluded['test']:,} of the test set; "
            "the reason is for the authors to say",
        ),
        ("How were images prepared?", "Methods, network and fine-tuning"),
        ("Which weights did training start from?", "Methods, network"),
        ("How was the model selected?", "Methods, fine-tuning, “select”: on validation images"),
        (
            "Was the test set used before?",
            "Each run measured it once, after its network was selected on validation images; of "
            "what was done outside this study the authors know",
        ),
        (
            "Measures with intervals?",
            f"Strategies, {compared}Ranking, Calibration{', Subgroups' if parts else ''}",
        ),
        ("Is it calibrated?", "Calibration"),
        ("For whom does it work worse?", "Subgroups" if parts else ""),
        ("How does it compare with dermatologists?", ""),
        ("External validation, at another clinic or camera?", ""),
        ("What is the intended use, and what happens with unknown diseases?", ""),
        ("Is code, data and model available?", ""),
    ]


def _statistics(settings: StudySettings, outcomes: Outcomes) -> list[tuple[str, str]]:
    """Which variances the figures hold, and how."""
    trials = {len(outcomes.of(s, a)) for s in outcomes.strategies() for a in outcomes.alphas()}
    both = (
        "95 %, over other test patients AND other trainings: patients by the jackknife, trainings "
        "by the trials' variance, together as readers and cases are (Obuchowski & Rockette 1995, "
        "degrees of freedom by Satterthwaite)"
    )
    alone = (
        "95 %, over other test patients alone: of these trained networks; a single trial does not "
        "show what another training changes"
    )
    found = []
    if max(trials) > 1:
        found.append(("intervals of strategies (two trials or more)", both))
    if min(trials - {0}) == 1:
        found.append(("intervals of a single trial", alone))
    found += [
        (
            "ends of intervals",
            "of measures in [0, 1] the modified Jeffreys interval at the effective number of "
            "images (Brown et al. 2001; Korn & Graubard 1998), never of no width; of differences, "
            "Brier score and log loss Student's; none where fewer than two patients stand "
            "behind a measure",
        ),
        (
            "rare classes in macro means",
            "the variance of a class of few patients is drawn towards that of all classes",
        ),
        (
            "tests",
            "of strategies: Student's t with both variances, each strategy's own over trainings "
            "(Welch), over the trials that both have; of these networks: Student's t with the "
            "variance over patients alone; Holm over all pairs and shares in one measure, for "
            "each of the two",
        ),
        (
            "errors of calibration",
            f"basic bootstrap intervals of {settings.report.resamples:,} draws of the test "
            f"patients, seed {settings.report.seed}; over patients alone",
        ),
    ]
    if shared := pretrainings_in_words(outcomes):
        found.append(("pretraining", shared))
    return found


def pretrainings_in_words(outcomes: Outcomes) -> str:
    """Which part of a pretraining's chance is in the figures; '' where none is pretrained."""
    said: dict[str, list[str]] = {}
    for strategy in outcomes.pretrained():
        own = [run for run in outcomes.runs if run.planned.settings.strategy == strategy]
        said.setdefault(_pretrainings_of(own), []).append(strategy)
    if len(said) == 1:
        ((sentence, strategies),) = said.items()
        if len(strategies) == 1:
            return sentence
        return f"{' and '.join(strategies)} alike: {sentence[0].lower()}{sentence[1:]}"
    return " ".join(f"{strategy}: {sentence}" for sentence, (strategy,) in said.items())


def _pretrainings_of(runs: list[Outcome]) -> str:
    """`pretrainings_in_words` of the runs of one strategy."""
    count = len({run.results["pretraining"] for run in runs})
    trials = len({run.planned.trial for run in runs})
    if trials == 1:
        return (
            "There is one trial with one pretraining: what another pretraining would change is in "
            "no figure."
        )
    if count == 1:
        return (
            f"All {trials} trials with pretraining share one: what another pretraining would "
            "change is in no figure (pretrainings=" + str(trials) + " gives each its own)."
        )
    if count == trials:
        return (
            f"Each of the {trials} trials has a pretraining of its own: what another pretraining "
            "would change is in the figures of strategies with pretraining."
        )
    return f"{len(runs)} runs start from {count} different pretrainings."


def _in_two_sets(outcomes: Outcomes) -> str:
    """Who is in two sets, as far as the records of the runs say who is who."""
    allowed = outcomes.runs[0].results["allowed"]
    unknown = sum(not str(group).startswith("patient:") for group in outcomes.groups)
    said = "No known patient, lesion or identical file"
    if allowed:
        said = f"Yes, by leave: {_allowed(allowed)}"
    if unknown:
        said += f"; of {unknown:,} test images the patient is not known"
    return said


def _allowed(allowed: dict[str, list[str]]) -> str:
    return ", ".join(f"{len(ids):,} {name.replace('_', ' ')}" for name, ids in allowed.items())


def groups_in_words(groups: Iterable[str]) -> str:
    """Describes whose the images are: `30 patients, 4 lesions of unknown patients`.

    Args:
      groups: of each image, as `splits.merge_groups` names them.
    """
    kinds = collections.Counter(str(group).partition(":")[0] for group in set(groups))
    found = [
        (kinds.pop("patient", 0), "patient", "patients"),
        (kinds.pop("lesion", 0), "lesion of an unknown patient", "lesions of unknown patients"),
    ]
    found.append((kinds.total(), "photograph of its own", "photographs of unknown patients"))
    said = [f"{count:,} {one if count == 1 else many}" for count, one, many in found if count]
    return ", ".join(said)


def _data(settings: StudySettings, outcomes: Outcomes) -> list[tuple[str, str]]:
    first = outcomes.runs[0].results
    n, data = first["n"], settings.run.data
    labelled: dict[float, str] = {}
    for one in outcomes.runs:
        kept = one.results["n"]["train_labelled"]
        labelled.setdefault(one.planned.alpha, f"{percent(one.planned.alpha)}: {kept:,}")
    return [
        ("source", data.source),
        ("fingerprint", first["data_fingerprint"]),
        (
            "training, validation, test images",
            f"{n['train']:,}, {n['validation']:,}, {n['test']:,}",
        ),
        ("labelled at each share (first trial)", "; ".join(labelled[a] for a in sorted(labelled))),
        *_people(outcomes),
        ("sets", _sets(data, first.get("sets"))),
        ("kept together", _together(data, first.get("sets"))),
        ("allowed to be in two sets", _allowed(first["allowed"]) or "nothing"),
        (
            "left out",
            f"{first['excluded']['everywhere']:,} images everywhere, {first['excluded']['test']:,} "
            "of the test set",
        ),
    ]


def _people(outcomes: Outcomes) -> list[tuple[str, str]]:
    """Whose the images of each set are."""
    return [
        (f"{name} images are of", groups_in_words(groups))
        for name, groups in (outcomes.sets | {"test": outcomes.groups}).items()
    ]


def _sets(data: DataSettings, origin: str | None) -> str:
    """Who made the sets; runs of earlier versions do not say it."""
    made = f"by patient, seed {data.split_seed}"
    if origin is None:
        return "as the data name them, if they do, else " + made
    if origin == "given":
        return "as the data name them"
    if origin == "made":
        return made
    return f"training and test as the data name them, validation taken out of training {made}"


def _together(data: DataSettings, origin: str | None) -> str:
    """What lies in one set as a whole; sets that were given are only looked at."""
    known = "known patients and lesions, identical files"
    bits = data.near_duplicates
    near = f"near duplicates (perceptual hashes within {bits} of 256 bits)" if bits else ""
    if origin == "made":
        return f"{known}, {near}" if near else known
    if origin is None:
        also = f"; where the sets are made here, {near}" if near else ""
        return f"{known}, but for what is named below{also}"
    looked = f"; {near} were looked for" if near else ""
    return f"{known}, but for what is named below: the sets that were given were checked{looked}"


def _starts(outcomes: Outcomes) -> list[tuple[str, str]]:
    """What each strategy's first stage started from."""
    found: dict[str, dict[str, None]] = {}
    for one in outcomes.runs:
        weights = one.results["weights"]
        sha = f", sha256 {weights['sha256'][:12]}" if weights["sha256"] else ""
        starts = found.setdefault(f"{one.planned.strategy} starts from", {})
        starts[f"{wording.weights(weights['source'])}{sha}"] = None
    return [(name, "; ".join(starts)) for name, starts in found.items()]


def _versions(outcomes: Outcomes) -> list[tuple[str, str]]:
    """All versions of each package that a run was made with."""
    found: dict[str, dict[str, None]] = {}
    for one in outcomes.runs:
        for name, version in one.results["versions"].items():
            found.setdefault(name, {})[version] = None
    return [(name, ", ".join(versions)) for name, versions in found.items()]


def _fields(
    stage: Mapping[str, Any], than: Mapping[str, Any] | None = None
) -> list[tuple[str, str]]:
    """Every field of a stage that the results depend on; those of its parts in one line each.

    Args:
      stage: the fields of one.
      than: another one; what it has alike is left out.
    """
    return [
        (_NAMES.get(name, name.replace("_", " ")), _worded(value, than and than[name]))
        for name, value in sorted(stage.items())
        if name not in _WITHOUT_EFFECT
        and _counts(stage, name)
        and (than is None or value != than[name] or not _counts(than, name))
    ]


def _worded(value: Any, than: Any) -> str:
    """A field's value; of a part its fields, without those that another has alike."""
    if not isinstance(value, Mapping):
        return wording.value(value)
    return _together_in_words(
        {name: part for name, part in sorted(value.items()) if than is None or part != than[name]}
    )


def _together_in_words(fields: Mapping[str, Any]) -> str:
    """`crop scale 0.2 to 1, rotation 45`: fields that stand in one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {wording.value(value, ' to ')}" for name, value in fields.items()
    )


def _counts(stage: Mapping[str, Any], name: str) -> bool:
    """Whether a field has an effect beside the others: AdamW has no momentum of SGD."""
    field, value = ONLY_WITH.get(name, (name, stage[name]))
    return stage.get(field) == value
