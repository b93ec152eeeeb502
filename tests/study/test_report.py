"""The study's report: its numbers are scikit-learn's, its page is one file and holds them all."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from dermjax.configs import study as config_file
from dermjax.report import lettering, numbers
from dermjax.study import report
from dermjax.study import sections as study_page
from dermjax.study.results import collect
from dermjax.study.settings import StudySettings
from dermjax.training.writer import Writer
from tests.study.made_up import changed, write_study
from tests.study.report_files import table, words


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, runs) of a study of three strategies, two shares and two trials, with its report."""
    folder = tmp_path_factory.mktemp("study")
    settings, runs = write_study(folder, argument="alphas=0.1+1.0,trials=2")
    settings = changed(settings, report__resamples=300)
    report.write_report(settings, runs[0].folder.path.parent.parent, runs, {}, Writer())
    return folder, runs


def predictions(run):
    return pd.read_csv(run.folder.path / "predictions.csv")


def sections(study):
    """Those of the page, made anew."""
    config = config_file.get_config("scale=demo,alphas=0.1+1.0,trials=2")
    settings = changed(StudySettings.from_config(config), report__resamples=300)
    outcomes = collect(study[1])[0]
    frames = report._measure(settings, outcomes, Writer())
    return study_page.sections(settings, outcomes, frames, {}, [])


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
