"""Feature maps: every image once, undistorted, rare classes on top."""

import numpy as np
import pytest

from dermjax.study import figures
from tests.study.charts import DISEASES, EVERY, maps

pytestmark = pytest.mark.usefixtures("no_warnings")


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
