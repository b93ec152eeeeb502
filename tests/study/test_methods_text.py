"""What the report says of data, cost and paper is what the configuration and the records say."""

import dataclasses
import json

import pandas as pd
import pytest
from etils import epath

from dermjax.configs import study as config_file
from dermjax.report import wording
from dermjax.study import deviations, methods_text, paper_results
from dermjax.study import results as outcomes
from dermjax.study.cost import cost
from dermjax.study.plan import plan
from dermjax.study.settings import StudySettings
from tests.experiment.clinic import with_fields
from tests.study.made_up import changed, write_study

ALL = "+".join(f"{i / 10:g}" for i in range(1, 11))
PAPERS = {"train": 20_926, "validation": 6_829, "test": 6_910, "train_labelled": 2_093}


def record(kind="NVIDIA L4", count=1, hours=1.0, pretraining=None, pretrain_hours=0.0):
    seconds = {"prepare": 0.0, "finetune": 3600 * hours, "evaluate": 0.0}
    if pretraining:
        seconds["pretrain"] = 3600 * pretrain_hours
    return {
        "devices": {"kind": kind, "count": count},
        "seconds": seconds,
        "pretraining": pretraining,
    }


def energy(*records):
    return dict(cost(records))["energy"]


# --- cost ---------------------------------------------------------------------------------------


def test_a_board_is_known_by_its_whole_name():
    assert energy(record("NVIDIA L4")).startswith("0.07 kWh")
    assert energy(record("NVIDIA L40S")).startswith("0.35 kWh")
    assert energy(record("NVIDIA A100-SXM4-80GB")).startswith("0.40 kWh")
    for unknown in ("NVIDIA L4000", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "cpu", "TPU v4 lite"):
        said = energy(record("NVIDIA L4"), record(unknown))
        assert "kWh" not in said and unknown in said and "NVIDIA L4," not in said


def test_every_run_counts_with_its_own_devices():
    said = energy(record("NVIDIA L4", hours=2), record("NVIDIA H200", count=8, hours=0.5))
    assert said.startswith(f"{(2 * 72 + 0.5 * 8 * 700) / 1000:.2f} kWh")
    assert "NVIDIA H200 700 W, NVIDIA L4 72 W" in said
    devices = dict(cost([record("NVIDIA L4", count=2), record("NVIDIA H200")]))
    assert devices["devices of a run"] == "1 x NVIDIA H200, 2 x NVIDIA L4"


def test_a_shared_pretraining_counts_once_wherever_its_folder_is_seen():
    shared = [
        record("NVIDIA L4", 1, 1, "/disk/study/pretrain-b0-1", 10),
        record("NVIDIA L4", 2, 1, "runs/study/pretrain-b0-1", 10),
        record("NVIDIA L4", 1, 1, "runs/study/pretrain-b0-2", 5),
    ]
    lines = dict(cost(shared))
    assert lines["pretrain, hours"] == "15.00" and lines["pretrainings"].startswith("2,")
    assert energy(*shared).startswith(f"{72 * (1 + 2 + 1 + 2 * 10 + 5) / 1000:.2f} kWh")
    assert "several kinds of devices" in energy(*shared)
    assert "several kinds" not in energy(*shared[:1])


# --- deviations ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A study with the paper's own numbers, and what its runs found."""
    folder = tmp_path_factory.mktemp("paper")
    diseases = sorted(set(paper_results.table_one()["disease"]))
    argument = "strategies=FS,alphas=1.0,trials=1"
    _, (run,) = write_study(folder, argument=argument, classes=10, images=30, names=diseases)
    one = outcomes.collect([run])[0]
    results = one.runs[0].results | {"n": PAPERS, "devices": {"kind": "NVIDIA L4", "count": 1}}
    config = config_file.get_config(f"scale=paper,alphas={ALL},trials=3")
    settings = StudySettings.from_config(config)
    runs = [
        dataclasses.replace(one.runs[0], planned=planned, results=results)
        for planned in plan(settings, epath.Path(folder))
    ]
    return settings, dataclasses.replace(one, runs=tuple(runs), planned=settings.strategies)


