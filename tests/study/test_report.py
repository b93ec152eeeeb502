"""The study's report: its numbers are scikit-learn's, its page is one file and holds them all."""

import html
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from etils import epath
from matplotlib.figure import Figure
from sklearn import metrics

from dermjax.configs import study as config_file
from dermjax.report import lettering, numbers
from dermjax.statistics import calibration
from dermjax.study import paper_results, plan, report
from dermjax.study import sections as study_page
from dermjax.study.results import collect
from dermjax.study.settings import StudySettings
from dermjax.training.writer import Writer
from tests.study.made_up import changed, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, runs) of a study of three strategies, two shares and two trials, with its report."""
    folder = tmp_path_factory.mktemp("study")
    settings, runs = write_study(folder, argument="alphas=0.1+1.0,trials=2")
    settings = changed(settings, report__resamples=300)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    return folder, runs


@pytest.fixture
def blank_figures(monkeypatch):
    """Figures are files without content: drawing them is most of a report's time."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(b""))


def table(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv")


def predictions(run):
    return pd.read_csv(run.folder.path / "predictions.csv")


def sections(study):
    """Those of the page, made anew."""
    config = config_file.get_config("scale=demo,alphas=0.1+1.0,trials=2")
    settings = changed(StudySettings.from_config(config), report__resamples=300)
    outcomes = collect(study[1])[0]
    frames = report._measure(settings, outcomes, Writer())
    return study_page.sections(settings, outcomes, frames, {}, [])


def words(folder):
    text = (folder / "report.html").read_text(encoding="utf-8").split("<body>")[1]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


def test_numbers_are_those_of_scikit_learn(study):
    folder, runs = study
    overall, by_class = table(folder, "overall"), table(folder, "by_class")
    cell = [run for run in runs if (run.strategy, run.alpha) == ("IN", 0.1)]
    own = overall[(overall["strategy"] == "IN") & (overall["alpha"] == 0.1)].iloc[0]
    each = [predictions(run) for run in cell]
    for name, score in (
        ("accuracy", lambda t: metrics.accuracy_score(t["label"], t["predicted"])),
        (
            "macro_sensitivity",
            lambda t: metrics.balanced_accuracy_score(t["label"], t["predicted"]),
        ),
        (
            "macro_precision",
            lambda t: metrics.precision_score(
                t["label"], t["predicted"], average="macro", zero_division=0
            ),
        ),
        ("macro_f1", lambda t: metrics.f1_score(t["label"], t["predicted"], average="macro")),
    ):
        values = [score(t) for t in each]
        assert own[name] == pytest.approx(np.mean(values), abs=1e-5)
        assert own[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-5)
        assert own[f"{name}_low"] < own[name] < own[f"{name}_high"]
    shares = [f"p_disease {i}" for i in range(4)]
    areas = [
        metrics.roc_auc_score(t["label"], t[shares].to_numpy(), multi_class="ovr") for t in each
    ]
    assert own["macro_auroc"] == pytest.approx(np.mean(areas), abs=1e-5)
    losses = [metrics.log_loss(t["label"], t[shares].to_numpy()) for t in each]
    assert own["log_loss"] == pytest.approx(np.mean(losses), abs=1e-4)
    row = by_class[(by_class["strategy"] == "IN") & (by_class["alpha"] == 0.1)].set_index("class")
    for index, name in enumerate(row.index):
        hits = [metrics.recall_score(t["label"] == name, t["predicted"] == name) for t in each]
        assert row["sensitivity"][name] == pytest.approx(np.mean(hits), abs=1e-5)
        rejected = [metrics.recall_score(t["label"] != name, t["predicted"] != name) for t in each]
        assert row["specificity"][name] == pytest.approx(np.mean(rejected), abs=1e-5)
        assert row["n"][name] == (each[0]["label"] == f"disease {index}").sum()
    sets = pd.read_csv(cell[0].folder.path / "splits.csv")
    kept = sets[(sets["split"] == "train") & (sets["labelled"] == 1)]["label"].value_counts()
    other = pd.read_csv(cell[1].folder.path / "splits.csv")
    also = other[(other["split"] == "train") & (other["labelled"] == 1)]["label"].value_counts()
    assert row["labelled"]["disease 0"] == (kept["disease 0"] + also["disease 0"]) / 2


def test_intervals_of_ranking_and_calibration_are_over_patients(study):
    folder, runs = study
    overall, by_class = table(folder, "overall"), table(folder, "by_class")
    for name in ("macro_auroc", "macro_auprc", "top3", "brier", "log_loss", "log_loss_scaled"):
        low, value, high = (overall[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= value) & (value <= high) & (low < high)).all()
    for name in ("ece", "classwise_ece", "ece_scaled", "classwise_ece_scaled"):
        assert (overall[f"{name}_low"] <= overall[f"{name}_high"]).all()
    for name in ("auroc", "auprc"):
        low, value, high = (by_class[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= value) & (value <= high)).all() and (low < high).all()
    own = overall[(overall["strategy"] == "FS") & (overall["alpha"] == 1)].iloc[0]
    each = [predictions(run) for run in runs if (run.strategy, run.alpha) == ("FS", 1.0)]
    rng, losses = np.random.default_rng(0), []
    truth = each[0]["label"].map({f"disease {i}": i for i in range(4)})
    shares = [t[[f"p_disease {i}" for i in range(4)]].to_numpy() for t in each]
    own_losses = np.mean([-np.log(p[np.arange(120), truth]) for p in shares], 0)
    assert own["log_loss_low"] <= own["log_loss_networks_low"]  # trainings differ, too
    assert own["log_loss_high"] >= own["log_loss_networks_high"]
    patients = [rows.to_numpy() for _, rows in each[0].reset_index().groupby("patient")["index"]]
    for _ in range(1000):
        drawn = rng.integers(0, len(patients), len(patients))
        losses.append(own_losses[np.concatenate([patients[i] for i in drawn])].mean())
    low, high = np.quantile(losses, [0.025, 0.975])
    assert own["log_loss_networks_low"] == pytest.approx(low, rel=0.1)
    assert own["log_loss_networks_high"] == pytest.approx(high, rel=0.1)


def test_intervals_of_ranking_and_calibration_are_on_the_page(study):
    folder, _ = study
    overall, said = table(folder, "overall"), words(folder)
    row = overall.iloc[0]
    for name in ("macro_auroc", "top3", "ece", "log_loss_scaled"):
        value, low, high = (
            f"{row[f'{name}{end}']:.3f}".replace("0.", ".", 1) for end in ("", "_low", "_high")
        )
        assert f"{value} [{low}, {high}]" in said
    area = table(folder, "by_class").iloc[0]
    low, high = (f"{area[f'auroc_{end}']:.2f}".replace("0.", ".", 1) for end in ("low", "high"))
    assert f"[{low}, {high}]" in said
    assert "300 draws of the test patients" in said  # of errors of calibration


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("classes, name", [(2, None), (3, "top2"), (4, "top3")])
def test_top_k_is_of_fewer_than_all_classes_and_called_what_it_is(tmp_path, classes, name):
    argument = "strategies=FS,alphas=1.0,trials=1"
    settings, runs = write_study(tmp_path, argument=argument, classes=classes, images=60)
    settings = changed(settings, report__resamples=100, report__tsne=False)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    overall, said = table(tmp_path, "overall"), words(tmp_path)
    assert [column for column in overall if column in ("top2", "top3")] == [name] * bool(name)
    assert ("top-2 accuracy" in said) == (name == "top2")
    assert ("top-3 accuracy" in said) == (name == "top3")
    if name:
        own = predictions(runs[0])
        shares = own[[f"p_disease {i}" for i in range(classes)]].to_numpy()
        truth = own["label"].str[-1].astype(int)
        score = metrics.top_k_accuracy_score(truth, shares, k=int(name[-1]))
        assert overall[name][0] == pytest.approx(score, abs=1e-5)


@pytest.mark.usefixtures("blank_figures")
def test_subgroups_tell_which_spellings_they_hold(tmp_path):
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=1")
    settings = changed(settings, report__resamples=100, report__tsne=False)
    sets = pd.read_csv(runs[0].folder.path / "splits.csv", dtype=str, keep_default_na=False)
    sets["sex"] = sets["sex"].replace({"f": "F"})
    test = sets.index[sets["split"] == "test"]
    sets.loc[test[:4], "sex"] = ["female", "f", "weiblich", "?"]
    sets.loc[test[:4], "age"] = ["unknown", "90+", "?", "34 years"]
    sets.to_csv(runs[0].folder.path / "splits.csv", index=False)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    parts, said = table(tmp_path, "subgroups"), words(tmp_path)
    assert set(parts["value"][parts["column"] == "sex"]) <= {"female", "male", "m", "(unknown)"}
    assert len(parts[parts["column"] == "age"]) <= 10
    for written in ("“weiblich” (1)", "“?” (1)", "“34 years” (1)"):
        assert written in said


def test_scaling_is_fitted_on_validation_and_lowers_the_loss(study):
    overall = table(study[0], "overall")
    assert (overall["log_loss_scaled"] < overall["log_loss"] + 0.02).all()
    assert overall["log_loss_scaled"].mean() < overall["log_loss"].mean()
    assert overall["temperature"].between(0.05, 20).all()


def test_pairs_are_all_compared_and_adjusted(study):
    pairs = table(study[0], "pairs")
    assert len(pairs) == 3 * 2 * 3  # pairs of strategies, shares, measures
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {
        ("SS", "IN"),
        ("SS", "FS"),
        ("IN", "FS"),
    }
    assert (pairs["p_holm"] >= pairs["p"]).all()
    assert (pairs["networks_p_holm"] >= pairs["networks_p"]).all()
    assert (pairs["p"] >= pairs["networks_p"]).all() and (pairs["trials"] == 2).all()
    ss_fs = pairs[(pairs["second"] == "FS") & (pairs["first"] == "SS") & (pairs["alpha"] == 1)]
    assert (ss_fs["networks_low"] > 0).all()  # made so
    assert (ss_fs.loc[ss_fs["measure"] == "accuracy", "low"] > 0).all()


def test_mcnemar_s_test_stands_with_accuracy_alone(study):
    """It is about images that are right: it says nothing of macro means."""
    (section,) = [one for one in sections(study) if one.heading == "Differences"]
    (paired,) = section.tables
    pairs = table(study[0], "pairs")
    assert len(paired.rows) == len(pairs)
    for row, of in zip(paired.rows, pairs.itertuples(), strict=True):
        each = [numbers.p_value(float(p)) for p in of.mcnemar_p.split()]
        assert row[-1] == (", ".join(each) if of.measure == "accuracy" else "")


def test_the_errors_of_the_figure_are_those_of_the_table(study):
    """Errors of trials cancel out where their images are taken together."""
    overall = table(study[0], "overall").set_index(["strategy", "alpha"])
    (section,) = [one for one in sections(study) if one.heading == "Calibration"]
    for drawn, alpha in zip(section.drawn, (0.1, 1.0), strict=True):
        titles = [ax.get_title() for ax in drawn.figure.axes if "ECE" in ax.get_title()]
        assert len(titles) == 3
        for title in titles:
            own = overall.loc[title.split("\n")[0], alpha]
            assert title.endswith(f"ECE {own['ece']:.3f} → {own['ece_scaled']:.3f}")


def test_sensitivity_of_a_class_has_its_interval_on_the_page(study):
    row = table(study[0], "by_class").iloc[-1]
    value, low, high = (numbers.number(row[f"sensitivity{end}"]) for end in ("", "_low", "_high"))
    assert f"{value} [{low}, {high}]" in words(study[0])


def test_the_purity_has_what_chance_alone_makes(study):
    label = predictions(study[1][0])["label"].to_numpy()
    same = (label[:, None] == label).sum() - len(label)
    chance = numbers.number(same / (len(label) * (len(label) - 1)))
    assert f"purity; {chance} by chance" in words(study[0])


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


def test_what_p_is_adjusted_for_is_said_with_the_findings(study):
    said = words(study[0]).partition("Strategies Classes")[0]
    assert (
        "p is adjusted for all comparisons in macro sensitivity (Holm), intervals are not" in said
    )
    assert "fingerprint of the data made up" in said


def test_tables_for_a_paper(study):
    folder, _ = study
    first = table(folder, "table1b")
    assert first["class"].tolist() == [f"disease {i}" for i in range(4)]
    assert list(first.columns[1:4]) == ["n", "SS 100 %", "IN 100 %"]
    text = (folder / "tables" / "table1b.tex").read_text()
    assert r"\toprule" in text and r"SS 100 \%" in text and r"\textbf{." in text
    printed = first.drop(columns=["class", "n"]).astype(float)
    for row, line in enumerate(re.findall(r"^disease.*", text, re.M)):
        cells = [cell.strip(" \\") for cell in line.split("&")][2:]
        for start in (0, 3):  # the three strategies at one share
            best = printed.iloc[row, start : start + 3].max()
            bold = [r"textbf{" in cell for cell in cells[start : start + 3]]
            assert bold == (printed.iloc[row, start : start + 3] == best).tolist()


def test_the_page_is_one_file_with_everything(study):
    folder, _ = study
    text = (folder / "report.html").read_text(encoding="utf-8")
    for name in ("<script", "<link", "<iframe", 'src="http'):
        assert name not in text
    assert set(re.findall(r'src="([^"]{5})', text)) == {"data:"}
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(re.findall(r'id="([^"]+)"', text))  # every link leads somewhere
    said = words(folder)
    assert "All runs of the study are in this report." in said
    pairs = table(folder, "pairs")
    for row in pairs[pairs["measure"] == "macro_sensitivity"].itertuples():
        names = (row.first, row.second) if row.difference > 0 else (row.second, row.first)
        verdict = f"{names[0]} has a higher macro sensitivity than {names[1]}"
        if row.p_holm >= 0.05:
            verdict = f"{row.first} and {row.second} cannot be told apart in macro sensitivity"
        assert f"At {100 * row.alpha:g} % of the labels {verdict}" in said
    assert "for the authors to say" in said and "not estimated: the rated power of cpu" in said
    assert "training, validation, test images 360, 120, 120" in said
    figures = {path.name for path in (folder / "figures").iterdir()}
    for name in ("figure3", "rare_classes", "differences", "feature_maps_1", "subgroups_sex"):
        assert {f"{name}.png", f"{name}.pdf"} <= figures
    assert not [name for name in figures if "tmp" in name]


@pytest.mark.slow
def test_the_same_study_gives_the_same_files(study, tmp_path):
    settings, runs = write_study(tmp_path, argument="alphas=0.1+1.0,trials=2")
    settings = changed(settings, report__resamples=300)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    for name in ("report.html", "tables/overall.csv", "figures/figure3.pdf"):
        assert (tmp_path / name).read_bytes() == (study[0] / name).read_bytes()


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


@pytest.mark.usefixtures("blank_figures")
def test_options_for_rare_classes_stand_beside_their_strategy(tmp_path):
    argument = "strategies=FS+FS-balanced,alphas=1.0,trials=1"
    settings, runs = write_study(tmp_path, argument=argument)
    settings = changed(settings, report__resamples=100)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    assert table(tmp_path, "pairs")["second"].tolist() == ["FS-balanced"] * 3
    said = words(tmp_path)
    assert "balanced sampling balanced" in said
    # A single trial: nothing is said of the strategies, which other trainings would show.
    assert "the one network of FS" in said and table(tmp_path, "pairs")["p"].isna().all()


def test_classes_of_any_alphabet_have_a_key_on_the_page_and_beside_the_files(tmp_path):
    names = ["牛皮癣", "nevus", "건선", "🧴🧬"]
    argument = "strategies=FS,alphas=1.0,trials=1"
    settings, runs = write_study(tmp_path, argument=argument, images=40, names=names)
    settings = changed(settings, report__resamples=100)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    said = words(tmp_path)
    if not lettering.printable("🧴🧬"):
        assert "4: 🧴🧬" in said
        key = (tmp_path / "figures" / "confusion_alpha1.key.csv").read_text("utf-8-sig")
        assert "4,🧴🧬" in key


def test_nothing_finished_is_said(tmp_path, capsys):
    settings, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=1", images=30)
    (runs[0].folder.path / "results.json").unlink()
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    assert "nothing to report" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("blank_figures")
def test_only_the_papers_classes_stand_beside_the_paper(tmp_path):
    from dermjax.data.synthetic.patients import CLASSES

    assert paper_results.are_its_classes(CLASSES)
    assert paper_results.are_its_classes([name.replace("_", " ").title() for name in CLASSES])
    assert not paper_results.are_its_classes(CLASSES[1:])
    known = paper_results.overall().set_index(["strategy", "alpha"])
    assert known["macro_sensitivity"]["SS", 0.1] == pytest.approx(0.686, abs=6e-4)
    assert known["macro_precision"]["IN", 1.0] == pytest.approx(0.931, abs=6e-4)
    assert known["accuracy"]["SS", 1.0] == 0.957


RESNET = "model=resnet50,strategies=SS+FS,alphas=0.5+1.0,trials=1"


def _beside(tmp_path, *others):
    """(folder, words) of a study's report with others beside it."""
    settings, runs = write_study(tmp_path / "study", argument="alphas=0.5+1.0,trials=1")
    beside = tuple(str(other) for other in others)
    settings = changed(settings, report__resamples=100, report__beside=beside)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    return tmp_path / "study", words(tmp_path / "study")


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.slow
def test_another_network_s_study_stands_beside(tmp_path):
    other = tmp_path / "with_resnet"
    write_study(other, argument=RESNET)
    before = sorted(other.rglob("*"))
    folder, said = _beside(tmp_path, other)
    assert sorted(other.rglob("*")) == before
    assert "Features of the test images by efficientnet_b0" in said
    assert "Features of the test images by resnet50 (the paper's Figure 5)" in said
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert {f"with_resnet_feature_maps_1.{kind}" for kind in ("png", "pdf")} <= figures
    alone, own = table(folder, "with_resnet_overall"), table(folder, "overall")
    assert alone["strategy"].tolist() == ["SS", "FS"] * 2 and len(own) == 6
    assert "All runs of the study are in this report." in said
    # As in its own report, and measured on the same draws.
    settings, runs = write_study(other, argument=RESNET)
    settings = changed(settings, report__resamples=100, report__tsne=False)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    pd.testing.assert_frame_equal(table(other, "overall"), alone)


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.slow
@pytest.mark.parametrize(
    "images, data, reason",
    [
        (120, "other data", "was made with other data"),
        (90, "made up", "has other test images"),
        (0, "", "has no finished run"),
    ],
)
def test_a_study_that_cannot_be_compared_is_left_out(tmp_path, images, data, reason):
    other = tmp_path / "other"
    (other / "runs").mkdir(parents=True)
    if images:
        _, runs = write_study(other, argument=RESNET, images=images)
        for run in runs:
            results = run.folder.path / "results.json"
            results.write_text(results.read_text().replace("made up", data))
    _, said = _beside(tmp_path, other)
    assert f"{other}: {reason}" in said and "Beside it" not in said
    assert "not in this report" not in said  # no run of its own is missing


def test_a_folder_that_is_no_study_is_refused_at_once(tmp_path):
    config = config_file.get_config("scale=demo,strategies=FS,alphas=1.0,trials=1")
    (tmp_path / "runs").mkdir()
    config.report.beside = (str(tmp_path / "runs"),)
    with pytest.raises(ValueError, match="report.beside: .*runs is not the folder of a study"):
        StudySettings.from_config(config)


def test_finished_runs_are_found_as_they_were_planned(tmp_path):
    argument = "strategies=SS+SS-IN-logit+FS-balanced,alphas=0.5+1.0,trials=2"
    _, runs = write_study(tmp_path, argument=argument, images=30)
    (runs[3].folder.path / "results.json").unlink()
    expected = [run.title for run in runs if run is not runs[3]]
    assert [run.title for run in plan.finished(epath.Path(tmp_path))] == expected


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.slow
def test_ss_in_stands_beside_the_papers_strategies(tmp_path):
    """With an option for rare classes; the paper's points are of its own strategies alone."""
    argument = "strategies=SS+SS-IN+SS-IN-balanced+IN+FS,alphas=0.1+1.0,trials=2"
    names = sorted(set(paper_results.table_one()["disease"]))
    settings, runs = write_study(tmp_path, argument=argument, classes=10, names=names, images=80)
    settings = changed(settings, report__resamples=100)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    order = ["SS", "SS-IN", "SS-IN-balanced", "IN", "FS"]
    assert table(tmp_path, "overall")["strategy"].tolist() == 2 * order
    pairs = table(tmp_path, "pairs")
    first = pairs[(pairs["alpha"] == 0.1) & (pairs["measure"] == "accuracy")]
    assert list(zip(first["first"], first["second"], strict=True)) == [
        *itertools.combinations(order, 2)
    ]
    said = words(tmp_path)
    assert f"test images: {', '.join(order)}" in said
    assert "SS-IN has a higher macro sensitivity than FS" in said
    assert "Strategies that the paper does not have: SS-IN, SS-IN-balanced." in said
    assert "SS and SS-IN alike: all 2 trials with pretraining share one" in said
    assert "SS-IN-balanced 100 %" in table(tmp_path, "table1a").columns
    hours = re.search(r"pretrain, hours ([\d.]+) pretrainings 2, each counted once", said)
    assert float(hours[1]) == pytest.approx(2 * 300 / 3600, abs=0.01)


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
