"""A whole run on a miniature clinic: its contract, its files, its resuming."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from dermjax import models
from dermjax.cli import task
from dermjax.experiment import class_predictor, export, finetune, knn_monitor
from dermjax.experiment import dataset as prepare
from dermjax.experiment.predictor import Predictor
from dermjax.steps import classify, moco
from dermjax.training.writer import Writer
from tests.experiment.clinic import CLASSES, tiny_config, tiny_settings
from tests.experiment.ends import differences, end_of, final_params
from tests.experiment.run_files import config_of, read_csv, read_lines, read_results


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


def test_fs_needs_no_pretraining(base):
    fs = base / "runs" / "fs"
    assert task.start(config_of(base, "FS"), str(fs)) == 0
    assert {x["stage"] for x in read_lines(fs / "metrics.jsonl")} == {"finetune"}
    results = json.loads((fs / "results.json").read_text())
    assert results["strategy"] == "FS" and results["pretraining"] is None


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
@pytest.mark.parametrize("every", [4, 6])
def test_a_run_stopped_in_its_evaluations_says_so_and_ends_as_another(
    base, capsys, monkeypatch, every
):
    """It does not finish them first: a machine that is taken away waits for seconds only.

    The last evaluation of a stage is after its sixth step.
    """
    fields = dict(pretrain__monitor__every=every, finetune__evaluate_every=every, data__trial=5)
    config = config_of(base, "SS", pretrain__directory=str(base / f"stopped{every}"), **fields)
    folder = base / "runs" / f"stopped{every}"
    goes_on = "which is saved; the same command continues it"
    for module, told in (
        (knn_monitor, f"pretrain: stopped at step {every}, {goes_on}"),
        (finetune, f"finetune: stopped at step {every}, {goes_on}"),
        (class_predictor, "stopped; the same command continues it"),
    ):
        monkeypatch.setattr(module, "Predictor", StoppedByASignal)
        assert task.start(config, str(folder)) == 0
        assert capsys.readouterr().out.splitlines()[-1] == told
        monkeypatch.setattr(module, "Predictor", Predictor)
        assert not (folder / "results.json").exists()
    assert task.start(config, str(folder)) == 0

    quiet = config_of(base, "SS", pretrain__directory=str(base / f"quiet{every}"), **fields)
    assert task.start(quiet, str(base / "runs" / f"quiet{every}")) == 0
    assert not differences(*(end_of(base / "runs" / f"{n}{every}") for n in ("stopped", "quiet")))


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
