"""Figures of measures: what is drawn is what was measured."""

import numpy as np
import pandas as pd
import pytest

from dermjax.study import figures
from tests.study.charts import (
    DISEASES,
    EVERY,
    FULL,
    MEASURES,
    SHARES,
    by_class,
    course,
    overall,
    paired,
    parts,
)

pytestmark = pytest.mark.usefixtures("no_warnings")


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