def test_a_study_as_the_paper_has_it_deviates_in_nothing_that_has_a_number(paper):
    said = deviations.deviations(*paper)
    assert not [line for line in said if any(sign.isdigit() for sign in line)], said
    assert len(said) <= 4


CASES = {
    "run__model__name": ("resnet50", "efficientnet_b4"),
    "run__data__max_side": (128, "512"),
    "run__finetune__steps": (100, "27,000"),
    "run__finetune__image_size": (128, "512"),
    "run__finetune__encoder_rate": (0.1, "of SS, IN, which were trained before"),
    "run__pretrain__batch_size": (128, "256"),
    "run__pretrain__steps": (6_000, "97,200"),
    "run__pretrain__queue_size": (4_096, "65,536"),
    "run__pretrain__learning_rate": (0.03, "0.02"),
    "run__pretrain__optimizer": ("adamw", "sgd"),
    "run__pretrain__schedule": ("cosine", "step"),
    "run__pretrain__temperature": (0.1, "0.2"),
    "run__pretrain__hidden_dim": (512, "2,048"),
    "run__pretrain__dim": (64, "128"),
    "run__pretrain__momentum": (0.99, "0.999"),
    "run__pretrain__image_size": (224, "380"),
    "run__pretrain__weight_decay": (0.05, "0.0001"),
    "run__pretrain__init": ("imagenet", "random"),
    "run__pretrain__positives": ("lesion", "another view of the image itself"),
    "run__pretrain__augment__flip_vertical": (0.5, "0"),
    "run__pretrain__augment__crop_scale": ((0.2, 1.0), "0.08 to 1"),
}


@pytest.mark.parametrize("field", CASES)
def test_each_deviation_is_told_with_both_values(paper, field):
    value, theirs = CASES[field]
    before = deviations.deviations(*paper)
    new = set(deviations.deviations(changed(paper[0], **{field: value}), paper[1])) - set(before)
    own = " to ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
    own = f"{value:,}" if isinstance(value, int) else own
    assert any(own in line and theirs in line for line in new), new


def test_no_field_of_pretraining_that_counts_is_forgotten(paper):
    """Every other value of a field changes what is said, but for what has no effect."""
    before, settings = deviations.deviations(*paper), paper[0]
    for field, value in settings.run.pretraining.to_dict().items():
        if field in (
            "directory",
            "accumulate_steps",
            "report_every",
            "save_every",
            "monitor",
            "repeat",
        ):
            continue
        fields = {f"run__pretrain__{field}": value}
        if field == "augment":
            fields = {f"run__pretrain__augment__{name}": one for name, one in value.items()}
        for name, one in fields.items():
            other = (
                not one
                if isinstance(one, bool)
                else tuple(2 * x for x in one)
                if isinstance(one, tuple)
                else "other"
                if isinstance(one, str)
                else 2 * one + 1
            )
            assert deviations.deviations(changed(settings, **{name: other}), paper[1]) != before, (
                name
            )


def test_an_automatic_queue_is_told_by_its_length(paper):
    said = " ".join(deviations.deviations(changed(paper[0], run__pretrain__queue_size=0), paper[1]))
    assert "keys in the queue: 512; the authors': 65,536" in said


def test_positives_of_the_lesion_are_told_with_their_number(paper):
    settings = changed(
        paper[0], run__pretrain__positives="lesion", run__pretrain__mask_same_image=True
    )
    counted = {"kind": "lesion", "images": 20_926, "with_partner": 1_234}
    runs = [
        dataclasses.replace(run, results=run.results | {"positives": counted})
        if run.planned.settings.strategy == "SS"
        else run
        for run in paper[1].runs
    ]
    recorded = dataclasses.replace(paper[1], runs=tuple(runs))
    (line,) = [line for line in deviations.deviations(settings, recorded) if "positives" in line]
    assert line.startswith("Pretraining, positives: another photograph of the same lesion")
    assert "(of 1,234 of 20,926 training images)" in line and "one image of each object" in line
    # Masking the own image changes nothing where the whole lesion is masked.
    assert not [one for one in deviations.deviations(settings, recorded) if "own image" in one]
    for of, words in (
        (settings, "another photograph of the same lesion, where"),
        (paper[0], "image"),
    ):
        said = methods_text.describe(of, recorded)
        (name,) = [heading for heading in said if heading.startswith("Pretraining (SS)")]
        assert dict(said[name])["positives"].startswith(words)


