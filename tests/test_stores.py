"""Folders that users name: expanded, taken as they are, or refused before anything is done."""

import os

import pytest

from dermjax import stores
from dermjax.configs import common, study
from dermjax.data import layouts
from dermjax.data.problems import ManifestError
from dermjax.runs import locations
from dermjax.settings import RunSettings
from dermjax.study.plan import plan
from dermjax.study.settings import StudySettings


@pytest.mark.parametrize("take", [stores.folder, stores.writable_folder])
def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, take):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert os.fspath(take("~/runs/a")) == f"{tmp_path}/runs/a"
    assert os.fspath(take("./~")) == "~"  # a folder of that name is still to be had


def test_data_are_found_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("image,label,patient\na.jpg,a,p\n")
    (tmp_path / "r.csv").write_text("image,x,y,w,h\na.jpg,1,1,5,5\n")
    manifest, _ = layouts.read("~/t.csv", cache_dir=tmp_path / "cache", redact="~/r.csv")
    assert manifest.frame["path"].tolist() == [f"{tmp_path}/a.jpg"]
    assert manifest.frame["redact"].tolist() == ["1,1,5,5"]
    config = common.make_config("FS", "data=~/t.csv")
    assert "~" not in locations.default_workdir(RunSettings.from_config(config))
    for path in (f"~{'no_such_user' * 3}/t.csv", "~/none.csv"):
        with pytest.raises(ManifestError, match="no such file or folder"):
            layouts.read(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("name", ["back\\slash", "not\udcffutf8", "x" * 256, "deep/" * 1_000])
def test_a_name_that_checkpoints_cannot_have_is_refused_before_work(tmp_path, name):
    with pytest.raises(ValueError, match="take a(nother| shorter)"):
        stores.writable_folder(tmp_path / name)
    config = common.make_config("SS", "scale=demo")
    config.pretrain.directory = str(tmp_path / name)
    with pytest.raises(ValueError, match="take a(nother| shorter)"):
        RunSettings.from_config(config).check_files()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a [1]", "st*r", "wh?t"])
def test_a_pattern_is_no_folder_of_a_bucket(name):
    with pytest.raises(ValueError, match="take another folder"):
        stores.writable_folder(f"gs://bucket/{name}/run")


def test_a_default_workdir_can_be_written_whatever_the_data_are_called():
    for name in ("back\\slash.csv", "x" * 250 + ".csv", "not\udcffutf8.csv", "a [1].csv"):
        config = common.make_config("FS", None)
        config.data.source = name
        stores.writable_folder(locations.default_workdir(RunSettings.from_config(config)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('data="a, b.csv",alpha=0.5', {"data": "a, b.csv", "alpha": 0.5}),
        ("alpha=0.5,data='x,y'", {"data": "x,y", "alpha": 0.5}),
        ("data=a [1]#%.csv,trial=2", {"data": "a [1]#%.csv", "trial": 2}),
        ("data=it's.csv,trial=2", {"data": "it's.csv", "trial": 2}),
        ("data=a=b.csv", {"data": "a=b.csv"}),
    ],
)
def test_a_value_with_a_comma_stands_in_quotes(text, wanted):
    assert common.parse_argument(text) == common.ARGUMENTS | wanted


@pytest.mark.parametrize("text", ["data=clinic, old/photos.csv", "data=a=b,c=d.csv"])
def test_a_comma_that_ends_a_value_is_named_with_the_remedy(text):
    with pytest.raises(ValueError) as error:
        common.parse_argument(text)
    assert text.partition("=")[2] in str(error.value).replace('"', "")
    assert "--config.data.source=" in str(error.value) and "quotes" in str(error.value)


@pytest.mark.parametrize("source", ["a, b.csv", 'it\'s, "q".csv', " lead.csv", "a [1].csv", "b=c"])
def test_the_runs_of_a_study_get_its_data_whatever_they_are_called(tmp_path, source):
    config = study.get_config("strategies=FS,alphas=1.0,trials=1")
    config.run.data.source = source
    (run,) = plan(StudySettings.from_config(config), stores.folder(tmp_path))
    first, _, *rest = run.flags()
    made = common.make_config("FS", first.partition(":")[2])
    for flag in rest:
        if flag.startswith("--config.data.source="):
            made.data.source = flag.partition("=")[2]
    assert made.data.source == source
