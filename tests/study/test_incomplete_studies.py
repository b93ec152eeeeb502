"""The report of a study that lacks runs, strategies or patients."""

import re

import numpy as np
import pandas as pd
import pytest
from etils import epath

from dermjax.statistics import calibration
from dermjax.study import plan, report
from dermjax.study.results import collect
from dermjax.training.writer import Writer
from tests.study.made_up import changed, write_study
from tests.study.report_files import table, words


@pytest.mark.usefixtures("blank_figures")
def test_a_column_of_small_parts_is_told_and_not_drawn(tmp_path):
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=1")
    settings = changed(settings, report__resamples=100, report__tsne=False)
    sets = pd.read_csv(runs[0].folder.path / "splits.csv", dtype=str, keep_default_na=False)
    sets["skin_type"] = [f"{i % 6 + 1}.0" if i % 2 else "" for i in range(len(sets))]
    sets["site"] = [f"place {i % 30}" for i in range(len(sets))]
    sets.to_csv(runs[0].folder.path / "splits.csv", index=False)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    said = words(tmp_path)
    assert "Nothing can be shown by site: every part has fewer than 20 test images" in said
    assert re.search("None for [a-z, ]*site: fewer than two parts", said)
    assert "By skin type, at" in said and "skin_type" not in said
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert "subgroups_skin_type" in names and "subgroups_site" not in names


@pytest.mark.usefixtures("blank_figures")
def test_what_is_missing_is_said_and_left_out(tmp_path):
    settings, runs = write_study(tmp_path, argument="alphas=0.5+1.0,trials=2")
    settings = changed(settings, report__resamples=100, report__tsne=False)
    (runs[0].folder.path / "results.json").unlink()
    results = runs[1].folder.path / "results.json"
    results.write_text(results.read_text().replace("made up", "other"))
    failed = {runs[0].name: "out of memory (exit status 137)"}
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, failed, Writer())
    said = words(tmp_path)
    assert "2 runs are not in this report" in said
    assert "ss-alpha0.5-trial0: out of memory (exit status 137)" in said
    assert "in-alpha0.5-trial0: was made with other data" in said
    overall = table(tmp_path, "overall").set_index(["strategy", "alpha"])
    assert overall["trials"]["SS", 0.5] == 1 and overall["trials"]["SS", 1.0] == 2
    assert np.isnan(overall["accuracy_sd"]["SS", 0.5])


@pytest.mark.usefixtures("blank_figures")
def test_identical_strategies_do_not_differ_where_a_trial_of_one_is_missing(tmp_path):
    """They are compared in the trials that both have, which the page names."""
    argument = "strategies=SS+IN,alphas=0.5,trials=3"
    settings, runs = write_study(tmp_path, argument=argument, classes=3, images=60)
    settings = changed(settings, report__resamples=100, report__tsne=False)
    for ss, other in zip(runs[::2], runs[1::2], strict=True):
        for name in ("predictions.csv", "validation_predictions.csv"):
            (other.folder.path / name).write_text((ss.folder.path / name).read_text())
    (runs[3].folder.path / "results.json").unlink()  # IN's trial 1
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    pairs, said = table(tmp_path, "pairs"), words(tmp_path)
    assert (pairs["difference"] == 0).all() and pairs["mcnemar_p"].tolist() == ["1 1"] * 3
    for name in ("p", "p_holm", "networks_p_holm"):
        assert (pairs[name] == 1).all()
    assert "2 (0, 2)" in said and "trials 0 and 2" in said and "cannot be told apart" in said
    # The one with the luckier trials is not the better strategy.
    for name in ("overall", "table1a", "table1b"):
        assert "textbf" not in (tmp_path / "tables" / f"{name}.tex").read_text()
    # All of three classes are among the three likeliest.
    assert "top3" not in table(tmp_path, "overall")
    assert "top-3" not in said.partition("Definitions")[0]


@pytest.mark.usefixtures("blank_figures")
def test_a_test_set_of_one_patient_has_a_report_without_intervals(tmp_path):
    argument = "strategies=SS+FS,alphas=1.0,trials=2"
    settings, runs = write_study(tmp_path, argument=argument, images=24, patients=1)
    settings = changed(settings, report__resamples=100, report__tsne=False)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    overall, said = table(tmp_path, "overall"), words(tmp_path)
    assert overall["accuracy"].notna().all()
    assert overall.filter(regex="_(low|high)$").isna().all(axis=None)
    assert table(tmp_path, "by_class").filter(regex="_(low|high)$").isna().all(axis=None)
    assert "SS and FS cannot be compared: one test patient" in said
    assert "nan" not in said.lower().split() and "[nan" not in said


@pytest.mark.usefixtures("blank_figures")
def test_one_strategy_alone_has_a_report_without_comparisons(tmp_path, monkeypatch):
    fitted, fit = [], calibration.fit_temperature
    monkeypatch.setattr(
        calibration, "fit_temperature", lambda *given: fitted.append(fit(*given)) or fitted[-1]
    )
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=1", images=30)
    settings = changed(settings, report__resamples=100)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    assert len(table(tmp_path, "pairs")) == 0
    assert "Differences between" not in words(tmp_path)
    assert len(fitted) == 1  # for the tables and the figure together


def test_nothing_finished_is_said(tmp_path, capsys):
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=1", images=30)
    (runs[0].folder.path / "results.json").unlink()
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    assert "nothing to report" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()


def test_finished_runs_are_found_as_they_were_planned(tmp_path):
    argument = "strategies=SS+SS-IN-logit+FS-balanced,alphas=0.5+1.0,trials=2"
    _, runs = write_study(tmp_path, argument=argument, images=30)
    (runs[3].folder.path / "results.json").unlink()
    expected = [run.title for run in runs if run is not runs[3]]
    assert [run.title for run in plan.finished(epath.Path(tmp_path))] == expected


@pytest.mark.usefixtures("blank_figures")
def test_runs_of_another_labelled_subset_or_test_set_are_left_out(tmp_path):
    """Such as an older version drew by the order of the table's rows."""
    _, runs = write_study(tmp_path, argument="alphas=0.1,trials=2", images=40)
    first, second = (next(run for run in runs if run.trial == trial) for trial in (1, 0))
    for run, part in ((first, "train"), (second, "test")):
        sets = pd.read_csv(run.folder.path / "splits.csv", dtype=str, keep_default_na=False)
        if part == "train":
            sets.loc[sets["split"] == "train", "labelled"] = list(
                sets.loc[sets["split"] == "train", "labelled"][::-1]
            )
        else:
            sets.loc[sets.index[-1], "split"] = "train"
        sets.to_csv(run.folder.path / "splits.csv", index=False)
    found, missing = collect(runs)
    assert {one.planned.name for one in found.runs} == {
        run.name for run in runs if run.name not in (first.name, second.name)
    }
    assert "labels" in missing[first.name] and "test images" in missing[second.name]
