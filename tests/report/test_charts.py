"""Charts show the numbers they are given, whatever is missing, and the same bytes every time."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from etils import epath

from dermjax.report import charts

MEASURES = ("accuracy", "macro_precision", "macro_sensitivity")


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


def by_class(names=("acne", "$rare_$ one", "an exceedingly long name of a disease of the skin")):
    rows = []
    for strategy, alpha, (i, name) in itertools.product(("SS", "FS"), (0.1, 1.0), enumerate(names)):
        row = {
            "strategy": strategy,
            "alpha": alpha,
            "class": name,
            "labelled": 100 * alpha / (i + 1),
        }
        rows.append(row | {"sensitivity": np.nan if i == 2 else alpha / (i + 1), "n": 5})
    return pd.DataFrame(rows)


def lines(ax):
    """Data of the lines of axes that are more than a point or a rule."""
    return [line.get_xydata() for line in ax.lines if len(line.get_xydata()) > 1]


@pytest.mark.parametrize("alphas", [(0.1,), (0.1, 0.5, 1.0)])
@pytest.mark.parametrize("trials", [1, 3])
def test_figure_3_has_the_means_and_the_spread(alphas, trials):
    frame = overall(alphas, trials=trials).drop(index=0)
    figure = charts.strategies_against_alpha(frame)
    assert charts.png(figure).startswith(b"\x89PNG")
    for ax, name in zip(figure.axes, MEASURES, strict=True):
        assert ax.get_title() == name.replace("_", " ")
        own = frame[frame["strategy"] == "IN"]
        (shown,) = [box for box in ax.containers if box.get_label() == "IN"]
        drawn = shown.lines[0].get_xydata()
        np.testing.assert_allclose(drawn, np.stack([100 * own["alpha"], own[name]], 1))
        ends = np.array(shown.lines[2][0].get_segments())[:, :, 1]
        spread = own[f"{name}_sd"].fillna(0)
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * spread, atol=1e-9)


def test_the_papers_points_are_hollow_and_where_they_are():
    published = pd.DataFrame(
        {"strategy": ["SS"], "alpha": [0.1], "accuracy": [0.877], "macro_precision": [np.nan]}
    ).assign(macro_sensitivity=0.686)
    figure = charts.strategies_against_alpha(overall(), published)
    hollow = [
        [
            line
            for line in ax.lines
            if line.get_markerfacecolor() == "none" and len(line.get_xdata())
        ]
        for ax in figure.axes
    ]
    assert [len(found) for found in hollow] == [1, 0, 1]
    assert hollow[0][0].get_xydata().tolist() == [[10.0, 0.877]]


def test_classes_are_drawn_with_any_name_and_without_images():
    figure = charts.sensitivity_against_labels(by_class())
    assert [ax.get_title() for ax in figure.axes] == ["SS", "FS"]
    np.testing.assert_allclose(lines(figure.axes[0])[1], [[10, 0.1], [100, 1.0]])
    charts.png(figure)


def test_confusion_counts_are_printed_and_shares_shaded():
    counts = np.array([[8, 2], [0, 0]])
    figure = charts.confusion_matrices([("SS", counts), ("$FS$", counts)], ["a_b", "$"])
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.2], [0, 0]])
    assert [text.get_text() for text in ax.texts] == ["8", "2", "", ""]
    charts.png(figure)


def test_reliability_leaves_empty_bins_out_and_says_the_errors():
    bins = (np.array([0, 5, 20]), np.array([np.nan, 0.5, 0.9]), np.array([np.nan, 0.4, 1.0]), 0.1)
    figure = charts.reliability([("SS", {"before": bins, "after": (*bins[:3], 0.02)})])
    assert figure.axes[0].get_title() == "SS, ECE 0.100 → 0.020"
    np.testing.assert_allclose(lines(figure.axes[0])[1], [[0.5, 0.4], [0.9, 1.0]])
    charts.png(figure)


def test_differences_are_in_their_order_with_their_intervals():
    pairs = pd.DataFrame(
        {
            "first": ["SS", "SS"],
            "second": ["IN", "FS"],
            "alpha": [0.1, 1.0],
            "measure": "accuracy",
            "difference": [0.1, -0.2],
            "low": [0.0, -0.3],
            "high": [0.2, -0.1],
        }
    )
    ax = charts.differences(pairs).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "SS − IN, 10 %",
        "SS − FS, 100 %",
    ]
    np.testing.assert_allclose(lines(ax)[0], [[0.0, 0], [0.2, 0]])
    np.testing.assert_allclose(lines(ax)[1], [[-0.3, -1], [-0.1, -1]])


def test_small_subgroups_are_named_and_show_nothing():
    rows = pd.DataFrame(
        {
            "strategy": ["SS", "SS", "FS", "FS"],
            "value": ["f", "$m_", "f", "$m_"],
            "n": [50, 3, 50, 3],
        }
    )
    for name in ("accuracy", "macro_sensitivity"):
        rows[name] = [0.8, np.nan, 0.6, np.nan]
        rows[f"{name}_low"], rows[f"{name}_high"] = rows[name] - 0.1, rows[name] + 0.1
    figure = charts.subgroups(rows, 20)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[0] == "f  (n 50)" and names[1].endswith("(n 3, too few)")
    charts.png(figure)


@pytest.mark.parametrize("count", [4, 3000])
def test_feature_maps_show_every_image_once(count):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, count)
    points = rng.normal(size=(count, 2)).astype(np.float32)
    panels = {("SS", 0.1): (points, "note"), ("FS", 1.0): (points, charts.line_of(0.5, np.nan))}
    figure = charts.feature_maps(panels, labels, [f"class {i}" for i in range(12)])
    shown = [ax for ax in figure.axes if ax.collections]
    assert len(figure.axes) == 4 and len(shown) == 2  # two cells are not done
    drawn = np.concatenate([part.get_offsets() for part in shown[0].collections])
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(points, 0), atol=1e-6)
    assert shown[1].get_xlabel() == "purity 0.50, silhouette –"
    charts.png(figure)


def test_files_are_whole_and_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        charts.save(charts.strategies_against_alpha(overall()), epath.Path(tmp_path), name)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4
