"""A whole run on a miniature clinic: its contract, its sharing, its resuming."""

import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from dermjax import models
from dermjax.cli import task
from dermjax.experiment import class_predictor, control, evaluate, export, finetune, knn_monitor
from dermjax.experiment import dataset as prepare
from dermjax.experiment.predictor import Predictor
from dermjax.steps import classify, moco
from dermjax.training.writer import Writer
from tests.experiment.clinic import CLASSES, tiny_config, tiny_settings, write_clinic, write_weights
from tests.experiment.ends import differences, end_of, final_params


def read_csv(path):
    with pathlib.Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def read_results(folder):
    return json.loads((pathlib.Path(folder) / "results.json").read_text())


def config_of(base, strategy="SS", **fields):
    return tiny_config(strategy, base / "photos.csv", **fields)


def test_the_workdir_keeps_its_contract(base):
    ss = base / "runs" / "ss"
    config = json.loads((ss / "config.json").read_text())
    assert config["data"]["alpha"] == 0.5 and config["strategy"] == "SS"

    splits = read_csv(ss / "splits.csv")
    assert list(splits[0]) == ["image", "patient", "label", "split", "labelled", "group"]
    assert len(splits) == 54
    assert {row["split"] for row in splits} == {"train", "validation", "test"}
    sets = {}
    for row in splits:
        sets.setdefault(row["patient"], set()).add(row["split"])
    assert all(len(found) == 1 for found in sets.values())
    test_rows = [row for row in splits if row["split"] == "test"]

    predictions = read_csv(ss / "predictions.csv")
    assert list(predictions[0]) == [
        "image", "patient", "label", "predicted", *(f"p_{name}" for name in CLASSES)
    ]  # fmt: skip
    assert [row["image"] for row in predictions] == [row["image"] for row in test_rows]
    validation = read_csv(ss / "validation_predictions.csv")
    assert {row["image"] for row in validation} == {
        row["image"] for row in splits if row["split"] == "validation"
    }
    with np.load(ss / "test_features.npz") as kept:  # no pickled objects
        assert kept["id"].tolist() == [row["image"] for row in test_rows]
        assert kept["features"].dtype == np.float16 and len(kept["features"]) == len(test_rows)
    with np.load(ss / "reference.npz") as kept:  # nobody's name is in it
        assert all(array.dtype.kind in "if" for name, array in kept.items() if "method" not in name)
        assert len(kept["test_logits"]) == len(test_rows)
    for row in predictions:
        shares = {name: float(row[f"p_{name}"]) for name in CLASSES}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(shares, key=shares.get)

    lines = read_lines(ss / "metrics.jsonl")
    assert [(x["stage"], x["step"]) for x in lines] == [
        *(("pretrain", step) for step in (2, 4, 6)),
        *(("finetune", step) for step in (2, 4, 6)),
    ]
    for line in lines:
        assert {"loss", "images_per_second", "seconds_waiting_for_data"} <= set(line)
    assert (ss / "checkpoints" / "finetune" / "6").is_dir()
    assert (ss / "checkpoints" / "pretrain" / "6").is_dir()


def test_results_agree_with_the_predictions(base):
    ss = base / "runs" / "ss"
    results = json.loads((ss / "results.json").read_text())
    assert set(results) >= {
        "strategy", "alpha", "trial", "model", "classes", "n", "accuracy", "macro_precision",
        "macro_sensitivity", "per_class", "confusion_matrix", "best_step", "seconds", "versions",
        "devices", "data_fingerprint",
    }  # fmt: skip
    predictions, splits = read_csv(ss / "predictions.csv"), read_csv(ss / "splits.csv")
    hits = [row["label"] == row["predicted"] for row in predictions]
    assert results["accuracy"] == pytest.approx(np.mean(hits))
    assert results["classes"] == sorted(CLASSES)
    matrix = np.array(results["confusion_matrix"])
    assert matrix.sum() == len(predictions) == results["n"]["test"]
    for i, name in enumerate(results["classes"]):
        assert results["per_class"][name]["n"] == matrix[i].sum()
    train = [row for row in splits if row["split"] == "train"]
    assert results["n"]["train"] == len(train)
    assert results["n"]["train_labelled"] == sum(row["labelled"] == "1" for row in train)
    assert set(results["seconds"]) == {"prepare", "pretrain", "finetune", "evaluate"}
    assert results["devices"]["count"] == 8
    scores = {
        x["step"]: x["validation_macro_sensitivity"]
        for x in read_lines(ss / "metrics.jsonl")
        if x["stage"] == "finetune"
    }
    assert scores[results["best_step"]] == max(scores.values())


