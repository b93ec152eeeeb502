"""The command: what is asked about and what is not, the table to fill in, and what is refused."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermjax.cli import manifest, task
from dermjax.configs import label as config_file
from tests.experiment.clinic import tiny_config, with_fields, write_clinic

UNLABELLED = range(5, 9)  # of each class's nine patients


def config_of(run, argument="", **fields):
    return with_fields(config_file.get_config(f'run="{run}"{argument}'), fields)


def chosen(run, workdir, argument="", **fields) -> pd.DataFrame:
    """The batch, all columns text."""
    assert task.start(config_of(run, argument, **fields), str(workdir)) == 0
    return batch_of(workdir)


def batch_of(workdir) -> pd.DataFrame:
    path = workdir / "label" / "next.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def blanked(folder):
    """A clinic four of whose nine patients of each class have no label, and a column of its own."""
    path = write_clinic(folder)
    table = pd.read_csv(path, dtype=str).assign(site="arm")
    table.loc[table["patient"].str[-1].astype(int).isin(UNLABELLED), "label"] = ""
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Pretrained on a clinic with 24 unlabelled photographs of 12 patients."""
    folder = tmp_path_factory.mktemp("label")
    path = blanked(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMJAX_CACHE", str(folder / "cache"))
        assert task.start(tiny_config("SS", path, task="pretrain"), str(folder / "run")) == 0
        yield folder


@pytest.fixture
def table(clinic):
    """The clinic's table, which is put back as it was."""
    text = (clinic / "photos.csv").read_text()
    yield clinic / "photos.csv"
    (clinic / "photos.csv").write_text(text)


def test_a_batch_is_a_table_to_fill_in_and_a_page(clinic, tmp_path, capsys):
    batch = chosen(clinic / "run", tmp_path, ",count=9")
    assert list(batch) == ["image", "label", "patient", "site", "rank", "why"]
    assert (batch["label"] == "").all() and batch["rank"].tolist() == [*map(str, range(1, 10))]
    own = pd.read_csv(clinic / "photos.csv", dtype=str, keep_default_na=False)
    own = own.set_index("image").loc[batch["image"]]
    assert (own["label"] == "").all()
    assert batch["patient"].tolist() == own["patient"].tolist()
    assert batch["patient"].is_unique and (batch["site"] == "arm").all() and batch["why"].all()
    page = (tmp_path / "label" / "label.html").read_text()
    assert all(name in page for name in batch["image"])
    told = capsys.readouterr().out
    assert "9 of 24 unlabelled training photographs" in told
    assert "method: handover, for nobody has tried" in told
    # The same question again changes nothing; another one is not answered over it.
    pd.testing.assert_frame_equal(chosen(clinic / "run", tmp_path, ",count=9"), batch)
    with pytest.raises(ValueError, match="is another batch, .* merge its labels first"):
        chosen(clinic / "run", tmp_path, ",count=8")


@pytest.mark.parametrize("method", ["random", "typicality", "coverage", "margin", "entropy"])
def test_the_order_of_the_table_changes_nothing(clinic, table, tmp_path, method):
    first = chosen(clinic / "run", tmp_path / "a", f",count=7,method={method}")
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::-1]]) + "\n")
    second = chosen(clinic / "run", tmp_path / "b", f",count=7,method={method}")
    pd.testing.assert_frame_equal(first, second)
    third = chosen(clinic / "run", tmp_path / "c", f",count=7,method={method},seed=1")
    assert method != "random" or third["image"].tolist() != first["image"].tolist()


def test_a_batch_is_chosen_by_the_network(clinic, tmp_path, capsys):
    argument = ",count=4,method=margin,classifier=finetune"
    batch = chosen(clinic / "run", tmp_path, argument, finetune_steps=2)
    assert len(batch) == 4 and batch["why"].str.contains("two likeliest classes").all()
    assert "classifier: the network, fine-tuned" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is another batch"):
        chosen(clinic / "run", tmp_path, ",count=4,method=margin")


def test_what_a_person_has_filled_in_is_kept(clinic, tmp_path):
    batch = chosen(clinic / "run", tmp_path, ",count=3")
    batch.loc[1, "label"] = "acne"
    # As Excel saves it in Germany.
    path = tmp_path / "label" / "next.csv"
    path.write_text(batch.to_csv(index=False, sep=";"), encoding="utf-8-sig")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="next.csv has answers in 1 rows, which would be lost"):
        chosen(clinic / "run", tmp_path, ",count=3")
    assert path.read_bytes() == before


