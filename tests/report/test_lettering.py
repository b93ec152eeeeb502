"""Names of any alphabet, of any number of classes: legible, or a number with a key."""

import itertools
import logging
import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from dermjax.report import lettering, looks
from dermjax.saliency import page
from dermjax.study import figures
from dermjax.study.confused_pairs import confused_pairs
from tests.study.charts import by_class, maps, overlapping, paired, parts

CHINESE = [
    "银屑病",
    "湿疹",
    "荨麻疹",
    "玫瑰痤疮",
    "带状疱疹",
    "特应性皮炎",
    "丹毒",
    "疖",
    "黑色素瘤",
    "白癜风",
]
MIXED = [
    "psoriasis",
    "乾癬",
    "건선",
    "सोरायसिस",
    "الصدفية",
    "צרעת",
    "🧴🧬",
    "подагра",
    "ψωρίαση",
    "ph\u00e9",
]
WORDS = ("acute", "chronic", "nodular", "actinic", "atopic", "seborrheic", "bullous", "lichenoid")
KINDS = ("dermatitis", "keratosis", "eczema", "psoriasis", "urticaria", "melanoma", "pemphigus")
MANY = [f"{a} {b} {c}" for c, a, b in itertools.product("abc", WORDS, KINDS)]
NAMES = {
    "two": ["瘤", "nevus"],
    "chinese": CHINESE,
    "mixed": MIXED,
    "40": MANY[:40],
    "60": MANY[:60],
    "114": MANY[:114],
    "60 chinese": [f"{name}{i}" for i in range(6) for name in CHINESE],
}