def test_what_adamw_has_not_is_no_deviation(paper):
    adamw = changed(paper[0], run__pretrain__optimizer="adamw", run__pretrain__nesterov=False)
    assert not [line for line in deviations.deviations(adamw, paper[1]) if "Nesterov" in line]


def test_the_study_s_own_extent_is_compared(tmp_path):
    argument = "strategies=FS+FS-focal,alphas=0.1+1.0,trials=2"
    settings, runs = write_study(tmp_path, argument=argument)
    (runs[0].folder.path / "results.json").unlink()
    said = "\n".join(deviations.deviations(settings, outcomes.collect(runs)[0]))
    for words in (
        *("without SS, IN;", "the paper does not have: FS-focal", "Labelled shares: 10, 100 %"),
        *("1 to 2; the paper has 3", "Classes: 4; the paper has ten", "360, 120, 120"),
        *("Fine-tuning: 200 iterations; the paper has 27,000", "48 px; the paper has 512"),
    ):
        assert words in said
    assert "Pretraining" not in said  # there is none in this study


# --- data ---------------------------------------------------------------------------------------


def described(folder, argument="strategies=FS,alphas=1.0,trials=1", **records):
    settings, runs = write_study(folder, argument=argument, images=30)
    for run in runs:
        path = run.folder.path / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | records))
    found = outcomes.collect(runs)[0]
    return settings, found, dict(methods_text.describe(settings, found)["Data"])


def test_near_duplicates_are_kept_together_only_where_the_sets_are_made_here(tmp_path):
    _, _, made = described(tmp_path / "made", sets="made")
    assert "seed 0" in made["sets"] and "near duplicates" in made["kept together"]
    assert "given" not in made["kept together"]
    _, _, given = described(tmp_path / "given", sets="given")
    assert given["sets"] == "as the data name them" and "given" in given["kept together"]
    _, _, old = described(tmp_path / "old")  # a run of an earlier version
    assert "if they do" in old["sets"]


def test_who_is_in_two_sets_is_answered_from_the_record(tmp_path):
    allowed = {"patients": ["p1", "p2"], "near duplicates": ["a.png"]}
    settings, found, data = described(tmp_path / "allowed", allowed=allowed)
    answer = dict(methods_text.checklist(settings, found))["Is anybody in two sets?"]
    assert answer.startswith("Yes") and "2 patients" in answer and "1 near duplicates" in answer
    assert "2 patients" in data["allowed to be in two sets"]
    settings, found, _ = described(tmp_path / "clean")
    assert dict(methods_text.checklist(settings, found))["Is anybody in two sets?"].startswith(
        "No "
    )


def test_methods_name_no_field_that_had_no_effect(tmp_path):
    argument = "strategies=SS,alphas=1.0,trials=1"
    settings, runs = write_study(tmp_path, argument=argument, images=30)  # AdamW, cosine, no focal
    found = methods_text.describe(settings, outcomes.collect(runs)[0])
    names = {name for lines in found.values() for name, _ in lines}
    assert "weight decay" in names and "label smoothing" in names
    assert not names & {"nesterov", "sgd momentum", "milestones", "focal gamma", "monitor"}
    (lines,) = [dict(lines) for heading, lines in found.items() if heading.startswith("Pretrain")]
    assert lines["queue size"] != "0"  # automatic


# --- SS-IN --------------------------------------------------------------------------------------

FOUR = "strategies=SS+SS-IN+IN+FS,alphas=1.0"


def four(folder, argument="trials=1", strategies=FOUR, **fields):
    """(settings, outcomes) of a study whose runs have the fields."""
    config = with_fields(config_file.get_config(f"scale=demo,{strategies},{argument}"), fields)
    argument = f"{strategies},{argument}"
    settings, runs = write_study(folder, argument=argument, images=30, config=config)
    return settings, outcomes.collect(runs)[0]