def test_the_audit_in_the_folder_is_of_the_runs_own_sets(base):
    ss = base / "runs" / "ss"
    counted = json.loads((ss / "audit.json").read_text())["classes"]
    rows = [row for row in read_csv(ss / "splits.csv") if row["label"]]
    assert rows and (ss / "audit.html").is_file()
    for name, sets in counted.items():
        assert sets.pop("all")["rows"] == sum(row["label"] == name for row in rows)
        for split, part in sets.items():
            own = [row for row in rows if (row["label"], row["split"]) == (name, split)]
            assert part["rows"] == len(own)
            assert part["groups"] == len({row["patient"] for row in own})


def test_what_a_split_may_tear_is_allowed_by_name_and_recorded(base, tmp_path):
    text = (base / "photos.csv").read_text().splitlines()
    sets = ("train", "validation", "test")
    lines = [text[0] + ",split"]
    for index, line in enumerate(text[1:]):
        patient = int(line.rpartition(",")[2][-1])
        lines.append(f"{line},{'test' if index == 1 else sets[patient % 3]}")
    manifest = base / "given.csv"
    manifest.write_text("\n".join(lines))
    config = tiny_config("FS", manifest)
    with pytest.raises(ValueError, match="the split leaks: patient 'acne0' in train and test"):
        task.start(config, str(tmp_path / "fs"))
    config.data.allow = ("patient:acne0",)
    assert task.start(config, str(tmp_path / "fs")) == 0
    assert read_results(tmp_path / "fs")["allowed"] == {"patients": ["acne0"]}
    assert read_results(base / "runs" / "ss")["allowed"] == {}
    report = json.loads((tmp_path / "fs" / "audit.json").read_text())
    assert [found["severity"] for found in report["findings"]][:1] == ["allowed"]


def test_what_is_redacted_is_black_to_the_network(base):
    manifest = base / "hidden.csv"
    manifest.write_text((base / "photos.csv").read_text())
    sidecar = base / "hidden.redact.csv"
    sidecar.write_text("image,x,y,w,h\nphotos/acne-0-0.png,0,0,24,40\n")
    dataset = prepare.prepare(tiny_settings("FS", manifest), Writer())
    (row,) = np.flatnonzero(dataset.frame["name"] == "photos/acne-0-0.png")
    pixels = dataset.pixels(row)
    assert pixels.shape == (27, 32, 3) and pixels[:, :14].max() < 30 and pixels[:, 18:].mean() > 60


def test_the_same_command_again_says_that_it_is_done(base, capsys):
    ss = base / "runs" / "ss"
    before = {p: p.stat().st_mtime_ns for p in ss.rglob("*") if p.name != ".lock"}
    assert task.start(config_of(base), str(ss)) == 0
    out = capsys.readouterr().out
    assert "this run is done" in out and "macro mean" in out
    assert {p: p.stat().st_mtime_ns for p in ss.rglob("*") if p.name != ".lock"} == before


def test_another_config_in_the_same_workdir_is_refused_by_field(base):
    config = config_of(base, finetune__steps=8, data__trial=1)
    with pytest.raises(ValueError) as error:
        task.start(config, str(base / "runs" / "ss"))
    assert "data.trial: 0 there, 1 here" in str(error.value)
    assert "finetune.steps: 6 there, 8 here" in str(error.value)
    assert "pretrain.steps" not in str(error.value)


def test_another_alpha_and_trial_share_the_pretraining(base, capsys):
    config = config_of(base, data__alpha=1.0, data__trial=1)
    second = base / "runs" / "second"
    assert task.start(config, str(second)) == 0
    assert "pretrain: done before" in capsys.readouterr().out
    assert len(list((base / "runs").glob("pretrain-*"))) == 1
    results = [
        json.loads((base / "runs" / name / "results.json").read_text()) for name in ("ss", "second")
    ]
    assert results[0]["pretraining"] == results[1]["pretraining"]
    assert results[0]["n"]["train_labelled"] < results[1]["n"]["train_labelled"]
    # metrics.jsonl tells of the pretraining in both
    assert sum(x["stage"] == "pretrain" for x in read_lines(second / "metrics.jsonl")) == 3


