"""The page's script where it needs no page: answers, undo, labels.csv; Node runs it."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dermjax.data import label_files, manifest
from dermjax.report import pages

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node (node), to run the page's script")


def run(body: str, given=None):
    """What `body`, a function's, returns, in which the script's functions and `given` are known."""
    text = (
        f"const given = {json.dumps(given)}; console.log(JSON.stringify((() => {{ {body} }})()));"
    )
    program = pages.script("label.js") + text
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_undo_restores_answer_after_answer():
    found = run("""
      let state = blankState(), seen = [];
      state = answered(state, "a", { label: "nevus" });
      state = answered(state, "a", { verdict: "cannot tell" });
      state = answered(state, "b", { skipped: true });
      for (let back = undone(state); back; back = undone(back.state)) {
        seen.push([back.name, back.state.answers]);
      }
      return seen;
    """)
    tell = {"verdict": "cannot tell"}
    assert found == [["b", {"a": tell}], ["a", {"a": {"label": "nevus"}}], ["a", {}]]


def test_the_next_photograph_is_the_next_without_an_answer_and_round():
    found = run("""
      const four = ["a", "b", "c", "d"].map((name) => ({ name }));
      let state = answered(blankState(), "c", { label: "x" });
      state = answered(state, "d", { skipped: true });
      return [0, 1, 2, 3].map((place) => nextPlace(four, state, place, isOpen));
    """)
    assert found == [1, 0, 0, 0]


def test_times_have_their_zone():
    zones = {-60: "+01:00", 0: "+00:00", 210: "-03:30", -345: "+05:45"}
    found = run(
        """
      return given.map((minutes) => {
        const now = new Date(Date.UTC(2026, 2, 1, 8, 5, 9));
        now.getTimezoneOffset = () => minutes;
        return timeWithZone(now);
      });
    """,
        list(zones),
    )
    assert [text[19:] for text in found] == list(zones.values())
    assert {pd.Timestamp(text) for text in found} == {pd.Timestamp("2026-03-01T08:05:09Z")}


def test_digits_of_any_keyboard_choose_a_class():
    pressed = {
        ("1", "Digit1", False): 0,
        ("0", "Digit0", False): 9,
        ("7", "Numpad7", False): 6,
        ("&", "Digit1", False): 0,  # French, where digits need Shift
        ("-", "Digit6", False): 5,
        ("٣", "Digit3", False): 2,  # Arabic
        ("/", "Digit7", True): -1,  # German: Shift + 7 is the slash
        ("Home", "Numpad7", False): -1,  # without NumLock
        ("s", "KeyS", False): -1,
    }
    events = [dict(zip(("key", "code", "shiftKey"), one, strict=True)) for one in pressed]
    assert run("return given.map(digitOf);", events) == list(pressed.values())


def test_letters_are_found_on_keyboards_of_other_alphabets():
    pressed = {
        ("S", "KeyS"): "s",
        ("ы", "KeyS"): "s",
        ("ش", "KeyA"): "a",
        ("ArrowLeft", "ArrowLeft"): "arrowleft",
        ("/", "Digit7"): "/",
        ("ظ", "Slash"): "/",
        ("é", "Digit2"): "é",
    }
    events = [dict(zip(("key", "code"), one, strict=True)) for one in pressed]
    assert run("return given.map(signOf);", events) == list(pressed.values())


CELL = (
    st.text(
        st.one_of(
            st.sampled_from(" \"',;=+-@\n#éß黑ش🙂"), st.characters(exclude_categories=["Cs", "Cc"])
        ),
        min_size=1,
        max_size=12,
    )
    .map(manifest.identity.visible)
    .filter(lambda text: text and not manifest.identity.is_nobody(text))
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # Node starts anew for each example
)
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12, unique_by=lambda row: row[0]))
def test_the_csv_reads_as_what_was_answered(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    photographs = [
        {
            "name": f"{n}",
            "image": f"{n}{image}.jpg",
            "box": [n, 1.5, 1e3, 200 / 3] if n % 2 else None,
        }
        for n, (image, _) in enumerate(rows)
    ]
    answers = [label for _, label in rows]
    known = {"photographs": photographs, "classes": answers, "verdicts": ["cannot tell"]}
    text, again = run(
        """
      let state = blankState();
      given.photographs.forEach(({ name }, n) => {
        state = answered(state, name, { label: given.classes[n], by: given.classes[n], at: "now" });
      });
      const text = csvOf(given.photographs, state);
      return [text, continued(given, blankState(), "\\uFEFF" + text)];
    """,
        known,
    )
    path = folder / "labels.csv"
    path.write_bytes(("\ufeff" + text).encode())
    table = pd.DataFrame(
        {
            "image": [one["image"] for one in photographs],
            **{
                side: [f"{one['box'][k]:.10g}" if one["box"] else "" for one in photographs]
                for k, side in enumerate("xywh")
            },
            "label": "",
            "row": range(2, len(rows) + 2),
        }
    )
    made, _ = manifest.build(table, root=folder, source="photos.csv")
    read = label_files.read(path, made)
    assert read.problems == ()
    assert [answer.label for answer in read.answers] == answers
    assert [answer.place for answer in read.answers] == list(range(len(rows)))
    assert all(
        answer.by in (name, f"'{name}") for answer, name in zip(read.answers, answers, strict=True)
    )
    assert again["taken"] == len(rows) and again["strange"] == 0
    assert [again["state"]["answers"][str(n)]["label"] for n in range(len(rows))] == answers


def test_an_earlier_table_overwrites_nothing_and_what_is_strange_is_counted():
    known = {
        "photographs": [{"name": n, "image": n, "box": None} for n in "abc"],
        "classes": ["x", "y"],
        "verdicts": ["cannot tell", "not a lesion"],
    }
    found = run(
        """
      const state = answered(blankState(), "a", { label: "x" });
      const excel = ["sep=;", "image;x;y;w;h;label;verdict", "a;;;;;y;", "b;;;;;;cannot tell",
        "c;;;;;z;", "d;;;;;x;", "c;;;;;;", ""].join("\\r\\n");
      const { state: next, ...counted } = continued(given, state, excel);
      return [next.answers, counted, continued(given, state, "a,b\\n1,2\\n")];
    """,
        known,
    )
    answers, counted, nothing = found
    assert answers["a"] == {"label": "x"} and answers["b"]["verdict"] == "cannot tell"
    assert "c" not in answers
    assert counted == {"taken": 1, "kept": 1, "strange": 2} and nothing is None
