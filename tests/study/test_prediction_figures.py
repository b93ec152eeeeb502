"""Confusion matrices and reliability: what is drawn is what was measured."""

import numpy as np
import pytest

from dermjax.study import figures
from tests.study.charts import NAMES, bins

pytestmark = pytest.mark.usefixtures("no_warnings")


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
