"""Answers on photographs: those of the run itself, whole after a kill, calibrated, and refused."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

from dermjax.cli import task
from dermjax.configs import predict as config_file
from dermjax.prediction import parts, predict
from dermjax.training import stop
from tests.experiment.clinic import cache_in, tiny_config, with_fields


def predicted(run, images, workdir, **fields) -> pd.DataFrame:
    """The table of a prediction, all columns text."""
    config = with_fields(config_file.get_config(f'run="{run}",images="{images}"'), fields)
    config.workers = 1
    assert task.start(config, str(workdir)) == 0
    return table_of(workdir)


def table_of(workdir) -> pd.DataFrame:
    path = pathlib.Path(workdir) / "predictions" / "predictions.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def probabilities(table):
    return table[[name for name in table if name.startswith("p_")]].to_numpy(float)


@pytest.fixture(scope="module")
def clinic(base, tmp_path_factory):
    """A folder of the runs' own, as tests here damage it; and two trials of a study."""
    folder = tmp_path_factory.mktemp("predict")
    shutil.copytree(base / "runs" / "ss", folder / "ss", symlinks=True)
    with cache_in(base):
        for trial in (0, 1):
            config = tiny_config("FS", base / "photos.csv", data__trial=trial)
            assert task.start(config, str(folder / f"fs-alpha0.5-trial{trial}")) == 0
        yield folder


def test_the_runs_own_test_images_have_its_own_answers(base, clinic, tmp_path):
    """Read from the photographs again, and calibrated: the likeliest class is the same."""
    table = predicted(clinic / "ss", base / "photos.csv", tmp_path).set_index("image")
    own = pd.read_csv(base / "runs" / "ss" / "predictions.csv").set_index("image")
    found = table.loc[own.index]
    assert found["predicted"].tolist() == own["predicted"].tolist()
    kept = json.loads((tmp_path / "predictions" / "calibration.json").read_text())
    logits = np.log(probabilities(own)) / kept["temperature"]
    np.testing.assert_allclose(probabilities(found), special.softmax(logits, 1), atol=2e-4)
    assert not table["flags"].isin(["unfamiliar"]).all()
    for _, row in table.iterrows():
        assert row["set"].split(" | ")[0] == row["predicted"]


def test_boxes_are_cut_out_and_stand_in_the_table(base, clinic, tmp_path):
    photo = base / "photos" / "acne-0-0.png"
    rows = f"image,x,y,w,h\n{photo},2,3,20,20\n{photo},10,10,30,20\n"
    (tmp_path / "new.csv").write_text(rows)
    table = predicted(clinic / "ss", tmp_path / "new.csv", tmp_path / "out")
    assert table[list("xywh")].to_numpy(float).tolist() == [[2, 3, 20, 20], [10, 10, 30, 20]]
    with Image.open(photo) as image:
        image.crop((2, 3, 22, 23)).save(tmp_path / "cut.png")
    alone = predicted(clinic / "ss", tmp_path / "cut.png", tmp_path / "alone")
    np.testing.assert_allclose(probabilities(alone)[0], probabilities(table)[0], atol=1e-5)


def test_a_runs_own_unlabelled_photographs_are_predicted(base, tmp_path):
    table = pd.read_csv(base / "photos.csv")
    table["image"] = [str(base / name) for name in table["image"]]
    bare = table["image"].str.contains("-7-")  # both photographs of a patient of each class
    table.loc[bare, "label"] = None
    table.to_csv(tmp_path / "some.csv", index=False)
    config = tiny_config("FS", tmp_path / "some.csv")
    assert task.start(config, str(tmp_path / "fs")) == 0
    found = predicted(tmp_path / "fs", "", tmp_path / "fs")
    assert sorted(found["image"]) == sorted(table.loc[bare, "image"])
    photo = table.loc[bare, "image"].iloc[0]
    again = predicted(tmp_path / "fs", photo, tmp_path / "other")
    own = found.set_index("image").loc[[photo]]
    np.testing.assert_allclose(probabilities(again), probabilities(own), atol=1e-5)


