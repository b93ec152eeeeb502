"""Saliency of a finished run: its files, what is done again and what not, and mistakes."""

import json
import shutil
import subprocess
import sys

import filelock
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermjax import saliency as methods
from dermjax.cli import task
from dermjax.configs import saliency as config_file
from dermjax.saliency import baselines, explainer, map_store
from dermjax.saliency.settings import SaliencySettings
from tests.experiment.clinic import CLASSES, with_fields
from tests.experiment.run_files import read_csv

pytestmark = pytest.mark.slow

CHEAP = {"method": "grad_cam", "compare": (), "scores": False}


def config_of(folder, **fields):
    config = config_file.get_config(f"run={folder}")
    config.input_iba.statistics_images = 16
    config.sanity.images = 0  # test_trusted.py has the check
    # None of this clinic's networks is sure of anything.
    config.score.update(dict(steps=10, sizes=3, masks=10, least_probability=0.0))
    return with_fields(config, fields)


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """The default command's folder."""
    folder = tmp_path_factory.mktemp("done")
    assert task.start(config_of(base / "runs" / "ss"), str(folder)) == 0
    return folder / "saliency"


def records(folder, method="input_iba"):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{method}.json"))]


def arrays(folder, method):
    return {path.parent.name: np.load(path) for path in sorted(folder.glob(f"*/{method}.npy"))}


def test_two_test_images_of_every_class_with_all_their_files(base, done):
    found = records(done)
    assert sorted(record["true"] for record in found) == sorted([*CLASSES] * 2)
    answers = {row["image"]: row for row in read_csv(base / "runs" / "ss" / "predictions.csv")}
    patients = {name: row["patient"] for name, row in answers.items()}
    assert len({patients[record["image"]] for record in found}) == 6  # none comes twice
    for record in found:
        row = answers[record["image"]]
        assert (record["true"], record["predicted"]) == (row["label"], row["predicted"])
        assert record["target"] == row["predicted"]
        assert record["probability"] == pytest.approx(float(row[f"p_{row['predicted']}"]), abs=1e-4)
        assert record["settings"]["layer"] == "blocks.1" and record["settings"]["prior"] == "iba"
    for folder in (path for path in done.iterdir() if path.is_dir()):
        heat = np.load(folder / "input_iba.npy")
        assert heat.shape == (16, 16) and heat.dtype == np.float32
        assert 0 <= heat.min() and heat.max() <= 1
        grey = np.asarray(Image.open(folder / "input_iba.png"))
        assert np.abs(grey - 255 * heat).max() <= 0.51
        assert Image.open(folder / "input_iba-overlay.png").size == (32, 27)  # the photograph's
    assert {"sheet.png", "sheet.pdf", "saliency.html", "scores.csv", "images.csv"} <= {
        path.name for path in done.iterdir()
    }
    assert not list(done.rglob("*.part"))


def test_the_page_says_how_many_images_the_statistics_are_of(base, done, tmp_path):
    """At most as many as there are to train with, whatever was asked for."""
    page = (done / "saliency.html").read_text()
    assert "statistics images 16," in page and "Where the network looks: InputIBA" in page
    config = config_of(base / "runs" / "ss", **CHEAP | {"method": "iba"}, per_class=1)
    config.input_iba.statistics_images = 1_000
    sets = read_csv(base / "runs" / "ss" / "splits.csv")
    assert task.start(config, str(tmp_path)) == 0
    page = (tmp_path / "saliency" / "saliency.html").read_text()
    assert f"statistics images {sum(row['split'] == 'train' for row in sets)}," in page


def test_every_method_is_scored_and_compared(done):
    scores = pd.read_csv(done / "scores.csv")
    assert set(scores["method"]) == {"input_iba", "grad_cam", "integrated_gradients", "random"}
    assert {"insertion", "deletion", "sensitivity_n"} <= set(scores["score"])
    assert (scores["n"] == 6).all()
    known = scores.dropna()
    assert len(known) and (known["low"] <= known["mean"]).all()
    assert (known["mean"] <= known["high"]).all()
    by_image = pd.read_csv(done / "images.csv")
    own = by_image[by_image["method"] == "grad_cam"]["insertion"].mean()
    row = scores[(scores["method"] == "grad_cam") & (scores["score"] == "insertion")]
    assert row["mean"].item() == pytest.approx(own, rel=1e-4)
    for record in records(done):
        # This clinic has no masks.
        assert record["scores"]["heat_share"] is None and record["scores"]["insertion"] is not None
    page = (done / "saliency.html").read_text()
    assert "drawn at random (seed 0), whether the answer is right or wrong" in page
    assert "random maps in" in page