def test_a_batch_is_filled_in_merged_and_followed_by_another(clinic, tmp_path, capsys):
    """The whole way round: nobody is asked again, the photographs' features are not made again."""
    first = chosen(clinic / "run", tmp_path, ",count=6")
    names = first["image"].tolist()
    labels = [name.split("/")[1].split("-")[0] for name in names[:3]] + ["a new class", "", ""]
    filled = first.assign(label=labels, verdict=[""] * 4 + ["cannot tell", "not a lesion"])
    filled.to_csv(tmp_path / "filled.csv", index=False, sep=";")
    newer = clinic / "newer.csv"
    merging = [f"--labels={tmp_path / 'filled.csv'}", f"--out={newer}", "--new-classes"]
    assert manifest.main([str(clinic / "photos.csv"), *merging]) == 0
    capsys.readouterr()
    second = chosen(clinic / "run", tmp_path, f",count=24,data={newer},per_patient=2")
    told = capsys.readouterr().out
    assert not set(second["image"]) & set(names) and len(second) == 18
    assert "features: 53 images, read from" in told and "of them new" not in told
    assert "18 of 18 unlabelled" in told and "24 were asked for, and there are no more" in told
    assert "1 looked at already, without a label (column verdict)" in told
    assert "a new class" in (tmp_path / "label" / "label.html").read_text()
    newer.unlink()


def test_a_newer_table_elsewhere_is_known_by_its_photographs(clinic, tmp_path, capsys):
    """As `python -m dermjax.data.manifest` writes it: images named as seen from the table."""
    first = chosen(clinic / "run", tmp_path / "a", ",count=5")
    newer = pd.read_csv(clinic / "photos.csv", dtype=str)
    newer["image"] = [os.path.relpath(clinic / name, tmp_path) for name in newer["image"]]
    newer.to_csv(tmp_path / "newer.csv", index=False)
    capsys.readouterr()
    data = tmp_path / "newer.csv"
    shutil.rmtree(tmp_path / "a" / "label")
    second = chosen(clinic / "run", tmp_path / "a", f",count=5,data={data}")
    places = [os.path.normpath(tmp_path / name) for name in second["image"]]
    assert places == [str(clinic / name) for name in first["image"]]
    assert "features: 54 images, read from" in capsys.readouterr().out


def test_of_more_photographs_the_new_ones_are_computed(clinic, tmp_path, capsys):
    chosen(clinic / "run", tmp_path, ",count=5")
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(image).save(clinic / "photos" / "new.png")
    newer = clinic / "more.csv"
    table = pd.read_csv(clinic / "photos.csv", dtype=str)
    table.loc[len(table)] = {"image": "photos/new.png", "patient": "someone new"}
    table.to_csv(newer, index=False)
    shutil.rmtree(tmp_path / "label")
    capsys.readouterr()
    chosen(clinic / "run", tmp_path, f",count=60,data={newer},per_patient=9")
    assert "features: 55 images, read from" in (told := capsys.readouterr().out)
    assert "1 of them new" in told
    newer.unlink(), (clinic / "photos" / "new.png").unlink()


def test_a_newer_table_of_other_photographs_is_refused(clinic, tmp_path):
    path = write_clinic(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="none of the photographs in .* is one of the run in"):
        chosen(clinic / "run", tmp_path, f",data={path}")


def test_patients_who_measure_are_not_asked_about(tmp_path, monkeypatch, capsys):
    """Unlabelled photographs of patients of the validation and of the test set."""
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    path = write_clinic(tmp_path)
    table = pd.read_csv(path, dtype=str)
    table["split"] = table["patient"].str[-1].map(lambda one: "train" if one in "01234" else "test")
    table.loc[table["patient"].str[-1].isin(["5", "6"]), "split"] = "validation"
    table.loc[table["image"].str.contains("-[468]-1"), "label"] = ""
    table.loc[table["image"].str.contains("acne-0-"), "exclude"] = "all"
    table.to_csv(path, index=False)
    assert task.start(tiny_config("SS", path, task="pretrain"), str(tmp_path / "run")) == 0
    batch = chosen(tmp_path / "run", tmp_path / "run", ",count=50")
    assert set(batch["image"]) == {f"photos/{c}-4-1.png" for c in ("acne", "eczema", "rosacea")}
    told = capsys.readouterr().out
    assert "6 of patients in the validation or the test set" in told
    assert "2 excluded by the table, or unreadable" in told