@pytest.mark.slow
def test_a_pretraining_whose_last_checkpoint_is_damaged_is_finished_again(base, capsys):
    name = next((base / "runs").glob("pretrain-*")).name
    torn = base / "damaged" / name
    shutil.copytree(base / "runs" / name, torn)
    (torn / "checkpoints" / "pretrain" / "6" / "state" / "manifest.ocdbt").write_bytes(b"cut")
    assert task.start(config_of(base), str(torn.parent / "run")) == 0
    said = capsys.readouterr().out
    assert "checkpoints/pretrain/6 cannot be read" in said
    assert "pretrain: continues at step 4" in said
    ends = [base / "runs" / "ss", torn.parent / "run"]
    assert len({(end / "predictions.csv").read_text() for end in ends}) == 1


def test_what_pretraining_depends_on_gives_it_another_folder(base, monkeypatch):
    """The key follows the data, the network and the numbers, and nothing else."""
    from dermjax.experiment import networks, pretrain
    from dermjax.experiment.context import RunContext
    from dermjax.experiment.dataset import prepare
    from dermjax.settings import RunSettings
    from dermjax.training.writer import Writer

    settings = RunSettings.from_config(config_of(base))
    quiet = Writer(active=False)
    dataset, beginning = prepare(settings, quiet), networks.begin(settings, quiet)
    run = RunContext(settings, dataset, None, beginning, None, quiet)

    def key(**fields):
        other = RunSettings.from_config(config_of(base, **fields))
        start = networks.begin(other, quiet)
        return pretrain._identity(dataclasses.replace(run, settings=other, beginning=start))

    same = key()
    for fields in (
        dict(data__alpha=0.1),
        dict(data__trial=2),
        dict(finetune__steps=2),
        dict(pretrain__accumulate_steps=2),
        dict(pretrain__report_every=1),
        dict(pretrain__monitor__every=4),
        dict(pretrain__monitor__k=5),
        dict(data__read_threads=1),
    ):
        assert key(**fields) == same
    for fields in (
        dict(pretrain__steps=8),
        dict(pretrain__augment__hue=0.2),
        dict(pretrain__batch_negatives=False),
        dict(pretrain__momentum_end=0.995),
        dict(model__name="efficientnet_b0"),
        dict(seed=1),
        dict(data__max_side=24),
        dict(init__mean=(0.5, 0.5, 0.5)),
        dict(pretrain__init="imagenet", init__weights=str(write_weights(base))),
    ):
        assert key(**fields) != same
    elsewhere = dataclasses.replace(run, dataset=_other_split(dataset))
    assert pretrain._identity(elsewhere) != same


def _other_split(dataset):
    import dataclasses

    return dataclasses.replace(dataset, split=np.roll(dataset.split, 1))


def test_fs_needs_no_pretraining(base):
    fs = base / "runs" / "fs"
    assert task.start(config_of(base, "FS"), str(fs)) == 0
    assert {x["stage"] for x in read_lines(fs / "metrics.jsonl")} == {"finetune"}
    results = json.loads((fs / "results.json").read_text())
    assert results["strategy"] == "FS" and results["pretraining"] is None


def test_the_control_is_a_run_from_scratch_on_the_same_labels(base, monkeypatch, capsys):
    """The very numbers of FS, also where it was stopped in between."""
    ss = base / "runs" / "with_control"
    config = config_of(base, "SS", control=True)
    with monkeypatch.context() as patch:
        patch.setattr(control, "evaluate", stopped_by_a_signal)
        assert task.start(config, str(ss)) == 0
    assert not (ss / "results.json").exists()
    assert task.start(config, str(ss)) == 0
    assert "without pretraining" in capsys.readouterr().out
    fs = base / "runs" / "fs"
    assert task.start(config_of(base, "FS"), str(fs)) == 0
    beside, alone = ss / control.FOLDER, fs
    for name in ("predictions.csv", "validation_predictions.csv"):
        assert (beside / name).read_bytes() == (alone / name).read_bytes()
    measured, expected = read_results(ss)[control.FOLDER], read_results(fs)
    assert measured == {name: expected[name] for name in measured}
    for name in ("accuracy", "macro_sensitivity", "per_class", "best_step"):
        assert name in measured
    assert (
        read_results(ss)["macro_sensitivity"]
        == read_results(base / "runs" / "ss")["macro_sensitivity"]
    )


def stopped_by_a_signal(*args):
    """The control's evaluation when SIGTERM has just come."""
    os.kill(os.getpid(), signal.SIGTERM)
    return evaluate.evaluate(*args)


