"""Charts show the numbers they are given, whatever is missing, and the same bytes every time."""

import concurrent.futures
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from dermjax import strategies
from dermjax.report import lettering, looks
from dermjax.study import figures, paper_results
from dermjax.study.settings import known_strategies

MEASURES = ("accuracy", "macro_precision", "macro_sensitivity")
SHARES = tuple(round(0.1 * i, 1) for i in range(1, 11))
LONG = "an exceedingly long name of a disease of the skin, type "
DISEASES = sorted(set(paper_results.table_one()["disease"]))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def overall(alphas=(0.1, 0.5, 1.0), strategies=("SS", "IN", "FS"), trials=3):
    rows = []
    for (i, strategy), alpha in itertools.product(enumerate(strategies), alphas):
        row = {"strategy": strategy, "alpha": alpha, "trials": trials}
        for name in MEASURES:
            value = 0.9 - 0.1 * i - 0.2 * (1 - alpha)
            row |= {name: value, f"{name}_sd": 0.02 if trials > 1 else np.nan}
            row |= {f"{name}_low": value - 0.03, f"{name}_high": value + 0.03}
        rows.append(row)
    return pd.DataFrame(rows)


def by_class(names, strategies=("SS", "FS"), alphas=(0.1, 1.0)):
    """The class at place 2 has no test images."""
    rows = []
    for strategy, alpha, (i, name) in itertools.product(strategies, alphas, enumerate(names)):
        row = {"strategy": strategy, "alpha": alpha, "class": name}
        row |= {"labelled": 1000 * alpha / (i + 1) ** 2, "n": 5}
        rows.append(row | {"sensitivity": np.nan if i == 2 else alpha / (i + 1)})
    return pd.DataFrame(rows)


def paired(alphas=(0.1, 1.0), strategies=("SS", "IN", "FS")):
    rows = [
        {"first": first, "second": second, "alpha": alpha, "measure": measure}
        | {"difference": 0.05 * i, "low": 0.05 * i - 0.06, "high": 0.05 * i + 0.04}
        for alpha in alphas
        for i, (first, second) in enumerate(itertools.combinations(strategies, 2))
        for measure in MEASURES
    ]
    return pd.DataFrame(rows)


def parts(values, strategies=("SS", "FS")):
    rows = pd.DataFrame(
        [
            {"strategy": s, "value": v, "n": n, "worst": False, "alpha": 1.0}
            for s in strategies
            for v, n in values
        ]
    )
    for name in ("accuracy", "macro_sensitivity"):
        rows[name] = np.where(rows["n"] < 20, np.nan, 0.8)
        rows[f"{name}_low"], rows[f"{name}_high"] = rows[name] - 0.1, rows[name] + 0.1
    return pd.DataFrame(rows.to_dict("records"))  # columns share memory, as the report's do


def bins(count=(0, 5, 20), accuracy=(np.nan, 0.4, 1.0), error=0.1):
    return np.array(count), np.array([np.nan, 0.5, 0.9]), np.array(accuracy), error


def maps(strategies, alphas, labels, spread=1.0):
    rng = np.random.default_rng(0)
    return {
        cell: (rng.normal(0, spread, (len(labels), 2)).astype(np.float32), "purity 1, silhouette 0")
        for cell in itertools.product(strategies, alphas)
    }


