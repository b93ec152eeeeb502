"""Overlays, Figure 6's sheet and the page: what is drawn, flagged and said."""

import base64
import hashlib
import html.parser
import math
import re

import numpy as np
import pytest

from dermjax.saliency import page as saliency

SPOT = np.zeros((16, 16), np.float32)
SPOT[4:8, 4:8] = 1


def shown(true="acne", predicted="acne", *, size=(20, 30), **fields):
    given = dict(
        name="photos/a.jpg",
        true=true,
        predicted=predicted,
        probability=0.87,
        target=predicted,
        pixels=np.full((*size, 3), 200, np.uint8),
        heat=SPOT,
    )
    return saliency.Shown(**given | fields)


def page(**fields):
    given = dict(title="Maps", facts=[("run", "runs/a")], warnings=[], findings=[], tables=[])
    given["reading"] = "Dark red is most."
    return saliency.Page(**given | {"definitions": {}} | fields)


class Reader(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._script = [], "", False
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_most_informative_is_dark_red_and_the_least_dark_blue():
    colours = saliency.coloured(np.array([[0.0, 1.0]], np.float32), (2, 1))
    low, high = colours[0].astype(int)
    assert high[0] > 100 and high[0] < 160 and max(high[1:]) < 30
    assert low[2] > low[0] and max(low) < 90


def test_maps_in_0_to_1_are_shown_as_they_are_and_others_by_their_maximum():
    found = np.array([[-3.0, 0.0, 0.1, 0.2]])
    assert saliency.visible(found, absolute=True)[0] == pytest.approx([0, 0, 0.1, 0.2])
    assert saliency.visible(found, absolute=False)[0] == pytest.approx([0, 0, 0.5, 1])
    assert saliency.visible(np.full((2, 2), -1.0), absolute=False).max() == 0


def test_an_overlay_goes_from_the_photograph_to_the_map():
    one = shown()
    assert (saliency.overlay(one.pixels, one.heat, 0) == one.pixels).all()
    whole = saliency.overlay(one.pixels, one.heat, 1)
    assert (whole == saliency.coloured(one.heat, (30, 20))).all()
    assert whole.shape == one.pixels.shape
    half = saliency.overlay(one.pixels, one.heat).astype(float)
    assert np.abs(half - (one.pixels / 2 + whole / 2)).max() <= 0.5


def panels(figure):
    return [ax for ax in figure.axes if ax.get_images()]


def test_the_sheet_has_photograph_map_and_overlay_of_two_samples_in_a_row():
    samples = [shown(), shown(predicted="rosacea"), shown("eczema", "eczema"), shown("", "acne")]
    (figure,) = saliency.sheets(samples)
    drawn = panels(figure)
    assert len(drawn) == 12
    figure.canvas.draw()
    tops = [round(ax.get_position().y1, 3) for ax in drawn]
    assert len(set(tops[:6])) == 1 and tops[6] < tops[0] and tops[9] < tops[6]  # a class, a row
    for i, one in enumerate(samples):
        pictures = [np.asarray(ax.get_images()[0].get_array()) for ax in drawn[3 * i : 3 * i + 3]]
        assert (pictures[0] == one.pixels).all()
        assert (pictures[2] == saliency.overlay(one.pixels, one.heat)).all()
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert "predicted acne, 87 %" in words and "✗ predicted rosacea, 87 %" in words
    titles = [ax.get_title(loc="left").strip() for ax in drawn]
    assert titles[0] == "true: acne" and titles[9] == "true class not known"
    ticks = [tick.get_text() for ax in figure.axes for tick in ax.get_xticklabels()]
    assert "1, most informative" in ticks


def test_a_sheet_is_half_as_wide_where_no_class_has_two_samples():
    (two,) = saliency.sheets([shown("acne"), shown("acne"), shown("lupus")])
    (one,) = saliency.sheets([shown("acne"), shown("lupus")])
    assert one.get_figwidth() == pytest.approx(two.get_figwidth() / 2, abs=0.1)
    panels = [axes.get_window_extent().width for axes in (two.axes[0], one.axes[0])]
    assert panels[0] == pytest.approx(panels[1])
    for figure in (two, one):
        inside = [figure.bbox.contains(*axes.get_window_extent().max - 1) for axes in figure.axes]
        assert all(inside)


def test_many_samples_make_several_sheets():
    figures = saliency.sheets([shown(f"class {i}") for i in range(30)])
    assert [len(panels(figure)) // 3 for figure in figures] == [12, 12, 6]


def test_the_page_needs_nothing_else_and_runs_its_slider_alone():
    text = saliency.render(page(), [shown(), shown("eczema", "eczema")])
    reader = Reader(text)
    assert "http://" not in text and "https://" not in text and "url(" not in text
    for tag, attributes in reader.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1 and text.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    (policy,) = [given["content"] for _, given in reader.tags if "http-equiv" in given]
    assert policy.startswith("default-src 'none'") and policy.endswith(
        f"script-src 'sha256-{digest}'"
    )
    (slider,) = [given for tag, given in reader.tags if tag == "input"]
    assert slider["type"] == "range" and slider["value"] == "50"
    assert sum(tag == "img" for tag, _ in reader.tags) == 2 * 4


def test_wrong_answers_are_flagged_and_unknown_truth_is_said():
    text = saliency.render(page(), [shown(), shown(predicted="herpes_zoster"), shown("", "acne")])
    words = Reader(text).text
    assert "✗ predicted herpes zoster, 87 %; in truth acne" in words
    assert words.count("✗") == 1 and 'class="sample wrong"' in text
    assert "True class not known" in words


def test_another_class_than_the_answer_is_named():
    assert shown(target="rosacea").answer == "predicted acne, 87 %; map of rosacea"


def test_names_cannot_become_markup():
    evil = '<script>alert("x")</script>'
    text = saliency.render(page(title=evil), [shown(evil, evil, name=evil)])
    assert evil not in text and text.count("<script>") == 1
    saliency.sheets([shown("a $b$ c_d" * 20, evil)])[0].canvas.draw()


def test_scores_are_printed_with_their_intervals_and_unknown_ones_left_out():
    nan = math.nan
    rows = [
        ("input_iba", {"insertion": (0.5, 0.4, 0.625), "ehr": (nan, nan, nan)}),
        ("random", {"insertion": (-0.25, nan, nan)}),
    ]
    table = saliency.score_table("Scores", "Means.", {"insertion": "insertion", "ehr": "EHR"}, rows)
    assert [words for words, _ in table.header] == ["method", "insertion"]
    assert table.rows == [["InputIBA", ".500 [.400, .625]"], ["random", "−.250"]]
    assert ".500 [.400, .625]" in Reader(saliency.render(page(tables=[table]), [shown()])).text