def test_a_control_needs_a_pretraining(base):
    with pytest.raises(ValueError, match="config.control = True"):
        task.start(config_of(base, "FS", control=True), str(base / "runs" / "none"))


def test_in_starts_from_the_weights_and_normalises_as_they_expect(base, capsys):
    import dermjax

    path = write_weights(base)
    _, variables = dermjax.create_model("efficientnet_tiny", 0, path)
    fields = dict(finetune__learning_rate=1e-9, finetune__weight_decay=0.0)
    config = config_of(base, "IN", init__weights=str(path), **fields)
    folder = base / "runs" / "in"
    assert task.start(config, str(folder)) == 0
    assert f"weights: {path}" in capsys.readouterr().out
    restored = final_params(folder, "finetune", 6, **variables["params"])
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(variables["params"]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    recorded = json.loads((folder / "weights.json").read_text())
    assert recorded["mean"] == [0.1, 0.9, 0.2] and recorded["interpolation"] == "bilinear"
    assert recorded["source"] == str(path)
    assert recorded["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    results = json.loads((folder / "results.json").read_text())
    assert results["weights"] == recorded

    # The predictions are those of the network on images normalised as the file says.
    predicted = {
        row["image"]: [float(row[f"p_{name}"]) for name in sorted(CLASSES)]
        for row in read_csv(folder / "predictions.csv")
    }
    how = models.Preprocessing(recorded["mean"], recorded["std"], recorded["interpolation"])
    by_hand = predict_by_hand(folder, base, predicted, how)
    otherwise = predict_by_hand(folder, base, predicted, models.Preprocessing())
    error, other = [np.abs(list(predicted.values()) - p).max() for p in (by_hand, otherwise)]
    assert error < 1e-3 and other > 5 * error  # a prepared crop is a JPEG, hence the difference


def predict_by_hand(folder, base, images, how):
    """Softmax of every image, by Pillow and the exported classifier alone."""
    import dermjax

    path = folder / "exported.safetensors"
    export.export(str(folder), str(path), "finetune")
    model, variables = dermjax.create_model("efficientnet_tiny", len(CLASSES), path)
    batch = []
    for name in images:
        image = Image.open(base / name)
        image.thumbnail((32, 32), Image.Resampling.LANCZOS)
        squeezed = image.resize((16, 16), Image.Resampling[how.interpolation.upper()])
        batch.append((np.asarray(squeezed, np.float32) / 255 - how.mean) / how.std)
    logits = model.apply(variables, np.stack(batch).astype(np.float32), train=False)
    return np.asarray(jax.nn.softmax(logits))


@pytest.mark.slow
def test_pretraining_can_start_from_weights(base, capsys):
    """MoCo from ImageNet: the first weights are the file's, the head and the queue are fresh."""
    import dermjax

    path = write_weights(base)
    _, variables = dermjax.create_model("efficientnet_tiny", 0, path)
    fields = dict(pretrain__learning_rate=1e-9, pretrain__weight_decay=0.0)
    fields |= dict(pretrain__init="imagenet", init__weights=str(path))
    folder = base / "runs" / "ss-imagenet"
    assert task.start(config_of(base, **fields), str(folder)) == 0
    assert f"weights: {path}" in capsys.readouterr().out
    restored = final_params(folder, "pretrain", 6, encoder=variables["params"])["encoder"]
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(variables["params"]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    results = json.loads((folder / "results.json").read_text())
    assert results["weights"]["mean"] == [0.1, 0.9, 0.2]
    assert results["pretraining"] and results["strategy"] == "SS"


@pytest.mark.slow
def test_weights_that_changed_under_a_run_are_noticed(base):
    folder, path = base / "runs" / "changed", write_weights(base, seed=11)
    config = config_of(base, "IN", init__weights=str(path))
    assert task.start(config, str(folder)) == 0
    (folder / "results.json").unlink()
    write_weights(base, seed=12).rename(path)
    with pytest.raises(ValueError, match="has changed since this run began"):
        task.start(config, str(folder))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda data: data[:5000], "is damaged or not what its name says"),
        (lambda data: data.replace(b"conv_head", b"conv_hand"), "1 missing: conv_head.weight"),
    ],
)
def test_broken_weights_stop_a_run_before_it_claims_anything(base, tmp_path, broken, message):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(broken(write_weights(base).read_bytes()))
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base, "IN", init__weights=str(path)), str(folder))
    assert not folder.exists()