def test_what_is_done_is_not_done_again(base, done, tmp_path, monkeypatch, capsys):
    shutil.copytree(done, tmp_path / "saliency")
    before = arrays(tmp_path / "saliency", "input_iba")

    def never(*_, **__):
        raise AssertionError("made again")

    for name in ("input_iba", "feature_statistics"):
        monkeypatch.setattr(methods, name, never)
    monkeypatch.setattr(baselines, "grad_cam", never)
    config = config_of(base / "runs" / "ss")
    assert task.start(config, str(tmp_path)) == 0
    assert "input_iba: all 6 maps are there" in capsys.readouterr().out
    monkeypatch.undo()
    # What a kill leaves: a map without its record, half of a record, half of a map.
    first, second, third, earlier, *others = sorted(before)
    (tmp_path / "saliency" / first / "input_iba.json").unlink()
    half = (tmp_path / "saliency" / second / "input_iba.json").read_text()[:100]
    (tmp_path / "saliency" / second / "input_iba.json").write_text(half)
    (tmp_path / "saliency" / third / "input_iba.npy").write_bytes(b"\x93NUMPY")
    # And a map of an earlier version, whose bits were enlarged by another rule at the border.
    path = tmp_path / "saliency" / earlier / "input_iba.json"
    record = json.loads(path.read_text())
    assert record["settings"].pop("feature_border") == "mirrored"
    path.write_text(json.dumps(record))
    np.save(path.with_suffix(".npy"), before[earlier] * 0)
    paths = [tmp_path / "saliency" / name / "input_iba.npy" for name in others]
    times = [path.stat().st_mtime_ns for path in paths]
    assert task.start(config, str(tmp_path)) == 0
    assert [path.stat().st_mtime_ns for path in paths] == times
    after = arrays(tmp_path / "saliency", "input_iba")
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)


def test_a_killed_call_is_continued(base, tmp_path, monkeypatch):
    write, count = map_store.Maps.write, [0]

    def killed(self, *given):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        write(self, *given)

    monkeypatch.setattr(map_store.Maps, "write", killed)
    config = config_of(base / "runs" / "ss", **CHEAP)
    with pytest.raises(KeyboardInterrupt):
        task.start(config, str(tmp_path))
    folder = tmp_path / "saliency"
    assert len(records(folder, "grad_cam")) == 2 and not (folder / "saliency.html").exists()
    assert task.start(config, str(tmp_path)) == 0
    assert count[0] == 3 + 4 and len(records(folder, "grad_cam")) == 6


def test_other_settings_make_other_maps(base, tmp_path):
    folder = tmp_path / "saliency"
    config = config_of(base / "runs" / "ss", **CHEAP | {"method": "random"})
    assert task.start(config, str(tmp_path)) == 0
    before = arrays(folder, "random")
    config.target = "eczema"
    assert task.start(config, str(tmp_path)) == 0
    assert {record["target"] for record in records(folder, "random")} == {"eczema"}
    for name, heat in arrays(folder, "random").items():  # noise belongs to image and seed
        np.testing.assert_array_equal(heat, before[name])
    config.target, config.seed = "true", 1
    assert task.start(config, str(tmp_path)) == 0
    after = arrays(folder, "random")
    assert set(after) != set(before), "the seed chooses other images"
    assert any((after[name] != before[name]).any() for name in set(after) & set(before))


def test_a_map_does_not_depend_on_its_batch(base, tmp_path):
    found = []
    for number in (8, 16):
        config = config_of(base / "runs" / "ss", **CHEAP | {"method": "input_iba"})
        config.update(per_class=0, images_per_batch=number)
        assert task.start(config, str(tmp_path / str(number))) == 0
        found.append(arrays(tmp_path / str(number) / "saliency", "input_iba"))
    assert len(found[0]) == len(read_csv(base / "runs" / "ss" / "predictions.csv")) > 8
    for name, heat in found[0].items():
        np.testing.assert_allclose(found[1][name], heat, atol=1e-4)


def test_smaller_batches_are_taken_where_the_memory_is_too_small(base, tmp_path, monkeypatch):
    from dermjax.training import parallel

    mapped, sizes = parallel.Devices.map_predict_step, []

    def small(self, step):
        run = mapped(self, step)

        def bounded(tree, batch):
            sizes.append(len(batch["image"]))
            if "target" in batch and len(batch["image"]) > 8:
                raise explainer.jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return run(tree, batch)

        return bounded

    monkeypatch.setattr(parallel.Devices, "map_predict_step", small)
    config = config_of(base / "runs" / "ss", **CHEAP, per_class=0, images_per_batch=16)
    assert task.start(config, str(tmp_path)) == 0
    assert 16 in sizes and 8 in sizes


