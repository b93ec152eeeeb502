"""What the saliency page says of scores: by chance, of few patients, of scores that do not vary."""

import types

import numpy as np
import pandas as pd
import pytest

from dermjax.configs import saliency as config_file
from dermjax.report.table import as_frame
from dermjax.saliency import score_tables, sheet
from dermjax.saliency.settings import METHODS, SaliencySettings
from tests.experiment.clinic import with_fields

HEAT = np.random.default_rng(0).random((8, 8)).astype(np.float32)
ALSO = ("deletion", "sensitivity_n", "effective_heat_ratio", "heat_share")


class Maps:
    """Records of maps by given scores, `{method: {score: [B]}}`."""

    def __init__(self, scores):
        self._scores = scores

    def heat(self, one, method):
        return HEAT

    def record(self, one, method):
        scores = {name: values[one.place] for name, values in self._scores[method].items()}
        known = {"true": "a", "predicted": "a", "target": "a", "probability": 0.9}
        return known | {"scores": {n: None if np.isnan(v) else float(v) for n, v in scores.items()}}


def told(folder, patients, scores, **fields):
    """Tables by heading, and findings, of images of these patients."""
    explained = [
        types.SimpleNamespace(
            place=place, sample=types.SimpleNamespace(name=f"{place}", patient=who, key=f"{place}")
        )
        for place, who in enumerate(patients)
    ]
    config = with_fields(config_file.get_config("run=runs/a"), fields)
    methods, settings = list(scores), SaliencySettings.from_config(config)
    tables, findings = score_tables.write(settings, explained, methods, Maps(scores), folder)
    return {table.heading: table for table in tables}, findings


def by_chance(rng, patients):
    """Scores of two methods that both say nothing: bounded, skewed, alike within patients."""
    case = rng.normal(size=patients.max() + 1)[patients]
    found = {}
    for method in ("input_iba", "random"):
        value = (
            rng.normal(size=(5, len(patients)))
            + 0.7 * rng.normal(size=patients.max() + 1)[patients]
        )
        scores = 1 / (1 + np.exp(-(case + value)))
        found[method] = dict(zip(("insertion", *ALSO), scores, strict=True))
    return found


@pytest.mark.parametrize("patients", [6, 20])
def test_maps_that_say_nothing_are_seldom_called_better_or_worse(tmp_path, patients):
    """Of five scores, each with its own 95 % interval, one would "differ" on a third of pages."""
    rng, wrong, pages = np.random.default_rng(1), 0, 60
    for _ in range(pages):
        who = np.repeat(np.arange(patients), rng.choice([1, 2], patients))
        _, (line,) = told(tmp_path, [f"{one}" for one in who], by_chance(rng, who))
        wrong += "better than" in line or "WORSE" in line
    assert wrong <= 7  # 5 % are 3; more than 7 has a chance of 1 %


def test_what_is_better_in_everyone_is_called_so(tmp_path):
    rng = np.random.default_rng(0)
    scores = by_chance(rng, np.arange(10))
    scores["input_iba"]["insertion"] = scores["random"]["insertion"] + rng.uniform(0.2, 0.4, 10)
    scores["input_iba"]["deletion"] = scores["random"]["deletion"] + rng.uniform(0.2, 0.4, 10)
    _, (line,) = told(tmp_path, "abcdefghij", scores)
    better, worse, *_ = line.split(";")
    assert "are better than random maps in insertion AUC" in better
    assert "WORSE than random maps in deletion AUC" in worse
    assert "adjusted p below .001" in better


def test_few_patients_have_means_and_no_intervals(tmp_path):
    """Four images of one patient, then of four: neither says anything of other patients."""
    scores = by_chance(np.random.default_rng(0), np.arange(4))
    for patients, people in (("aaaa", "1 patient:"), ("abcd", "4 patients:")):
        tables, (line,) = told(tmp_path, patients, scores)
        assert people in line and "better" in line and "cannot be said" in line
        cells = [
            cell for name in ("Scores", "Agreement") for row in tables[name].rows for cell in row
        ]
        assert len(cells) > 12 and not any("[" in cell for cell in cells)
        assert "Without intervals: those need 5 patients" in tables["Scores"].caption
        assert pd.read_csv(tmp_path / "scores.csv")["low"].isna().all()