def test_export_gives_the_selected_classifier_and_the_pretrained_encoder(base, tmp_path):
    import dermjax

    ss = base / "runs" / "ss"
    said = export.export(str(ss), str(tmp_path / "a.safetensors"), "finetune")
    best = json.loads((ss / "results.json").read_text())["best_step"]
    assert f"classes acne, eczema, rosacea, step {best} of finetune" in said
    _, variables = dermjax.create_model("efficientnet_tiny", 3, tmp_path / "a.safetensors")
    expected = final_params(ss, "finetune", best, **variables["params"])
    jax.tree.map(np.testing.assert_array_equal, variables["params"], expected)

    export.export(str(ss), str(tmp_path / "b.safetensors"), "pretrain")
    _, variables = dermjax.create_model("efficientnet_tiny", 0, tmp_path / "b.safetensors")
    expected = final_params(ss, "pretrain", 6, encoder=variables["params"])["encoder"]
    jax.tree.map(np.testing.assert_array_equal, variables["params"], expected)
    assert models.read_weights(tmp_path / "b.safetensors").architecture == "efficientnet_tiny"


def test_what_cannot_be_exported_is_said(base, tmp_path):
    target = str(tmp_path / "x.safetensors")
    for folder, stage, message in (
        (tmp_path, "finetune", "is not the folder of a run: it has no config.json"),
        (base / "runs" / "fs", "pretrain", "has no pretraining .its strategy is FS."),
    ):
        with pytest.raises(ValueError, match=message):
            export.export(str(folder), target, stage)
    (tmp_path / "config.json").write_text((base / "runs" / "fs" / "config.json").read_text())
    with pytest.raises(ValueError, match="is not finished: it has no results.json"):
        export.export(str(tmp_path), target, "finetune")
    with pytest.raises(ValueError, match="must end in .safetensors, .onnx or .stablehlo"):
        export.export(str(base / "runs" / "ss"), str(tmp_path / "x.pth"), "finetune")
    assert not list(tmp_path.glob("x.*"))


class StoppedByASignal(Predictor):
    """Predicts when SIGTERM has just come."""

    def __call__(self, variables, rows):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().__call__(variables, rows)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [6, 4])
def test_a_run_stopped_in_its_evaluations_says_so_and_ends_as_another(
    base, capsys, monkeypatch, steps
):
    """It does not finish them first: a machine that is taken away waits for seconds only."""
    every = dict(data__trial=5, pretrain__steps=steps, finetune__steps=steps)
    every |= dict(pretrain__monitor__every=4, finetune__evaluate_every=4)
    config = config_of(base, "SS", pretrain__directory=str(base / f"stopped{steps}"), **every)
    folder = base / "runs" / f"stopped{steps}"
    for module, told in (
        (knn_monitor, "pretrain: stopped at step 4, which is saved; the same command continues it"),
        (finetune, "finetune: stopped at step 4, which is saved; the same command continues it"),
        (class_predictor, "stopped; the same command continues it"),
    ):
        monkeypatch.setattr(module, "Predictor", StoppedByASignal)
        assert task.start(config, str(folder)) == 0
        assert capsys.readouterr().out.splitlines()[-1] == told
        monkeypatch.setattr(module, "Predictor", Predictor)
        assert not (folder / "results.json").exists()
    assert task.start(config, str(folder)) == 0

    quiet = config_of(base, "SS", pretrain__directory=str(base / f"quiet{steps}"), **every)
    assert task.start(quiet, str(base / "runs" / f"quiet{steps}")) == 0
    assert not differences(*(end_of(base / "runs" / f"{n}{steps}") for n in ("stopped", "quiet")))


@pytest.mark.parametrize(("strategy", "stage"), [("SS", "pretrain"), ("FS", "finetune")])
def test_accumulation_reaches_the_step_and_tells_no_runs_apart(
    base, tmp_path, monkeypatch, strategy, stage
):
    """The second time with another number in the same folder, which is not refused."""

    def traced(state, batch, *, config, **options):
        raise ValueError(f"in {config.accumulate_steps} parts")

    for step in (moco, classify):
        monkeypatch.setattr(step, "train_step", traced)
    for parts in (2, 1):
        fields = dict(batch_size=32, bn_groups=16, accumulate_steps=parts)
        fields |= dict(queue_size=32) if stage == "pretrain" else {}
        fields = {f"{stage}__{name}": value for name, value in fields.items()}
        config = config_of(base, strategy, **fields)
        with pytest.raises(ValueError, match=f"in {parts} parts"):
            task.start(config, str(tmp_path / "run"))