def test_killed_and_started_again_it_ends_alike(base, clinic, tmp_path, monkeypatch, capsys):
    whole = predicted(clinic / "ss", base / "photos", tmp_path / "whole")
    monkeypatch.setattr(parts, "_PART", 10)
    add, seen = parts.Parts.add, []

    def killed(*args):
        add(*args)
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(parts.Parts, "add", killed)
    fields = dict(batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        predicted(clinic / "ss", base / "photos", tmp_path / "cut", **fields)
    (kept,) = (tmp_path / "cut" / "predictions" / "parts").iterdir()
    assert [file.name for file in kept.iterdir()] == ["00000000.npz"]
    capsys.readouterr()
    again = predicted(clinic / "ss", base / "photos", tmp_path / "cut", **fields)
    np.testing.assert_allclose(probabilities(again), probabilities(whole), atol=1e-5)
    assert again["image"].tolist() == whole["image"].tolist()
    assert not kept.exists()


def test_a_signal_stops_it_and_says_so(base, clinic, tmp_path, monkeypatch, capsys):
    def asked():
        raise stop.Interrupted("stopped")

    monkeypatch.setattr(predict.stop, "check", asked)
    config = config_file.get_config(f"run={clinic / 'ss'},images={base / 'photos'}")
    assert task.start(config, str(tmp_path)) == 0
    assert "stopped; the same command continues it" in capsys.readouterr().out
    assert not (tmp_path / "predictions" / "predictions.csv").exists()


def test_trials_answer_together_as_the_mean_of_their_probabilities(base, clinic, tmp_path):
    both = predicted(clinic / "fs-alpha0.5", base / "photos.csv", tmp_path / "both")
    kept = json.loads((tmp_path / "both" / "predictions" / "calibration.json").read_text())
    own = [
        pd.read_csv(clinic / f"fs-alpha0.5-trial{trial}" / "predictions.csv").set_index("image")
        for trial in (0, 1)
    ]
    mean = np.mean([probabilities(one) for one in own], axis=0)
    found = both.set_index("image").loc[own[0].index]
    expected = special.softmax(np.log(mean) / kept["temperature"], 1)
    np.testing.assert_allclose(probabilities(found), expected, atol=2e-4)


def test_turned_photographs_have_the_same_answers_with_augmentation(base, clinic, tmp_path):
    for turn, name in ((None, "a"), (Image.Transpose.ROTATE_90, "b")):
        with Image.open(base / "photos" / "acne-1-0.png") as image:
            square = image.crop((0, 0, 32, 32))
            (square if turn is None else square.transpose(turn)).save(tmp_path / f"{name}.png")
    table = predicted(clinic / "ss", tmp_path / "*.png", tmp_path / "out", tta=8)
    assert table["image"].str.endswith(("a.png", "b.png")).all()
    a, b = probabilities(table)
    np.testing.assert_allclose(a, b, atol=2e-4)
    assert (clinic / "ss" / "reference-tta.npz").exists()


def test_unreadable_files_are_refused_all_at_once_or_left_out(base, clinic, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(base / "photos", folder)
    for name in ("broken1.jpg", "broken2.jpg"):
        (folder / name).write_bytes(b"no photograph")
    with pytest.raises(ValueError, match="broken1.*broken2|2 problems"):
        predicted(clinic / "ss", folder, tmp_path / "out")
    table = predicted(clinic / "ss", folder, tmp_path / "out", on_bad_image="skip")
    assert len(table) == 54 and not table["image"].str.contains("broken").any()
    assert "broken1.jpg" in (tmp_path / "out" / "predictions" / "predictions.html").read_text()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere", "is no folder, no table and no file"),
        ("empty", "no photographs"),
        ("outside.csv", "box outside the image"),
        ("", "all images of this run have a label"),
    ],
)
def test_what_cannot_be_asked_about_is_said(base, clinic, tmp_path, images, message):
    (tmp_path / "empty").mkdir()
    photo = base / "photos" / "acne-0-0.png"
    (tmp_path / "outside.csv").write_text(f"image,x,y,w,h\n{photo},2,3,200,20\n")
    named = str(tmp_path / images) if images else ""
    with pytest.raises(ValueError, match=message):
        predicted(clinic / "ss", named, tmp_path / "out")


