"""What the page promises before a browser has opened it: it has all, and asks for nothing else."""

import base64
import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from dermjax.labelling import page
from dermjax.report import pages
from tests.labelling.made_up import CLASSES, candidate, neighbour

ALPHABETS = ("سرطان الجلد", "黑色素瘤", "базалиома", "মেলানোমা", "Hämangiom", "μελάνωμα")
ODD = ('<b>bold</b> & "quoted"', "it's; one, two", "</script><script>alert(1)</script>", "=SUM(A1)")
MANY = (*ALPHABETS, *ODD, *(f"dermatosis {number}" for number in range(104)))


class Read(html.parser.HTMLParser):
    """The page's tags with their attributes, its scripts and its visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text, self._inside = [], [], "", ""
        self.feed(text)
        questions = next(body for tag, body in self.scripts if tag.get("id") == "questions")
        self.questions = json.loads(questions)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append((self.tags[-1][1], data))
        elif self._inside != "style":
            self.text += data

    def buttons(self, **wanted):
        found = [own for tag, own in self.tags if tag == "button"]
        return [
            own
            for own in found
            if all(own.get(k.replace("_", "-")) == v for k, v in wanted.items())
        ]


def rendered(classes=CLASSES, candidates=None, title="To label", facts=(("run", "runs/mine"),)):
    return page.render(title, facts, classes, candidates or [candidate(n) for n in range(3)])


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES, MANY[:10], MANY])
def test_every_class_has_a_button_and_the_first_ten_a_digit(classes):
    read = Read(rendered(classes))
    named = [own["data-name"] for own in read.buttons() if "data-name" in own]
    assert tuple(named) == tuple(classes) == tuple(read.questions["classes"])
    digits = [(n + 1) % 10 for n in range(min(10, len(classes)))]
    text = rendered(classes)
    shown = re.findall(r'data-name="[^"]*" aria-pressed="false"><kbd>(\d)</kbd>', text)
    assert list(map(int, shown)) == digits
    has_filter = any(own.get("id") == "filter" for _, own in read.tags)
    assert has_filter == (len(classes) > 10)


def test_what_can_be_said_of_a_photograph_has_a_button_with_its_key():
    text = rendered()
    for action, words in {
        "c": "Cannot tell",
        "x": "Not a lesion",
        "s": "Skip",
        "u": "Undo",
    }.items():
        assert re.search(
            rf'data-action="{action}"[^>]*><span>{words}</span><kbd>{action}</kbd>', text
        ), words


def test_nothing_is_loaded_and_one_script_runs():
    read = Read(rendered(MANY, [candidate(n, boxed=True) for n in range(3)]))
    policy = next(own["content"] for tag, own in read.tags if "http-equiv" in own)
    assert policy.startswith("default-src 'none'; img-src data:;")
    (script,) = [body for own, body in read.scripts if own.get("type") != "application/json"]
    assert f"script-src 'sha256-{pages.digest(script)}'" in policy
    assert policy.count("script-src") == 1 and "http" not in policy
    for _, own in read.tags:
        assert "href" not in own and not any(name.startswith("on") for name in own)
        assert not own.get("src"), "photographs are set by the script, from the page itself"
    assert "fetch(" not in script and "XMLHttpRequest" not in script and "://" not in script
    for one in read.questions["photographs"]:
        for photo in (one, *one["neighbours"]):
            assert photo["photograph"].startswith("data:image/jpeg;base64,")


def test_texts_are_shown_as_they_are_and_run_nothing():
    odd = ODD[2]
    given = candidate(1, name=odd, image=odd, why=odd, neighbours=0)
    given = dataclasses.replace(given, neighbours=[neighbour(1, odd)])
    text = page.render(odd, [(odd, odd)], (odd, ODD[0]), [given])
    assert text.count("<script") == 2 and "alert(1)</script" not in text
    read = Read(text)
    (one,) = read.questions["photographs"]
    assert one["name"] == one["image"] == one["why"] == one["neighbours"][0]["label"] == odd
    assert read.text.count(odd) >= 4  # title, heading, fact, class


def test_neighbours_and_the_reason_are_hidden_until_asked_for():
    read = Read(rendered())
    for name in ("beside", "because"):
        assert any(own.get("id") == name and "hidden" in own for _, own in read.tags)
    assert len(read.buttons(id="similar", aria_expanded="false")) == 1
    assert "can sway a judgement" in read.text
    none = Read(rendered(candidates=[candidate(1, neighbours=0)]))
    assert not none.buttons(id="similar")


def test_only_pages_with_boxes_have_a_button_for_them():
    assert Read(rendered(candidates=[candidate(1, boxed=True), candidate(2)])).buttons(id="box")
    assert not Read(rendered()).buttons(id="box")


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_large_photographs_are_shrunk_with_their_box_which_is_not_burnt_in():
    grey = np.full((1024, 2048, 3), 128, np.uint8)
    one = candidate(1, box=(200.0, 100.0, 800.0, 600.0), shown_box=(200.0, 100.0, 800.0, 600.0))
    one = dataclasses.replace(one, pixels=grey)
    (question,) = Read(rendered(candidates=[one])).questions["photographs"]
    image = decoded(question["photograph"])
    assert image.size == (question["width"], question["height"]) == (1024, 512)
    assert question["shown"] == [100, 50, 400, 300]
    assert question["box"] == [200, 100, 800, 600]  # goes into labels.csv as the table has it
    assert np.ptp(np.asarray(image)) == 0


def test_the_store_is_of_these_photographs_and_classes():
    def key(**fields):
        return Read(rendered(**fields)).questions["key"]

    some = [candidate(n) for n in range(2)]
    assert key(candidates=some) == key(candidates=some, title="Another title", facts=())
    other = dataclasses.replace(some[1], pixels=some[1].pixels + 1)  # another clinic's 1.jpg
    boxed = dataclasses.replace(some[1], box=(1, 2, 3, 4))
    keys = {
        key(candidates=some),
        key(candidates=[some[0], other]),
        key(candidates=[some[0], boxed]),
        key(candidates=some[:1]),
        key(candidates=some, classes=CLASSES[:2]),
    }
    assert len(keys) == 5


def test_the_same_questions_are_the_same_file():
    assert rendered() == rendered()


@pytest.mark.parametrize(
    "classes, candidates, words",
    [
        ((), [candidate(1)], "at least one class"),
        (CLASSES, [], "at least one photograph"),
        (("a", "b", "a"), [candidate(1)], "each class once, and 'a'"),
        (CLASSES, [candidate(1), candidate(1)], "each photograph once, and 'images/1.jpg'"),
    ],
)
def test_a_page_without_a_question_is_refused(classes, candidates, words):
    with pytest.raises(ValueError, match=words):
        page.render("t", (), classes, candidates)