def test_a_manifest_that_changed_under_a_run_is_noticed(base, tmp_path):
    """Same config, other data: a half-done run must not go on with another split."""
    manifest = write_clinic(tmp_path / "clinic")
    folder = tmp_path / "runs" / "a"
    config = tiny_config("FS", manifest)
    assert task.start(config, str(folder)) == 0
    (folder / "results.json").unlink()
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ValueError, match="the data are not those that the run"):
        task.start(config, str(folder))


def test_bad_values_stop_before_anything_is_made(base):
    folder = base / "runs" / "never"
    cases = {
        "config.data.alpha = 1.5, but it must be above 0 and at most 1": dict(data__alpha=1.5),
        "alpha=VALUE behind the config's colon": dict(data__alpha=0.0),
        "data.on_bad_image = 'ignore', but it must be one of refuse, skip": dict(
            data__on_bad_image="ignore"
        ),
        "config.data.trial = -1, but it must be at least 0": dict(data__trial=-1),
        "efficientnet_b99.*did you mean": dict(model__name="efficientnet_b99"),
        "pretrain.batch_size = 12 cannot be divided over 8 devices; .* 8 or 16": dict(
            pretrain__batch_size=12, pretrain__bn_groups=2
        ),
        "pretrain.positives = 'class', but it must be one of image, lesion, patient": dict(
            pretrain__positives="class"
        ),
        "pretrain.optimizer = 'adam', but it must be one of sgd, adamw": dict(
            pretrain__optimizer="adam"
        ),
        "pretrain.queue_size = 8 must be at least 16": dict(pretrain__queue_size=8),
        "pretrain.queue_size = 24 must be at least 32.*symmetric": dict(pretrain__symmetric=True),
        "pretrain.momentum_end = 0.9 must lie between pretrain.momentum = 0.99": dict(
            pretrain__momentum_end=0.9
        ),
        "pretrain.monitor.every = 3 must be a multiple of": dict(pretrain__monitor__every=3),
        "pretrain.monitor.features = 'head'": dict(pretrain__monitor__features="head"),
        "config.task = 'train'.*run, pretrain": dict(task="train"),
        "pretrain.bn_groups = 3 does not divide": dict(pretrain__bn_groups=3),
        "pretrain.bn_groups = 16 leaves one image": dict(pretrain__bn_groups=16),
        "finetune.accumulate_steps = 0, but it must be at least 1": dict(
            finetune__accumulate_steps=0
        ),
        "finetune.accumulate_steps = 2 .*bn_groups = 1 a device .of 8. holds 1; the nearest that "
        "can: 1; 2 needs bn_groups = 16 and a batch_size that 16 divides, at least 32": dict(
            finetune__accumulate_steps=2
        ),
        "pretrain.accumulate_steps = 3 .*bn_groups = 16 a device .of 8. holds 2; the nearest that "
        "can: 2; 3 needs pretrain.bn_groups = 24": dict(
            pretrain__accumulate_steps=3,
            pretrain__bn_groups=16,
            pretrain__batch_size=48,
            pretrain__queue_size=0,
        ),
        "finetune.warmup_steps = 9 .* below finetune.steps = 6": dict(finetune__warmup_steps=9),
        "finetune.evaluate_every = 3 must be a multiple of": dict(finetune__evaluate_every=3),
        "config.pretrain.augment: hue": dict(pretrain__augment__hue=0.9),
        "config.pretrain.schedule = 'linear'.*cosine, step": dict(pretrain__schedule="linear"),
        "config.finetune.select = 'f1'": dict(finetune__select="f1"),
        "config.init.weights = 'x.npz' would not be used by strategy SS": dict(
            init__weights="x.npz"
        ),
        "config.init.weights: 'x.npz' is not a file": dict(
            init__weights="x.npz", pretrain__init="imagenet"
        ),
        "config.init.weights: timm/resnet50.a1_in1k holds weights of resnet50": dict(
            init__weights="timm/resnet50.a1_in1k", pretrain__init="imagenet"
        ),
        "config.init: std .* must be above 0": dict(init__std=(1.0, 0.0, 1.0)),
    }
    for message, fields in cases.items():
        with pytest.raises(ValueError, match=message) as error:
            task.start(config_of(base, **fields), str(folder))
        assert "\n" not in str(error.value)
    assert not folder.exists()
    with pytest.raises(ValueError, match=r"--config.init.weights=FILE"):
        task.start(config_of(base, "IN"), str(folder))