def test_a_cold_start_and_copies(tmp_path, monkeypatch, capsys):
    """No label anywhere; a photograph that was saved twice is asked about once."""
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(20):
        coarse = rng.integers(0, 255, (7, 9, 3), np.uint8)
        image = Image.fromarray(coarse).resize((60, 48), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:02}.png")
        if number < 6:
            image.save(folder / f"again{number}.jpg", quality=90)
    assert task.start(tiny_config("SS", folder, task="pretrain"), str(tmp_path / "run")) == 0
    for method in ("auto", "coverage", "random"):
        batch = chosen(tmp_path / "run", tmp_path / method, f",count=26,method={method}")
        stems = batch["image"].str.replace(r".*again(\d)\.jpg", r"0\1.png", regex=True)
        assert len(batch) == 20 and stems.is_unique
    told = capsys.readouterr().out
    assert "no page: no label is known yet; name the classes" in told
    assert not (tmp_path / "random" / "label" / "label.html").exists()
    chosen(tmp_path / "run", tmp_path / "random", ",count=26,method=random,classes=Akne+乾癬+akne")
    page = (tmp_path / "random" / "label" / "label.html").read_text()
    assert "Akne" in page and "乾癬" in page and "akne" not in page.replace("Akne", "")
    assert "labels so far: 0 training photographs of 0 classes" in told
    assert "the rest comes with the next batch" in told
    with pytest.raises(ValueError, match="needs labels of two classes, and there are labels of no"):
        chosen(tmp_path / "run", tmp_path / "m", ",method=margin")
    # With a label on one of a pair, the other is no longer asked about.
    names = sorted(f"photos/{file.name}" for file in folder.iterdir())
    labels = ["acne" if name == "photos/again0.jpg" else "" for name in names]
    pd.DataFrame({"image": names, "label": labels}).to_csv(tmp_path / "new.csv", index=False)
    names = [name.removeprefix("photos/") for name in names]
    pd.DataFrame({"image": names, "label": labels}).to_csv(folder / "new.csv", index=False)
    batch = chosen(tmp_path / "run", tmp_path / "d", f",count=26,data={folder / 'new.csv'}")
    assert len(batch) == 19 and "00.png" not in set(batch["image"])
    assert "1 near duplicates of a photograph that has a label" in capsys.readouterr().out


def test_a_run_whose_photographs_all_have_labels_says_so(base, tmp_path):
    with pytest.raises(ValueError, match="no unlabelled training image to ask about.*simulate"):
        chosen(base / "runs" / "ss", tmp_path)
    assert not (tmp_path / "label").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (",method=badge", "config.method = 'badge', but it must be one of auto, random"),
        (",trial=1", "config.trial = '1', but it must be simulate, or blank"),
        (",count=0", "config.count = 0, but it must be at least 1"),
        (",seeds=1", "config.seeds = 1, but it must be at least 2"),
        (",encoder=head", "config.encoder = 'head', but it must be one of auto, pretrain"),
        (",conut=5", "'conut' is not known.*did you mean 'count'"),
    ],
)
def test_mistakes_are_named(clinic, argument, message):
    with pytest.raises(ValueError, match=message):
        task.start(config_of(clinic / "run", argument))


def test_no_run_and_an_unfinished_one_are_named(clinic, tmp_path):
    with pytest.raises(ValueError, match="which run"):
        task.settings_of(config_file.get_config())
    with pytest.raises(ValueError, match="not the folder of a run"):
        task.start(config_of(tmp_path))
    (tmp_path / "begun").mkdir()
    shutil.copy(clinic / "run" / "config.json", tmp_path / "begun")
    with pytest.raises(ValueError, match="pretrain stage of the run in .* is not finished"):
        task.start(config_of(tmp_path / "begun"))


@pytest.mark.parametrize(
    ("encoder", "best", "method", "why"),
    [
        ("pretrain", "margin", "margin", "beat random choice in the simulation: \\+.040"),
        ("pretrain", "random", "random", "no method beat chance in the simulation"),
        ("start", "margin", "handover", "the simulation is of the features of encoder=start"),
    ],
)
def test_the_simulation_decides_the_method(clinic, tmp_path, capsys, encoder, best, method, why):
    found = {"difference": {"value": 0.04, "low": 0.01, "high": 0.07}}
    results = {"encoder": encoder, "best": best, "labels": [50, 150, 250]}
    (tmp_path / "label").mkdir()
    path = tmp_path / "label" / "simulation.json"
    path.write_text(json.dumps(results | {"methods": {"margin": found}}))
    chosen(clinic / "run", tmp_path, ",count=3")
    told = capsys.readouterr().out
    assert f"method: {method}, " in told and why.replace("\\", "") in told
    path.write_text('{"encoder":')
    with pytest.raises(ValueError, match="simulation.json is damaged: remove it, or run"):
        chosen(clinic / "run", tmp_path, ",count=3")