def test_scores_that_are_the_same_for_everyone_have_no_interval_of_no_width(tmp_path):
    """The effective heat ratio of maps that are empty in lesions is 0, whoever it is."""
    scores = by_chance(np.random.default_rng(0), np.arange(8))
    scores["input_iba"]["effective_heat_ratio"] = np.zeros(8)
    scores["random"]["effective_heat_ratio"] = np.zeros(8)
    scores["input_iba"]["heat_share"] = scores["random"]["heat_share"] + 0.125
    tables, (line,) = told(tmp_path, "abcdefgh", scores)
    table = tables["Scores"]
    cells = as_frame(table)["effective heat ratio ↑"]
    assert list(cells) == [".000", ".000"]
    assert "In brackets the 95 % interval over patients, where there are 5" in table.caption
    frame = pd.read_csv(tmp_path / "scores.csv")
    assert not (frame["high"] - frame["low"] <= 0).any()
    assert "effective heat ratio (.000, adjusted p 1.000)" in line
    # Wholly the same difference is no measure of how it varies.
    assert "not compared with random maps in heat in the lesion (+.125, the same in all" in line


def test_scores_of_few_images_are_not_compared(tmp_path):
    """Lesions are known of three of eight."""
    scores = by_chance(np.random.default_rng(0), np.arange(8))
    for method in scores:
        scores[method]["heat_share"][3:] = np.nan
    tables, (line,) = told(tmp_path, "abcdefgh", scores)
    assert "not compared with random maps in heat in the lesion (" in line
    assert "of only 3 patients)" in line and line.count("adjusted p") == 4
    assert "(heat in the lesion over 3)" in tables["Scores"].caption


def test_more_images_are_offered_only_where_there_can_be_more(tmp_path):
    scores = by_chance(np.random.default_rng(0), np.arange(4))
    for fields, hint in (
        ({}, "--config.per_class=5"),
        ({"per_class": 8}, "--config.per_class=16"),
        ({"per_class": 0}, ""),
        ({"images": "new/*.jpg"}, ""),
    ):
        _, (line,) = told(tmp_path, "abcd", scores, **fields)
        assert line.endswith(hint or "are the least.")


def shown(method, heat, **fields):
    given = dict(name="a.jpg", true="acne", predicted="acne", probability=0.8, target="acne")
    pixels = np.zeros((8, 8, 3), np.uint8)
    return sheet.report.Shown(**given | {"pixels": pixels, "heat": heat} | fields)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_map_is_said_to_be_what_its_method_makes_of_it(method):
    """Grad-CAM's ReLU leaves nothing where all speaks against a class: not that nothing is used."""
    (line,) = sheet._warnings([shown(method, np.zeros((8, 8)))], method, [])
    assert "1 of 1 map is empty (a.jpg)" in line and "needs nothing of the image" not in line
    assert ("cut off, as Grad-CAM does" in line) == (method == "grad_cam")
    assert ("price of information" in line) == ("iba" in method)
    reading = sheet._reading(method, scored=True)
    assert ("random numbers" in reading) == (method == "random")
    assert ("looks" in sheet._title(method)) == (method != "random")


def test_maps_of_wrong_answers_are_said_to_explain_what_they_explain():
    heat = np.ones((8, 8))
    wrong = shown("iba", heat, predicted="rosacea", target="rosacea")
    (line,) = sheet._warnings([wrong, shown("iba", heat)], "iba", [])
    assert line.startswith("1 of 2 answers is wrong") and "explains the answer, not" in line
    of_truth = shown("iba", heat, predicted="rosacea", target="acne")
    (line,) = sheet._warnings([of_truth], "iba", [])
    assert line.startswith("1 of 1 answer is wrong") and "class that it was made for, not" in line
