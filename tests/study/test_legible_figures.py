"""Every figure of a study: nothing overlaps, all can be read, files are whole."""

import concurrent.futures

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from dermjax import strategies
from dermjax.report import lettering, looks
from dermjax.study import figures
from tests.study.charts import EVERY, FOUR, LONG, TWENTY, overall, overlapping

pytestmark = pytest.mark.usefixtures("no_warnings")


def sizes(figure: Figure) -> set[float]:
    return {text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()}


@pytest.mark.parametrize("name", EVERY)
def test_nothing_overlaps_and_all_can_be_read(name):
    figure = EVERY[name]()
    assert figures.png(figure).startswith(b"\x89PNG")
    assert figure.get_figwidth() == 9.2  # 920 CSS px: points are as on paper
    assert min(sizes(figure)) >= 8
    assert overlapping(figure) == []


def test_what_overlaps_would_be_found():
    figure, axes = looks.panels(1, 1, height=2)
    axes[0, 0].text(0.5, 0.5, "one")
    axes[0, 0].text(0.51, 0.5, "other")
    axes[0, 0].text(-3, 0.5, "far").set_in_layout(False)
    assert overlapping(figure) == [("one", "other"), ("far", "the edge")]


def test_files_are_whole_and_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        figures.save(figures.strategies_against_alpha(overall()), tmp_path, name)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4
    assert b"Date" not in (tmp_path / "one.pdf").read_bytes()


def test_a_file_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    figures.save(EVERY["one map"](), tmp_path, "map")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stopped(self, file, **_):
        file.write(b"the first bytes")
        raise MemoryError

    monkeypatch.setattr(Figure, "savefig", stopped)
    with pytest.raises(MemoryError):
        figures.save(Figure(), tmp_path, "map")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_threads_draw_what_one_alone_draws():
    names = ("study", "two classes", "parts", "reliability") * 2
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda name: figures.png(EVERY[name]()), names))
    assert together == [figures.png(EVERY[name]()) for name in names]


def test_strategies_and_classes_are_told_apart_without_colour():
    style = looks.styles([*"abcde", *FOUR])
    assert len({look.mark for look in style.values()}) == 9
    assert len({look.colour for look in style.values()}) == 9
    assert len({look.line for look in style.values()}) == 9
    assert style["SS"] == looks.styles(["SS"])["SS"]
    style = looks.styles(TWENTY)
    assert len(style) == 20 == len({look.mark for look in style.values()})
    for base in FOUR:
        own = [style[name] for name in TWENTY if strategies.split(name)[0] == base]
        assert len({look.line for look in own}) == 5 and {look.colour for look in own} == {
            style[base].colour
        }
    assert len({looks.class_sign(i)[1] for i in range(10)}) == 10
    assert len({looks.class_sign(i) for i in range(100)}) == 100


def test_names_are_printed_as_they_are_written_or_shortened_in_the_middle():
    named = lettering.Key().named
    assert named("a_b^{c} \\x") == "a_b^{c} \\x"
    assert named("$x$ & $") == r"\$x\$ & \$"
    assert named("two\nlines") == "two lines"
    short = [named(f"{LONG}{i}") for i in range(12)]
    assert len(set(short)) == 12 and max(map(len, short)) <= 24
