"""The page of a pretraining, as its reader meets it: words, figures and photographs."""

import base64
import dataclasses
import html.parser
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from dermjax.experiment import pretraining_page
from dermjax.report import figures

_VOID = {"meta", "img", "link", "br", "hr", "input"}


class Reader(html.parser.HTMLParser):
    """What a browser would show: text, images, cells of the grid; and that tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.images, self.cells, self._open = "", [], [], [], []
        self.feed(text)
        assert not self._open
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if tag in ("td", "th") and "class" in attributes:
            self.cells.append([attributes["class"], ""])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        self.handle_data(" ")

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if self.cells and {"td", "th"} & set(self._open):
            self.cells[-1][1] += data


def photograph(label, name, similarity=1.0, *, shape=(20, 30), value=200):
    return pretraining_page.Neighbour(
        np.full((*shape, 3), value, np.uint8), label, name, similarity
    )


def row(query_label, *labels):
    """One row; names tell where each photograph stands."""
    return pretraining_page.NeighbourRow(
        photograph(query_label, "query.jpg"),
        tuple(
            photograph(label, f"near_{place}.jpg", 0.9 - 0.1 * place)
            for place, label in enumerate(labels)
        ),
    )


def training(step, **more):
    """A line with all scalars of training."""
    names = ("loss", "accuracy", "positive_similarity", "negative_similarity", "key_std")
    names += ("alignment", "same_image_share", "queue_filled", "queue_age", "learning_rate")
    names += ("momentum", "grad_norm", "images_per_second")
    return {"stage": "pretrain", "step": step, **dict.fromkeys(names, 0.1 + step / 1e4)} | more


def monitored(step, knn, sensitivity=0.3):
    """The scalars of the monitor."""
    return {
        "step": step,
        "knn_accuracy": knn,
        "knn_macro_sensitivity": sensitivity,
        "nearest_accuracy": knn - 0.05,
        "majority_accuracy": 0.4,
        "knn_bank": 300,
        "knn_queries": 80,
        "queue_std": 0.08,
        "feature_std": 0.02,
        "feature_uniformity": -3.0,
        "feature_effective_rank": 40.0,
        "queue_uniformity": -3.5,
        "queue_effective_rank": 90.0,
        "monitor_seconds": 1.0,
    }


LINES = [
    monitored(0, 0.35, 0.21),
    training(500),
    training(1000) | monitored(1000, 0.5234, 0.35),
    training(1500),
    training(2000) | monitored(2000, 0.5, 0.31),
]


def page(**fields):
    given = dict(
        title="Pretraining of a small network",
        facts=[("network", "efficientnet_b0"), ("images", "2,436")],
        lines=LINES,
        warnings=[],
        rows=[],
        embedding_dim=128,
        queue_size=4096,
        negatives=4096,
        majority="nevus",
        classes=4,
    )
    return pretraining_page.Page(**given | fields)


def read(**fields):
    return Reader(pretraining_page.render(page(**fields)))


def test_positives_of_other_photographs_are_told_and_shown(panels):
    shares = dict(same_subject_share=0.01, partner_share=0.25)
    text = read(lines=[training(10, **shares), training(20, **shares)], positives="lesion").text
    assert "another photograph of the same lesion where there is one" in text
    assert "Here all keys of its lesion are masked." in text
    assert panels["Positives of another photograph"].curves[0].values == (0.25, 0.25)
    masked = panels["Own-lesion keys per query (masked)"]
    assert masked.curves[0].values[0] == pytest.approx(0.01 * 4096)
    text = read(lines=[training(10)]).text
    assert "another view of the same image" in text and "lesion" not in text


@pytest.fixture
def panels(monkeypatch):
    """The panels of all figures by title, as they go to be drawn; drawing itself is left out."""
    drawn = {}

    def draw(panels, **_):
        drawn.update({panel.title: panel for panel in panels})
        return b"", 920

    monkeypatch.setattr(figures, "draw", draw)
    return drawn


def levels(panel):
    return [level.value for level in panel.levels]


def test_the_page_needs_nothing_else():
    text = pretraining_page.render(page(rows=[row("nevus", "nevus", "melanoma")]))
    reader = Reader(text)
    assert text.endswith("</html>") or text.endswith("</html>\n")
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http://" not in text and "https://" not in text and "url(" not in text
    policies = [given["content"] for _, given in reader.tags if "http-equiv" in given]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert len(reader.images) == 5 + 3 and all(image["alt"] for image in reader.images)
    for image in reader.images:
        file = io.BytesIO(base64.b64decode(image["src"].split("base64,")[1]))
        Image.open(file).verify()


def test_facts_and_warnings_stand_there_in_words(panels):
    reader = read(warnings=["the queue of 4096 keys is longer", "the embeddings have collapsed"])
    assert "Pretraining of a small network" in reader.text
    assert "network efficientnet_b0 images 2,436" in reader.text
    assert "2 warnings the queue of 4096 keys is longer the embeddings have collapsed" in (
        reader.text
    )
    assert "No warnings" not in reader.text


@pytest.mark.parametrize("filled, said", [(1.0, "No collapse"), (0.4, "cannot be said")])
def test_no_warnings_is_said_as_far_as_it_was_looked(panels, filled, said):
    """Of a queue that still holds noise nobody knows whether its keys have collapsed."""
    text = read(lines=[*LINES, {"step": LINES[-1]["step"] + 1, "queue_filled": filled}]).text
    assert "No warnings" in text and said in text
    assert "longer than the data" not in text  # it may be, where its own images are masked


def test_the_sentences_say_where_knn_began_ended_and_was_best(panels):
    text = read().text
    assert (
        "kNN accuracy began at 35.0% before training and ended at 50.0% at step 2,000; it was "
        "best, 52.3%, at step 1,000. Always answering “nevus”, the commonest class, would reach "
        "40.0%. The end is 15.0 percentage points above where it began and 10.0 percentage points "
        "above that floor."
    ) in text
    assert (
        "kNN macro sensitivity began at 21.0% before training and ended at 31.0% at step 2,000; "
        "it was best, 35.0%, at step 1,000. Always answering any one of the 4 classes would reach "
        "25.0%. The end is 10.0 percentage points above where it began and 6.0 percentage points "
        "above that floor."
    ) in text
    assert "80 labelled images, each against 300 others: one image is 1.2 percentage" in text


@pytest.mark.parametrize(
    "course, words",
    [
        ((0.3, 0.5), "ended at 50.0% at step 1,000, its best."),
        ((0.5, 0.3), "it was best, 50.0%, before training."),
        (
            (0.5, 0.3),
            "20.0 percentage points below where it began and 10.0 percentage points below",
        ),
        ((0.4, 0.4), "The end is level with where it began and level with that floor."),
        ((0.6,), "kNN accuracy was 60.0% before training, the only time that it was measured."),
        ((0.6,), "It is 20.0 percentage points above that floor."),
    ],
)
def test_the_sentences_of_other_courses(panels, course, words):
    lines = [monitored(1000 * place, knn) for place, knn in enumerate(course)]
    assert words in read(lines=lines).text


def test_what_is_not_known_is_not_claimed(panels):
    text = read(majority="", classes=0).text
    assert "Always answering the commonest class would reach 40.0%" in text
    assert "any one of" not in text
    assert panels["Macro sensitivity (rare classes count as much)"].levels == ()


def test_curves_hold_the_numbers_of_the_lines(panels):
    lines = [*LINES, training(2500, loss=math.nan, grad_norm=math.inf, accuracy=None)]
    read(lines=lines)
    loss = panels["Loss (nats)"]
    assert loss.curves[0].steps == (500, 1000, 1500, 2000)
    assert loss.curves[0].values == pytest.approx((0.15, 0.2, 0.25, 0.3))
    assert levels(loss) == [pytest.approx(math.log(4097))]
    accuracy = panels["Accuracy"]
    assert [curve.values for curve in accuracy.curves] == [
        pytest.approx((0.35, 0.5234, 0.5)),
        pytest.approx((0.30, 0.4734, 0.45)),
    ]
    assert levels(accuracy) == [0.4]
    assert levels(panels["Macro sensitivity (rare classes count as much)"]) == [0.25]
    spread = panels["Spread of keys, std × √D"]
    assert spread.curves[0].values[0] == pytest.approx(0.15 * math.sqrt(128))
    assert levels(spread) == [1.0]
    assert panels["Own-image keys per query"].curves[0].values[0] == pytest.approx(0.15 * 4096)
    assert panels["Gradient norm"].curves[0].steps[-1] == 2000
    ranks = [curve.values[0] for curve in panels["Effective rank"].curves]
    assert ranks == [40.0, 90.0]


def test_what_was_not_measured_has_no_curve(panels):
    text = read(lines=[training(500), training(1000)]).text
    assert "kNN accuracy was not measured" in text and "Are classes told apart?" not in text
    assert "Loss (nats)" in panels and "Accuracy" not in panels and "Effective rank" not in panels


def test_before_the_first_step_only_the_monitor_has_curves(panels):
    text = read(lines=[monitored(0, 0.3)]).text
    assert "Accuracy" in panels and "Loss (nats)" not in panels
    assert "Loss and instance accuracy" not in text and "Schedule" not in text


def test_no_lines_no_rows(panels):
    reader = read(lines=[])
    assert not reader.images and not panels
    assert "kNN accuracy was not measured" in reader.text
    assert "Nearest neighbours" not in reader.text


def test_the_caption_says_when_the_queue_was_full(panels):
    filled = [training(100, queue_filled=0.5), training(200, queue_filled=1.0), training(300)]
    assert "(all by step 200)" in read(lines=filled).text
    assert "all by step" not in read(lines=filled[:1]).text


def test_every_photograph_is_there_with_label_similarity_and_mark(panels):
    rows = [
        row("nevus", "nevus", "melanoma", "nevus", "", "eczema"),
        row("eczema", "eczema", "eczema", "nevus", "nevus", "nevus"),
    ]
    reader = read(rows=rows)
    cells = [(kind, " ".join(text.split())) for kind, text in reader.cells]
    assert cells[:6] == [
        ("query", "nevus query.jpg"),
        ("same", "nevus ✓ same (0.90) near_0.jpg"),
        ("other", "melanoma ✗ other (0.80) near_1.jpg"),
        ("same", "nevus ✓ same (0.70) near_2.jpg"),
        ("unknown", "no label not comparable (0.60) near_3.jpg"),
        ("other", "eczema ✗ other (0.50) near_4.jpg"),
    ]
    assert len(cells) == 12 and cells[6] == ("query", "eczema query.jpg")
    assert "4 of 9 neighbours (44.4%) have the label of their query; 1 more cannot" in reader.text
    alts = [image["alt"] for image in reader.images if "jpeg" in image["src"]]
    assert alts[:2] == ["Query query.jpg: nevus", "Neighbour 1 of query.jpg, near_0.jpg: nevus"]


def test_the_share_of_same_labels_stands_beside_chance(panels):
    text = read(rows=[row("nevus", "nevus", "eczema")], chance_same_label=0.375).text
    assert "1 of 2 neighbours (50.0%) have the label of their query; drawn at random, 37.5%" in text


def test_neighbours_without_labels_are_not_judged(panels):
    reader = read(rows=[row("", "", ""), row("", "nevus", "nevus")])
    assert "None of them can be compared: there are no labels." in reader.text
    assert {kind for kind, _ in reader.cells} == {"query", "unknown"}


def test_words_of_the_user_cannot_become_markup(panels):
    evil = '<script>alert("x")</script>'
    name = "\"><img src=x onerror='y'>.jpg"
    reader = read(
        title=evil,
        facts=[(evil, evil)],
        warnings=[evil],
        majority=evil,
        rows=[
            pretraining_page.NeighbourRow(photograph(evil, name), (photograph(evil, name, 0.5),))
        ],
    )
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not any("onerror" in attributes for _, attributes in reader.tags)
    assert reader.text.count(evil) == 1 + 1 + 2 + 1 + 1 + 2  # title twice, facts, the rest
    assert reader.images[-2]["alt"] == f"Query {name}: {evil}"


def test_names_of_any_alphabet():
    rows = [
        pretraining_page.NeighbourRow(
            photograph("母斑", "пациент-é.jpg"), (photograph("$a_b$", "nævus"),)
        )
    ]
    reader = Reader(pretraining_page.render(page(lines=LINES[:1], rows=rows, majority="$母$")))
    assert "母斑" in reader.text and "пациент-é.jpg" in reader.text and "“$母$”" in reader.text


def test_no_nan_reaches_the_reader(panels):
    lines = [*LINES, monitored(2500, math.nan) | {"majority_accuracy": math.nan}]
    rows = [pretraining_page.NeighbourRow(photograph("a", "q"), (photograph("a", "n", math.nan),))]
    text = read(lines=lines, rows=rows).text
    assert "ended at 50.0% at step 2,000" in text
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


def test_photographs_of_any_size_are_shown_at_the_same_size(panels):
    query = photograph("a", "q", shape=(900, 1200))
    reader = read(
        rows=[pretraining_page.NeighbourRow(query, (photograph("a", "n", shape=(8, 5), value=90),))]
    )
    sizes, shades = [], []
    for attributes in [image for image in reader.images if "jpeg" in image["src"]]:
        assert "width" not in attributes and "style" not in attributes  # the style sheet's alone
        image = Image.open(io.BytesIO(base64.b64decode(attributes["src"].split(",")[1])))
        sizes.append(image.size)
        shades.append(image.getpixel((2, 2)))
    assert sizes == [(264, 198), (5, 8)]
    np.testing.assert_allclose(shades, [[200] * 3, [90] * 3], atol=3)


def test_a_figure_shows_its_curves():
    """Drawn for real: the curve's colour is in the picture, and more of it where there are two."""
    curve = figures.Curve("kNN", (0, 10), (0.2, 0.9))
    empty = figures.Panel("Accuracy", (), (figures.Level("floor", 0.5),))
    full = dataclasses.replace(empty, curves=(curve,), percent=True)

    def blue(panels):
        file, width = figures.draw(panels, last_step=10)
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)
        return (abs(pixels - [0x00, 0x72, 0xB2]).sum(-1) < 12).sum(), width

    assert blue([empty]) == (0, 460)
    one, _ = blue([full])
    two, width = blue([full, full])
    assert one > 500 and two > 1.5 * one and width == 920


def test_hundreds_of_lines_and_one_line_are_drawn():
    for lines in ([training(10 * step) for step in range(1, 400)], [training(1)]):
        reader = read(lines=lines)
        assert len(reader.images) == 4
        assert f"Loss (nats), loss: {lines[0]['loss']:.4g}" in reader.images[2]["alt"]