def headings(settings, found):
    described = methods_text.describe(settings, found)
    return {name: dict(lines) for name, lines in described.items() if name.startswith("Pretrain")}


def test_both_pretrainings_are_described_and_that_of_ss_in_by_what_it_has_otherwise(tmp_path):
    fields = {"run__pretrain__batch_size": 32, "ss_in__pretrain__batch_size": 64}
    fields |= {"run__pretrain__augment__hue": 0.02, "ss_in__pretrain__augment__hue": 0.05}
    settings, found = four(tmp_path, **fields)
    (_, ss), (heading, ss_in) = headings(settings, found).items()
    assert heading == "Pretraining (SS-IN): as that of SS, but for"
    assert ss["init"] == "random" and ss["queue size"] == "32" and "hue 0.02" in ss["augment"]
    assert ss_in == {
        **{"init": "imagenet", "batch size": "64", "queue size": "64"},  # of 90 training images
        "augment": "hue 0.05",
    }
    starts = dict(methods_text.describe(settings, found)["Network"])
    assert starts["SS starts from"] == "random weights"
    assert starts["SS-IN starts from"].startswith("the weights of the file file.npz, sha256 000")
    said = "\n".join(deviations.deviations(settings, found))
    assert "Strategies that the paper does not have: SS-IN." in said and "without" not in said
    assert "SS-IN's pretraining, images of a batch: 64; SS's: 32." in said
    assert "SS-IN's pretraining, augmentation (hue): 0.05; SS's: 0.02." in said
    assert "Pretraining, images of a batch: 32; the authors': 256." in said


def test_ss_in_alone_is_described_whole_and_compared_with_the_authors(tmp_path):
    settings, found = four(
        tmp_path, strategies="strategies=SS-IN-focal+FS,alphas=1.0", run__pretrain__dim=64
    )
    ((heading, fields),) = headings(settings, found).items()
    assert heading.startswith("Pretraining (SS-IN): MoCo-v2 on all training images")
    assert (fields["init"], fields["dim"]) == ("imagenet", "64") and "optimizer" in fields
    said = "\n".join(deviations.deviations(settings, found))
    assert "Pretraining, first weights: imagenet; the authors': random." in said
    assert "Pretraining, dimensions of an embedding: 64; the authors': 128." in said


def test_ss_that_starts_from_weights_is_told_to_do_so(tmp_path):
    fields = dict(run__pretrain__init="imagenet", run__init__weights="file.npz")
    settings, found = four(tmp_path, strategies="strategies=SS+FS,alphas=1.0", **fields)
    ((heading, _),) = headings(settings, found).items()
    assert "from the weights named above (which makes it what SS-IN is elsewhere)" in heading
    starts = dict(methods_text.describe(settings, found)["Network"])["SS starts from"]
    assert starts.startswith("the weights of the file file.npz")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "SS and SS-IN alike: all 2 trials with pretraining share one: what another"),
        (
            {("SS", 1): "x", ("SS-IN", 1): "y"},
            "SS and SS-IN alike: each of the 2 trials has a pretraining of its own",
        ),
        (
            {("SS-IN", 1): "y"},
            "SS: All 2 trials with pretraining share one: what another pretraining would change is "
            "in no figure (pretrainings=2 gives each its own). SS-IN: Each of the 2 trials has",
        ),
    ],
)
def test_a_pretraining_of_each_strategy_is_not_one_of_each_trial(tmp_path, changes, sentence):
    """Two strategies and two trials: two pretrainings in all say nothing of their chance."""
    settings, found = four(tmp_path, "trials=2")
    for run in found.runs:
        key = run.planned.settings.strategy, run.planned.trial
        run.results["pretraining"] = changes.get(key, run.results["pretraining"])
    assert methods_text.pretrainings_in_words(found).startswith(sentence)
    assert dict(cost([run.results for run in found.runs]))["pretrainings"].startswith(
        f"{2 + len(changes)},"
    )