def test_photographs_of_a_folder(base, tmp_path):
    """Those of the run's data have their class; others none, and nothing is asked of them."""
    name = read_csv(base / "runs" / "ss" / "predictions.csv")[0]["image"]
    other = tmp_path / "new" / "stranger.png"
    other.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (50, 30, 3), np.uint8)
    Image.fromarray(pixels).save(other)
    for pattern, true in ((other.parent / "*.png", None), (base / name, name.split("/")[1][:4])):
        config = config_of(base / "runs" / "ss", **CHEAP, images=str(pattern))
        assert task.start(config, str(tmp_path / str(true))) == 0
        (record,) = records(tmp_path / str(true) / "saliency", "grad_cam")
        assert (record["true"] or "")[:4] == (true or "")
    assert "True class not known" in (tmp_path / "None/saliency/saliency.html").read_text()
    config = config_of(base / "runs" / "ss", **CHEAP, images=str(other), target="true")
    with pytest.raises(ValueError, match="true class of .*stranger.png is not known"):
        task.start(config, str(tmp_path))


def test_lesions_are_followed_into_the_crop(base, tmp_path):
    """Masks beside the photographs give heat shares of the lesion and of the rest."""
    photos = tmp_path / "photos"
    (photos / "masks").mkdir(parents=True)
    source = sorted((base / "photos").glob("*.png"))[:3]
    for path in source:
        shutil.copy(path, photos / path.name)
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20, 12:24] = 255
        Image.fromarray(mask).save(photos / "masks" / path.name)
    config = config_of(base / "runs" / "ss", **CHEAP | {"method": "random", "scores": True})
    config.images = str(photos / "*.png")
    assert task.start(config, str(tmp_path)) == 0
    for record in records(tmp_path / "saliency", "random"):
        regions = record["scores"]["regions"]
        assert set(regions) == {"lesion", "elsewhere"}
        assert sum(heat for heat, _ in regions.values()) == pytest.approx(1, abs=1e-4)
        assert regions["lesion"][1] == pytest.approx(1 / 16, abs=0.02)
        assert record["scores"]["heat_share"] == pytest.approx(regions["lesion"][0], abs=1e-4)
        assert record["scores"]["effective_heat_ratio"] is not None
    table = pd.read_csv(tmp_path / "saliency" / "regions.csv")
    assert list(table["region"]) == ["lesion", "elsewhere"] and (table["n"] == 3).all()


def test_the_exact_mode_can_be_compared_with_the_fast_one(base, tmp_path):
    compare = ("input_iba_gan", "iba")
    config = config_of(base / "runs" / "ss", per_class=1, compare=compare)
    config.input_iba.update(dict(steps_feature=2, steps_input=4, draws=2, gan_epochs=1))
    config.input_iba.update(dict(gan_samples=8, gan_groups=2, gan_batch_size=4))
    assert task.start(config, str(tmp_path)) == 0
    folder = tmp_path / "saliency"
    assert records(folder, "input_iba_gan")[0]["settings"]["prior"] == "gan"
    assert "gan_epochs" not in records(folder)[0]["settings"]
    scores = pd.read_csv(folder / "scores.csv").set_index(["method", "score"])["mean"]
    assert -1 <= scores["input_iba_gan", "spearman"] <= 1
    assert scores["input_iba_gan", "ssim"] <= 1 and ("input_iba", "ssim") not in scores
    assert "Agreement" in (folder / "saliency.html").read_text()


@pytest.mark.parametrize("method", ["input_iba", "input_iba_gan"])
def test_the_exact_mode_is_not_made_twice_under_two_names(tmp_path, method):
    config = config_of(tmp_path, method=method, prior="gan")
    config.compare = ("input_iba", "input_iba_gan", "grad_cam")
    assert SaliencySettings.from_config(config).methods == (method, "grad_cam")
    config.prior = "iba"
    assert set(SaliencySettings.from_config(config).methods) == set(config.compare)