def course(ax, strategy):
    """(points `[n, 2]`, segments of its bars `[n, 2, 2]`) of a strategy's errorbar."""
    (box,) = [box for box in ax.containers if box.get_label() == strategy]
    return box.lines[0].get_xydata(), np.array(box.lines[2][0].get_segments())


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible texts that cover each other or leave the page; upright ones alone."""
    figure.draw_without_rendering()
    hidden = unseen(figure)
    found = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_text().strip()
        and text.get_rotation() in (0, 90)
        and text.get_visible()
        and id(text) not in hidden
    ]
    names = [name for name, _ in found]
    left, below, right, above = np.array([box.extents for _, box in found]).T
    wide = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    high = np.minimum.outer(above, above) - np.maximum.outer(below, below)
    pairs = np.argwhere(np.triu((wide > 1) & (high > 1), 1))
    page = figure.bbox
    off = (left < page.x0 - 2) | (right > page.x1 + 2) | (below < -2) | (above > page.y1 + 2)
    return [(names[i], names[j]) for i, j in pairs] + [
        (names[i], "the edge") for i in np.flatnonzero(off)
    ]


def unseen(figure: Figure) -> set[int]:
    """Texts that are not on the picture: tick labels of the other side and of hidden axes."""
    found = set()
    for ax in figure.axes:
        if not ax.get_visible():
            found |= {id(text) for text in ax.findobj(Text)}
            continue
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                found.add(id(tick.label2))
                if not low <= tick.get_loc() <= high:
                    found.add(id(tick.label1))
    return found


def sizes(figure: Figure) -> set[float]:
    return {text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()}


# --- all of them --------------------------------------------------------------------------------

FULL = by_class(DISEASES, ("SS", "IN", "FS"), SHARES).fillna(0.5)
NAMES = [f"{LONG}{i}" for i in range(12)]
COUNTS = np.random.default_rng(0).integers(0, 400, (12, 12))
LABELS = np.random.default_rng(0).integers(0, 10, 300)
BOTH = {"before": bins(), "after": bins(error=np.nan)}
STRANGE = ("SS", "_$x$_", "$", "a strategy with a name of many words", "母斑")
FOUR = ("SS", "SS-IN", "IN", "FS")
TWENTY = known_strategies()  # and all options for rare classes
EVERY = {
    "study": lambda: figures.strategies_against_alpha(overall(SHARES), paper_results.overall()),
    "one share": lambda: figures.strategies_against_alpha(overall((0.1,), trials=1)),
    "strategies": lambda: figures.strategies_against_alpha(overall(strategies=STRANGE)),
    "four strategies": lambda: figures.strategies_against_alpha(
        overall(SHARES, FOUR), paper_results.overall()
    ),
    "twenty strategies": lambda: figures.strategies_against_alpha(overall(strategies=TWENTY)),
    "no band": lambda: figures.strategies_against_alpha(
        overall().filter(regex="^(?!.*_(low|high)$)")
    ),
    "near shares": lambda: figures.strategies_against_alpha(overall((0.01, 0.02, 0.05, 0.1, 1.0))),
    "classes": lambda: figures.sensitivity_against_labels(FULL),
    "two classes": lambda: figures.sensitivity_against_labels(by_class(["a", "$b_$"])),
    "classes by twenty": lambda: figures.sensitivity_against_labels(by_class(DISEASES, TWENTY)),
    "long classes": lambda: figures.sensitivity_against_labels(by_class(NAMES, STRANGE)),
    "matrices": lambda: figures.confusion_matrices(
        [(name, COUNTS[:10, :10]) for name in ("SS", "IN", "FS")], DISEASES
    ),
    "four matrices": lambda: figures.confusion_matrices(
        [(f"{name}, 10 %", COUNTS[:10, :10]) for name in FOUR], DISEASES
    ),
    "long matrices": lambda: figures.confusion_matrices([(n, COUNTS) for n in STRANGE], NAMES),
    "two by two": lambda: figures.confusion_matrices([("SS", np.diag([5, 0]))], ["a_b", "$"]),
    "reliability": lambda: figures.reliability([(name, BOTH) for name in ("SS", "IN", "FS")]),
    "four reliabilities": lambda: figures.reliability([(name, BOTH) for name in FOUR]),
    "more reliability": lambda: figures.reliability([(name, BOTH) for name in STRANGE]),
    "thirty maps": lambda: figures.feature_maps(
        maps(("SS", "IN", "FS"), SHARES, LABELS), LABELS, DISEASES
    ),
    "sixteen maps": lambda: figures.feature_maps(maps(FOUR, SHARES[:4], LABELS), LABELS, DISEASES),
    "one map": lambda: figures.feature_maps(maps(("$SS_",), (0.5,), LABELS), LABELS, NAMES),
    "one point": lambda: figures.feature_maps(maps(("SS",), (1,), [0]), np.array([0]), ["a", "b"]),
    "differences": lambda: figures.differences(paired(SHARES)),
    "six differences": lambda: figures.differences(paired((0.1, 1.0), FOUR)),
    "differences of twenty": lambda: figures.differences(paired((0.1,), TWENTY)),
    "one difference": lambda: figures.differences(paired((1.0,), STRANGE[2:4])),
    "parts": lambda: figures.subgroups(parts([("f", 5000), ("m", 300), ("", 3)], STRANGE), 20),
    "parts by twenty": lambda: figures.subgroups(parts([("f", 50), ("m", 3)], TWENTY), 20),
    "long parts": lambda: figures.subgroups(parts([(n, 30) for n in NAMES]), 20),
    "only small parts": lambda: figures.subgroups(parts([("$m_", 3)]), 20),
}


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


# --- each of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("alphas", [(0.1,), (0.1, 0.5, 1.0)])
def test_figure_3_has_the_means_the_spread_and_the_interval(alphas):
    frame = overall(alphas)
    for ax, name in zip(figures.strategies_against_alpha(frame).axes, MEASURES, strict=True):
        assert ax.get_title() == name.replace("_", " ")
        assert ax.get_xticks().tolist() == [100 * alpha for alpha in alphas]
        own = frame[frame["strategy"] == "IN"]
        points, bars = course(ax, "IN")
        np.testing.assert_allclose(points[:, 0], 100 * own["alpha"])
        np.testing.assert_allclose(points[:, 1], own[name])
        np.testing.assert_allclose(bars[:, :, 1], own[name].to_numpy()[:, None] + [[-0.02, 0.02]])
        bands = np.concatenate(
            [path.vertices[:, 1] for part in ax.collections for path in part.get_paths()]
        )
        assert set(np.round(own[f"{name}_low"], 9)) <= set(np.round(bands, 9))
        assert set(np.round(own[f"{name}_high"], 9)) <= set(np.round(bands, 9))


def test_one_trial_has_no_bar_and_a_missing_run_is_a_gap():
    frame = overall(trials=1).drop(index=4)  # IN at 50 %
    ax = figures.strategies_against_alpha(frame).axes[0]
    points, bars = course(ax, "IN")
    np.testing.assert_allclose(points[:, 1], [0.62, np.nan, 0.8])
    assert not bars.size


def test_shares_that_are_too_near_have_a_tick_without_a_number():
    ax = EVERY["near shares"]().axes[0]
    assert ax.get_xticks().tolist() == [1, 2, 5, 10, 100]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "", "", "10", "100"]


def test_strategies_at_one_share_do_not_cover_each_other():
    """Equal values are drawn beside each other; what is read off the axes is the share itself."""
    frame = overall((0.3, 1.0))
    for name in MEASURES:
        frame[name] = 0.5
    figure = figures.strategies_against_alpha(frame)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    lines = [box.lines[0] for box in ax.containers]
    left = [line.get_transform().transform(line.get_xydata())[0, 0] for line in lines]
    apart = np.diff(left) * 72 / figure.dpi  # points
    assert (apart > 4).all() and (apart < 8).all()
    assert left[1] == pytest.approx(ax.transData.transform((30, 0))[0])


def test_the_papers_points_are_hollow_and_where_they_are():
    known = pd.DataFrame(
        {"strategy": ["SS", "XX"], "alpha": [0.1, 0.2], "accuracy": [0.877, 0.5]}
    ).assign(macro_precision=np.nan, macro_sensitivity=0.686)
    figure = figures.strategies_against_alpha(overall(), known)
    hollow = [
        [line.get_xydata().tolist() for line in ax.lines if line.get_markerfacecolor() == "none"]
        for ax in figure.axes
    ]
    nothing = [[], []]
    assert hollow[0] == [[[10.0, 0.877]], *nothing]
    assert [len(line) for line in hollow[1]] == [0, 0, 0]
    assert hollow[2] == [[[10.0, 0.686]], *nothing]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["SS", "IN", "FS", "95 % interval", "the paper"]


def test_each_class_has_its_points_in_both_kinds_of_panels():
    frame = by_class(["acne", "$rare_$ one", "without images"])
    figure = figures.sensitivity_against_labels(frame)
    each, whole = figure.axes[:-1], figure.axes[-1]
    assert [ax.get_title() for ax in each] == ["without images", r"\$rare_\$ one", "acne"]
    np.testing.assert_allclose(each[2].lines[0].get_xydata(), [[100, 0.1], [1000, 1.0]])
    drawn = np.concatenate([line.get_xydata() for line in whole.lines if len(line.get_xydata())])
    own = frame[["labelled", "sensitivity"]].to_numpy()
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(own, 0))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["SS", "FS"]  # too few points for a median


def test_a_running_median_lies_on_a_steep_course():
    frame = by_class(DISEASES, ("SS",), SHARES)
    frame["sensitivity"] = np.log10(frame["labelled"]) / 4  # straight on the chart
    frame.loc[0, "sensitivity"] = np.nan
    whole = figures.sensitivity_against_labels(frame).axes[-1]
    x, y = whole.lines[-1].get_data()
    assert len(x) == 99 - 9 + 1  # nine of them make a point
    np.testing.assert_allclose(y, np.log10(x) / 4)


def test_a_few_points_have_no_running_median():
    """Of six classes at two shares it would follow single classes."""
    few = by_class(DISEASES[:6], alphas=(0.3, 1.0)).fillna(0.5)
    figure = figures.sensitivity_against_labels(few)
    assert not [
        line for line in figure.axes[-1].lines if line.get_linewidth() > 2 and len(line.get_xdata())
    ]
    assert "running median" not in [text.get_text() for text in figure.legends[0].get_texts()]
    many = figures.sensitivity_against_labels(FULL)
    assert "running median" in [text.get_text() for text in many.legends[0].get_texts()]


def test_rows_of_classes_are_as_long_as_each_other():
    figure = figures.sensitivity_against_labels(by_class(DISEASES[:6]))
    tops = [round(ax.get_position().y1, 3) for ax in figure.axes[:-1] if ax.get_visible()]
    assert [tops.count(top) for top in dict.fromkeys(tops)] == [3, 3]


def test_classes_without_labelled_images_have_no_point():
    frame = by_class(["acne", "none"])
    frame.loc[frame["class"] == "none", "labelled"] = 0
    figure = figures.sensitivity_against_labels(frame)
    figures.png(figure)
    assert [len(ax.lines[0].get_xdata()) for ax in figure.axes[:-1]] == [0, 2]


def test_confusion_counts_are_printed_and_shares_shaded():
    counts = np.array([[8, 2.4], [0.4, 0.5]])
    figure = figures.confusion_matrices([("SS", counts), ("$FS$", counts)], ["a_b", "$"])
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), counts / [[10.4], [0.9]])
    assert [text.get_text() for text in ax.texts] == ["8", "2", "", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a_b (10)", r"\$ (1)"]
    empty = figures.confusion_matrices([("SS", np.diag([3, 0]))], ["a", "b"]).axes[0]
    np.testing.assert_allclose(empty.images[0].get_array(), [[1, 0], [0, 0]])
    assert figure.axes[1].get_title() == r"\$FS\$"


def test_counts_that_have_no_room_are_thousands():
    counts = np.full((12, 12), 2070)
    figure = figures.confusion_matrices([("SS", counts), ("FS", counts)], NAMES)
    assert {text.get_text() for text in figure.axes[0].texts} == {"2.1k"}
    figure = figures.confusion_matrices([("SS", counts[:5, :5])], NAMES[:5])
    assert {text.get_text() for text in figure.axes[0].texts} == {"2070"}


def test_reliability_shows_full_bins_joined_small_ones_hollow_and_the_errors():
    many = bins(count=(12, 5, 20), accuracy=(0.1, 0.4, 1.0))
    many[1][0] = 0.2
    figure = figures.reliability([("SS", {"before": many, "after": bins(error=0.02)})])
    upper, lower = figure.axes[0], figure.axes[2]
    assert upper.get_title() == "SS\nECE 0.100 → 0.020"
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [[0.2, 0.1], [0.9, 1.0]])
    joined, small, *after = [part.get_offsets().tolist() for part in upper.collections]
    assert joined == [[0.2, 0.1], [0.9, 1.0]] and small == [[0.5, 0.4]]
    assert after == [[[0.9, 1.0]], [[0.5, 0.4]]]
    assert (upper.collections[1].get_facecolor()[0] == 1).all()
    heights = [part.get_data().values for part in lower.patches]
    np.testing.assert_allclose(heights, [100 / 37 * np.array([12, 5, 20]), [0, 20, 80]])


def test_differences_are_in_their_order_with_their_intervals():
    frame = paired((0.1, 1.0))
    below = frame["first"].eq("IN") & frame["alpha"].eq(1.0)
    frame.loc[below, ["difference", "low", "high"]] = [-0.1, -0.14, -0.04]
    figure = figures.differences(frame)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("SS − IN, 10 %", "SS − FS, 10 %", "IN − FS, 10 %"),
        *("SS − IN, 100 %", "SS − FS, 100 %", "IN − FS, 100 %"),
    ]
    spans = [line.get_xydata() for line in ax.lines[:12:2]]
    np.testing.assert_allclose(spans[1], [[-0.01, -1], [0.09, -1]])
    np.testing.assert_allclose(spans[5], [[-0.14, -5], [-0.04, -5]])
    points = ax.lines[1:12:2]
    np.testing.assert_allclose(points[5].get_xydata(), [[-0.1, -5]])
    hollow = [point.get_markerfacecolor() == "white" for point in points]
    assert hollow == [True, True, False] * 2  # the third's interval is above 0, the last below
    assert ax.lines[12].get_xdata() == [0, 0]


def test_a_comparison_that_one_measure_lacks_stays_in_its_row():
    frame = paired((0.1,)).drop(index=[0])  # the accuracy of SS - IN
    figure = figures.differences(frame)
    assert len(figure.axes[0].get_yticklabels()) == 3
    place = {ax.get_title(): ax.lines[1].get_ydata()[0] for ax in figure.axes}
    assert place["macro precision"] - place["accuracy"] in (1, -2)


def test_small_subgroups_show_neither_measures_nor_their_number():
    frame = parts([("f", 5000), ("$m_", 3)])
    frame.loc[1, ["accuracy", "accuracy_low", "accuracy_high"]] = 0.123  # must not be shown
    figure = figures.subgroups(frame, 20)
    first, last = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["f", r"\$m_"]
    assert [text.get_text() for text in first.texts] == ["n < 20"]
    assert [text.get_text() for text in last.texts] == ["n < 20", "n = 5,000", "n < 20"]
    values = [line.get_xdata() for line in first.lines[:2]]
    np.testing.assert_allclose(values, [[0.8, np.nan]] * 2)
    (span,) = first.collections[0].get_segments()[:1]
    np.testing.assert_allclose(span[:, 0], [0.7, 0.9])


@pytest.mark.parametrize("count", [4, 3000])
def test_feature_maps_show_every_image_once_and_undistorted(count):
    labels = np.random.default_rng(0).integers(0, 12, count)
    panels = maps(("SS", "FS"), (0.1, 1.0), labels)
    del panels["FS", 0.1], panels["SS", 1.0]
    figure = figures.feature_maps(panels, labels, [f"class {i}" for i in range(12)])
    ax, *others = [ax for ax in figure.axes if ax.collections]
    assert len(figure.axes) == 4 and len(others) == 1  # two cells are not done
    assert ax.get_title() == "SS, 10 %" and ax.get_xlabel() == "purity 1, silhouette 0"
    drawn = np.concatenate([part.get_offsets() for part in ax.collections])
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(panels["SS", 0.1][0], 0), atol=1e-6)
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
    assert ax.get_box_aspect() == 1
    assert all(part.get_rasterized() for part in ax.collections)


def test_rare_classes_are_on_top_and_not_smaller():
    labels = np.repeat([0, 1, 2], [5, 3000, 100])
    figure = figures.feature_maps(maps(("SS",), (1.0,), labels), labels, ["rare", "all", "some"])
    parts = figure.axes[0].collections
    assert [len(part.get_offsets()) for part in parts] == [3000, 100, 5]
    sizes = [part.get_sizes()[0] for part in parts]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]


@pytest.mark.parametrize("repeats, larger", [(1, False), (100, True)])
def test_marks_are_called_larger_where_they_are(repeats, larger):
    labels = np.repeat([0, 1, 1, 1], repeats)
    figure = figures.feature_maps(maps(("SS",), (1.0,), labels), labels, ["rare", "all"])
    sizes = [part.get_sizes()[0] for part in figure.axes[0].collections]
    assert (sizes[1] > sizes[0]) == larger
    title = figure.legends[0].get_title().get_text()
    assert ("larger" in title) == larger and title.endswith("on top")


def test_many_shares_are_drawn_in_blocks():
    figure = EVERY["thirty maps"]()
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert len(titles) == 30
    assert titles[0:5] == [f"SS, {share} %" for share in (10, 20, 30, 40, 50)]
    assert titles[5:11:5] == ["IN, 10 %", "FS, 10 %"]
    assert titles[25:] == [f"FS, {share} %" for share in (60, 70, 80, 90, 100)]


def test_the_line_below_a_map_has_dashes_for_what_is_not_known():
    assert figures.line_of(0.5, -0.25) == "purity 0.50, silhouette −0.25"
    assert figures.line_of(np.nan, np.nan) == "purity –, silhouette –"


def test_thousands_of_images_are_small_in_print(tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 7000)
    figures.save(
        figures.feature_maps(maps(("SS",), (1.0,), labels), labels, DISEASES), tmp_path, "m"
    )
    assert (tmp_path / "m.pdf").stat().st_size < 1e6