def test_whose_images_each_set_has(tmp_path):
    _, found, data = described(tmp_path)
    sets = pd.read_csv(found.runs[0].planned.folder.path / "splits.csv")
    for name, split in (("training", "train"), ("validation", "validation"), ("test", "test")):
        people = sets["patient"][sets["split"] == split].nunique()
        assert data[f"{name} images are of"] == f"{people} patients"


def test_weights_are_called_by_their_file_alone(tmp_path):
    """Folders are of one machine, and may name a person."""
    weights = {"source": "/home/jane.doe/secret/lite0.pth", "sha256": "ab" * 32}
    argument = "strategies=IN,alphas=1.0,trials=1"
    settings, found, _ = described(tmp_path, argument, weights=weights)
    settings = changed(settings, run__init__weights=weights["source"])
    network = dict(methods_text.describe(settings, found)["Network"])
    assert network["IN starts from"] == "the weights of the file lite0.pth, sha256 abababababab"
    (line,) = [line for line in deviations.deviations(settings, found) if line.startswith("IN st")]
    assert "lite0.pth" in line and "jane" not in line and "is not known here" in line
    for source, said in (
        ("timm/efficientnet_b4.ra2_in1k", "the weights timm/efficientnet_b4.ra2_in1k"),
        ("random", "random weights"),
    ):
        assert wording.weights(source) == said


def test_a_pretraining_for_each_trial_is_a_deviation(tmp_path):
    argument = "strategies=SS,alphas=1.0,trials=2,pretrainings=2"
    settings, runs = write_study(tmp_path, argument=argument, images=30)
    for run in runs:
        path = run.folder.path / "results.json"
        path.write_text(path.read_text().replace("pretrain-SS", f"pretrain-{run.trial}"))
    found = outcomes.collect(runs)[0]
    said = deviations.deviations(settings, found)
    assert [line for line in said if line.startswith("Pretrainings: 2, one for each trial")]
    assert "a pretraining of its own: what another" in methods_text.pretrainings_in_words(found)
    shared, runs = write_study(
        tmp_path / "shared", argument="strategies=SS,alphas=1.0,trials=2", images=30
    )
    said = deviations.deviations(shared, outcomes.collect(runs)[0])
    assert not [line for line in said if line.startswith("Pretrainings:")]


def test_fine_tuning_names_its_optimizer_and_fields_are_in_words(tmp_path):
    argument = "strategies=SS,alphas=1.0,trials=1"
    settings, runs = write_study(tmp_path, argument=argument, images=30)
    found = methods_text.describe(settings, outcomes.collect(runs)[0])
    (tuning,) = [dict(lines) for name, lines in found.items() if name.startswith("Fine-tuning")]
    assert tuning["optimizer"].startswith("AdamW")
    for lines in found.values():
        for _, value in lines:
            assert "True" not in value and "False" not in value and "crop_scale" not in value
    assert "crop scale 0.3 to 1" in tuning["augment"]


def test_groups_are_called_what_they_are():
    assert methods_text.groups_in_words(["patient:1", "patient:1", "patient:2"]) == "2 patients"
    said = methods_text.groups_in_words(["patient:1", "lesion:2", "photo:a", "photo:b", "00001"])
    assert said.startswith("1 patient, 1 lesion") and "3 photographs" in said


def test_questions_that_the_data_do_not_answer_are_for_the_authors(tmp_path):
    settings, found, _ = described(tmp_path)
    assert dict(methods_text.checklist(settings, found))["For whom does it work worse?"]
    settings = changed(settings, report__subgroups=("skin_type",))
    assert dict(methods_text.checklist(settings, found))["For whom does it work worse?"] == ""
    assert (
        "Differences"
        not in dict(methods_text.checklist(settings, found))["Measures with intervals?"]
    )


def test_a_labelled_share_has_the_first_trial_s_count(tmp_path):
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=0.5,trials=2")
    first = json.loads((runs[0].folder.path / "results.json").read_text())["n"]["train_labelled"]
    data = dict(methods_text.describe(settings, outcomes.collect(runs)[0])["Data"])
    assert data["labelled at each share (first trial)"] == f"50 %: {first}"