def test_runs_that_cannot_answer_are_named(base, clinic, tmp_path):
    with pytest.raises(ValueError, match="is not the folder of a run: it has no config.json"):
        predicted(tmp_path, base / "photos", tmp_path / "out")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(base / "runs" / "ss" / "config.json", unfinished)
    with pytest.raises(ValueError, match="is not finished"):
        predicted(unfinished, base / "photos", tmp_path / "out")
    other = tmp_path / "x-trial1"
    shutil.copytree(clinic / "fs-alpha0.5-trial0", tmp_path / "x-trial0")
    shutil.copytree(clinic / "fs-alpha0.5-trial1", other)
    results = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(results | {"classes": ["acne", "wart"]}))
    with pytest.raises(ValueError, match="classes differ .eczema, rosacea, wart."):
        predicted(tmp_path / "x", base / "photos", tmp_path / "out")
    (other / "results.json").write_text(json.dumps(results))
    splits = (other / "splits.csv").read_text()
    (other / "splits.csv").write_text(splits.replace(",test,", ",train,", 1))
    with pytest.raises(ValueError, match="sets differ"):
        predicted(tmp_path / "x", base / "photos", tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value"), [("tta", 4), ("coverage", 1.0), ("unfamiliar", 0.0), ("batch_size", 0)]
)
def test_fields_out_of_bounds_are_refused(field, value):
    config = with_fields(config_file.get_config("run=x,images=y"), {field: value})
    with pytest.raises(ValueError, match=f"config.{field} = .*must be"):
        task.settings_of(config)


def test_answers_to_another_question_are_not_replaced(base, clinic, tmp_path):
    """Monday's, then Tuesday's; the same folder with more in it is the same question."""
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        shutil.copy(base / "photos" / "acne-0-0.png", tmp_path / day / "a.png")
    predicted(clinic / "ss", tmp_path / "monday", tmp_path / "out")
    shutil.copy(base / "photos" / "acne-0-1.png", tmp_path / "monday" / "b.png")
    assert len(predicted(clinic / "ss", tmp_path / "monday", tmp_path / "out")) == 2
    with pytest.raises(ValueError, match="monday, which would be lost: name another folder"):
        predicted(clinic / "ss", tmp_path / "tuesday", tmp_path / "out")
    assert len(table_of(tmp_path / "out")) == 2


def test_a_split_and_few_readable_files_do_not_stand_in_the_way(base, clinic, tmp_path):
    """Neither matters where nothing is trained; messages name the options that there are."""
    shutil.copy(base / "photos" / "acne-0-0.png", tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no photograph")
    (tmp_path / "new.csv").write_text("image,patient,split\na.png,p1,train\nb.jpg,p1,test\n")
    with pytest.raises(ValueError) as refused:
        predicted(clinic / "ss", tmp_path / "new.csv", tmp_path / "out")
    assert not any(word in line for line in refused.value.problems for word in ("data.", "split"))
    table = predicted(clinic / "ss", tmp_path / "new.csv", tmp_path / "out", on_bad_image="skip")
    assert table[["image", "patient"]].values.tolist() == [["a.png", "p1"]]


def test_flagged_photographs_are_on_the_page_before_all_others(base, clinic, tmp_path):
    shutil.copytree(base / "photos", tmp_path / "new")
    Image.new("RGB", (40, 40), (0, 255, 0)).save(tmp_path / "new" / "z-green.png")
    calibration = predict.Calibration.fit

    def strict(*args, **given):
        return dataclasses.replace(calibration(*args, **given), farthest=kept[0])

    table = predicted(clinic / "ss", tmp_path / "new", tmp_path / "a")
    kept = [table["distance"].astype(float).drop(table.index[-1]).max()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict.Calibration, "fit", strict)
        table = predicted(clinic / "ss", tmp_path / "new", tmp_path / "b", shown=1)
    flagged = table.loc[table["flags"] == "unfamiliar", "image"].tolist()
    page = (tmp_path / "b" / "predictions" / "predictions.html").read_text()
    if flagged:  # whether the green one lies farthest is the network's affair
        assert f"Photograph {flagged[0]}" in page and page.count("<figure") == 1
    assert "54 more photographs are in predictions.csv" in page
