"""Scores of maps where the answer is known, against plain loops."""

import numpy as np
import pytest

from dermjax.saliency import scores

SIDE = 16
PATCH = np.zeros((SIDE, SIDE), bool)
PATCH[4:8, 6:10] = True
RIGHT = PATCH.astype(np.float32)
WRONG = 1 - RIGHT


def test_equal_heat_is_not_read_from_top_to_bottom():
    first = scores.order(np.zeros((SIDE, SIDE)))
    assert sorted(first) == list(range(SIDE * SIDE))
    assert abs(np.corrcoef(first, np.arange(SIDE * SIDE))[0, 1]) < 0.3
    np.testing.assert_array_equal(first, scores.order(np.ones((SIDE, SIDE))))
    assert scores.order(RIGHT)[:16].tolist() != np.flatnonzero(PATCH).tolist()
    assert set(scores.order(RIGHT)[:16]) == set(np.flatnonzero(PATCH))


def test_ranks_are_places_in_that_order():
    heat = np.array([[0.5, 0.9], [0.1, 0.7]])
    assert scores.ranks(heat).tolist() == [[2, 0], [3, 1]]
    assert sorted(scores.ranks(RIGHT).ravel()) == list(range(SIDE * SIDE))


def test_what_is_constant_correlates_with_nothing():
    lost = np.array([[1.0, 2.0, 4.0], [5.0, 5.0, 5.0]])
    heat = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    assert scores.sensitivity_n(heat, lost) == pytest.approx([1, 0])
    assert scores.sensitivity_n(np.full((2, 3), 0.3), lost).tolist() == [0, 0]


def test_heat_ratio():
    assert scores.effective_heat_ratio(RIGHT, PATCH) == pytest.approx(1)
    assert scores.effective_heat_ratio(WRONG, PATCH) == 0
    assert scores.effective_heat_ratio(0 * RIGHT, PATCH) == 0
    assert scores.effective_heat_ratio(np.full((SIDE, SIDE), 0.5), PATCH) == pytest.approx(
        0.5 * PATCH.mean()
    )
    assert np.isnan(scores.effective_heat_ratio(RIGHT, np.zeros_like(PATCH)))
    assert np.isnan(scores.effective_heat_ratio(RIGHT, np.ones_like(PATCH)))  # above a third


def test_heat_ratio_by_a_plain_loop():
    heat = np.random.default_rng(3).beta(0.5, 1, (SIDE, SIDE))
    hot, ratios = sorted(v for v in heat.ravel() if v >= 0.1), []
    for tenth in range(11):
        place = tenth / 10 * (len(hot) - 1)
        low = int(place)
        high = min(low + 1, len(hot) - 1)
        threshold = min(hot[low] + (place - low) * (hot[high] - hot[low]), 0.99 * heat.max())
        count = inside = 0.0
        for y in range(SIDE):
            for x in range(SIDE):
                if heat[y, x] >= max(threshold, 0.1):
                    count += 1
                    inside += heat[y, x] if PATCH[y, x] else 0
        ratios.append(inside / count)
    area = sum((a + b) / 2 for a, b in zip(ratios[:-1], ratios[1:], strict=True)) / 10
    assert scores.effective_heat_ratio(heat, PATCH) == pytest.approx(area, rel=1e-9)


def test_regions_share_the_heat():
    found = scores.heat_by_region(0.25 + RIGHT, {"lesion": PATCH, "elsewhere": ~PATCH})
    assert sum(heat for heat, _ in found.values()) == pytest.approx(1)
    assert found["lesion"] == pytest.approx((16 * 1.25 / (16 * 1.25 + 240 * 0.25), 1 / 16))


def test_an_empty_map_looks_nowhere():
    for heat in (0 * RIGHT, 0.01 * RIGHT):
        share, area = scores.heat_by_region(heat, {"lesion": PATCH})["lesion"]
        assert np.isnan(share) and area == 1 / 16 and scores.is_empty(heat)
    assert not scores.is_empty(0.03 * RIGHT)


def test_heat_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="1 of 256 values of a map are not finite"):
        scores.ranks(np.where(np.arange(256).reshape(16, 16) == 3, np.nan, 1))


def test_a_decile_that_is_a_pixel_s_heat_counts_that_pixel():
    heat, place = np.linspace(0.1, 1, 31)[None], np.arange(31)[None]
    lesion = (place % 3 == 0) & (place > 0)  # the decile q is the pixel 30 q
    ratios = [(heat * lesion)[place >= 3 * q].sum() / (31 - 3 * q) for q in range(11)]
    wanted = np.trapezoid(ratios, dx=0.1)
    assert scores.effective_heat_ratio(heat, lesion) == pytest.approx(wanted, rel=1e-9)
