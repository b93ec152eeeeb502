"""What stands beside a study: other studies, and the paper's own numbers."""

import itertools
import re

import pandas as pd
import pytest

from dermjax.configs import study as config_file
from dermjax.study import paper_results, report
from dermjax.study.settings import StudySettings
from dermjax.training.writer import Writer
from tests.study.made_up import changed, write_study
from tests.study.report_files import table, words


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