def test_maps_that_are_not_finite_are_named_and_the_others_kept(
    base, tmp_path, monkeypatch, capsys
):
    made = baselines.grad_cam

    def broken(model, variables, images, targets, **given):
        heat = made(model, variables, images, targets, **given)
        return heat.at[0].set(np.nan) if images.shape[0] > 1 else heat * np.inf

    monkeypatch.setattr(baselines, "grad_cam", broken)
    config = config_of(base / "runs" / "ss", **CHEAP, images=str(base / "photos" / "acne-*.png"))
    assert task.start(config, str(tmp_path)) == 1
    out = capsys.readouterr().out
    assert "the map by grad_cam has values that are not finite" in out
    page = (tmp_path / "saliency" / "saliency.html").read_text()
    kept_maps = records(tmp_path / "saliency", "grad_cam")
    bad = out.count("not finite")
    assert bad and len(kept_maps) + bad == 18 and page.count("not finite") == bad
    monkeypatch.undo()
    assert task.start(config, str(tmp_path)) == 0  # nothing of it was taken for done
    assert len(records(tmp_path / "saliency", "grad_cam")) == 18


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "gradcam"}, "config.method = 'gradcam' is no method.*did you mean 'grad_cam'"),
        ({"compare": ("lime",)}, "config.compare = 'lime' is no method; there are input_iba"),
        ({"prior": "wgan"}, "config.prior = 'wgan', but it must be one of iba, gan"),
        (
            {"choose": "best"},
            "config.choose = 'best', but it must be one of random, correct, wrong",
        ),
        ({"layer": "blocks.9"}, "config.layer = 'blocks.9' is no layer of efficientnet_tiny.*blo"),
        ({"target": "acnee"}, "'acnee' is no class of this run; there are acne.*mean 'acne'"),
        ({"images": "/nowhere/*.jpg"}, "config.images = '/nowhere/.*' matches no file"),
        ({"images_per_batch": -1}, "config.images_per_batch = -1, but it must be at least 1, or 0"),
        ({"per_class": -1}, "config.per_class = -1, but it must be at least 0"),
        ({"input_iba__statistics_images": 1}, "statistics_images = 1, but it must be at least 2"),
        ({"input_iba__gan_mask": "both"}, "config.input_iba.gan_mask = 'both' is not known"),
        ({"input_iba__draws": 0}, "config.input_iba.draws = 0 must be at least 1"),
        ({"score__steps": 1}, "config.score.steps = 1, but it must be at least 2"),
        ({"score__blur": 0.0}, "config.score.blur = 0.0, but it must be above 0 px"),
        ({"score__least_probability": 1.5}, r"least_probability = 1.5, but it must be in \[0, 1\]"),
        ({"score__most_n": 300}, "config.score.least_n = 0.01 and most_n = 300 must .* 256 pixels"),
        ({"score__pixels_per_step": 999}, "score.pixels_per_step = 999 must lie in .1, 256"),
        ({"run": ""}, "which run"),
    ],
)
def test_mistakes_are_named(base, tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base / "runs" / "ss", **fields), str(tmp_path))
    assert not list(tmp_path.rglob("*.json"))


def test_unreadable_photographs_are_named_before_anything_is_made(base, tmp_path):
    for i in range(5):
        (tmp_path / f"broken{i}.jpg").write_bytes(b"not a photograph")
    shutil.copy(sorted((base / "photos").glob("*.png"))[0], tmp_path / "whole.png")
    config = config_of(base / "runs" / "ss", images=str(tmp_path / "*.*"))
    with pytest.raises(ValueError, match="broken0.jpg: not an image file .*; and 2 more"):
        task.start(config, str(tmp_path / "out"))
    with pytest.raises(ValueError, match="is a folder; take something like"):
        config.images = str(tmp_path)
        task.start(config, str(tmp_path / "out"))


def test_a_run_that_is_not_whole_is_named(base, tmp_path):
    with pytest.raises(ValueError, match="not the folder of a run"):
        task.start(config_of(tmp_path))
    for name in ("config.json", "weights.json"):
        shutil.copy(base / "runs" / "ss" / name, tmp_path)
    with pytest.raises(ValueError, match="is not finished: it has no results.json"):
        task.start(config_of(tmp_path))
    shutil.copy(base / "runs" / "ss" / "results.json", tmp_path)
    with pytest.raises(ValueError, match="finetune stage of the run in .* is not finished"):
        task.start(config_of(tmp_path))


def test_other_data_than_the_runs_are_refused(base, table, tmp_path):
    """A label that was corrected since: the same images, but other classes to explain."""
    text = table.read_text()
    table.write_text(text.replace(",acne,", ",eczema,", 1))
    with pytest.raises(ValueError, match="the data are not those that the run in .*ss began"):
        task.start(config_of(base / "runs" / "ss", **CHEAP), str(tmp_path))
    assert not list(tmp_path.rglob("*.png"))


def test_one_process_at_a_time(base, tmp_path):
    (tmp_path / "saliency").mkdir()
    with filelock.FileLock(tmp_path / "saliency" / ".lock"):
        with pytest.raises(ValueError, match="another process is running in"):
            task.start(config_of(base / "runs" / "ss", **CHEAP), str(tmp_path))


def test_the_command_line_answers_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dermjax.main", f"--config=configs/saliency.py:run={tmp_path}"]
        + ["--config.compare=()", "--config.prior=gan"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "is not the folder of a run" in done.stderr