@pytest.fixture(autouse=True)
def nothing_leaks(caplog):
    """No warning of a missing glyph, of a layout without room, of a font that is not found."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture(autouse=True)
def only_the_usual_font(monkeypatch):
    """Whatever fonts the machine has: those that matplotlib brings."""
    brought = [font for font in fontManager.ttflist if matplotlib.get_data_path() in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", brought)
    lettering._others.cache_clear()
    yield
    lettering._others.cache_clear()


@pytest.fixture
def chinese_font(tmp_path):
    """A font that has the letters of `CHINESE` alone, as squares."""
    pen = TTGlyphPen(None)
    for step, corner in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if step else pen.moveTo)(corner)
    pen.closePath()
    letters = {ord(letter): f"g{ord(letter)}" for letter in sorted(set("".join(CHINESE)))}
    names = [".notdef", *letters.values()]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(letters)
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test CJK", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "chinese.ttf")
    fontManager.addfont(tmp_path / "chinese.ttf")


def drawn(names):
    """Every figure that has names of classes or of subgroups."""
    count, rng = len(names), np.random.default_rng(0)
    labels = rng.integers(0, count, 200)
    counts = rng.poisson(0.3, (count, count)) + np.diag(rng.integers(0, 300, count))
    yield figures.confusion_matrices([("SS", counts), ("IN", counts), ("FS", counts)], names)
    yield figures.confusion_matrices([("SS", counts)], names)
    yield figures.feature_maps(maps(("SS", "IN"), (1.0,), labels), labels, names)
    if names is MIXED:
        yield figures.sensitivity_against_labels(by_class(names, alphas=(1.0,)))
    if count <= 40:
        yield figures.subgroups(parts([(name, 30) for name in names]), 20)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("which", NAMES)
def test_figures_of_many_classes_and_any_alphabet_can_be_read(which):
    names = NAMES[which]
    for figure in drawn(names):
        assert overlapping(figure) == []
        assert all(lettering.printable(letter) for letter in set(texts(figure)) - {"\n"})
        # A number is the class's place in the table, the same in each figure.
        assert all(names[number - 1] == name for number, name in figure.key.entries.items())
        for ax in (ax for ax in figure.axes if ax.get_visible()):
            box = ax.get_window_extent()
            assert box.width > 30 and box.height > 10  # nothing has collapsed
            assert not any(found.get_window_extent().overlaps(box) for found in figure.legends)


def test_of_many_classes_the_rarest_have_a_panel_of_their_own():
    figure = figures.sensitivity_against_labels(by_class(MANY[:114], alphas=(1.0,)))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    rarest = MANY[113 : 113 - figures.MOST_PANELS : -1]
    assert titles == [lettering.shortened(name, 22) for name in rarest]


def test_the_sheet_of_maps_has_a_key_as_well():
    pixels, heat = np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4), np.float32)
    shown = [page.Shown("a", name, CHINESE[0], 0.5, "nevus", pixels, heat) for name in CHINESE]
    (sheet,) = page.sheets(shown)
    sheet.draw_without_rendering()
    assert set(sheet.key.entries.values()) == set(CHINESE)
    assert "predicted [1], 50 %; map of nevus" in texts(sheet)


def test_names_that_no_font_has_are_numbers_with_their_names_in_a_file(tmp_path):
    figure = figures.confusion_matrices([("SS", np.diag([3, 4, 5]))], ["eczema", "银屑病", "건선"])
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["eczema (3)", "[2] (4)", "[3] (5)"]
    assert figure.key.entries == {2: "银屑病", 3: "건선"}
    figures.save(figure, tmp_path, "matrix")
    assert (tmp_path / "matrix.key.csv").read_text("utf-8-sig").splitlines() == [
        *("number,name", "2,银屑病", "3,건선")
    ]
    figures.save(figures.confusion_matrices([("SS", np.eye(2))], ["a", "b"]), tmp_path, "matrix")
    assert not (tmp_path / "matrix.key.csv").exists()


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_a_font_of_the_system_that_has_the_letters_is_used(chinese_font, tmp_path, kind):
    lettering._others.cache_clear()
    assert lettering.printable("银屑病") and not lettering.printable("건선")
    figure = figures.confusion_matrices([("SS", np.diag([3, 4]))], ["银屑病", "湿疹"])
    assert figure.axes[0].get_yticklabels()[0].get_text() == "银屑病 (3)"
    assert not figure.key.entries
    figures.save(figure, tmp_path, "matrix")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pdf", ".png", ".ttf"]
    assert figure.axes[0].get_yticklabels()[0].get_fontfamily() == ["DejaVu Sans", "Test CJK"]


def test_a_matplotlib_that_cannot_join_letters_prints_numbers(monkeypatch):
    monkeypatch.setattr(lettering, "_SHAPES", False)
    for text in ("الصدفية", "צרעת", "x\u0331"):
        assert not lettering.printable(text)
    assert lettering.printable("подагра ψωρίαση é")


def test_a_font_of_boxes_is_no_font(monkeypatch):
    class Boxes:
        name, fname, style, weight = "Last Resort", "x", "normal", 400

    monkeypatch.setattr(fontManager, "ttflist", [Boxes])
    lettering._others.cache_clear()
    assert not lettering.printable("病")


def test_names_that_are_shortened_to_the_same_are_numbers():
    long = "a very long name of type {} of a disease of the skin"
    key = lettering.Key()
    shown = key.all_named([long.format("A"), long.format("B"), "other"], 20)
    assert shown == ["[1]", "[2]", "other"] and key.entries[2] == long.format("B")


def test_a_hundred_classes_have_signs_and_numbers_of_their_own():
    assert len({looks.class_sign(i) for i in range(140)}) == 140
    figure = figures.confusion_matrices([("SS", np.eye(114))], MANY[:114])
    assert len(figure.key.entries) == 114
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "5" and figure.axes[0].get_xticks()[0] == 4


def test_the_commonest_mistakes_are_named_with_their_share():
    counts = np.zeros((30, 30))
    counts[np.arange(30), np.arange(30)] = 10
    counts[4, 7], counts[9, 2], counts[1, 2] = 10, 5, 0.4
    table = confused_pairs([("SS", counts)], MANY[:30], "10 %")
    assert [row[1:] for row in table.rows] == [
        [MANY[4], MANY[7], "10 of 20", ".50"],
        [MANY[9], MANY[2], "5 of 15", ".33"],
    ]


def test_differences_and_strategies_of_any_name_can_be_read():
    figure = figures.differences(paired((0.1, 1.0), ("SS", "自监督", "FS")))
    assert overlapping(figure) == [] and "自监督" in figure.key.entries.values()
