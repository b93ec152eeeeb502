"""Scores of maps where the answer is known, against plain loops."""

import numpy as np
import pytest

from dermjax.analysis.saliency import scores

SIDE = 16
PATCH = np.zeros((SIDE, SIDE), bool)
PATCH[4:8, 6:10] = True
IMAGE = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
IMAGE[PATCH] = 2.0
RIGHT = PATCH.astype(np.float32)
WRONG = 1 - RIGHT


def patch_logit(images):
    """Of a network that sees the patch alone."""
    return images[:, PATCH].mean((1, 2))


def probability(images):
    return 1 / (1 + np.exp(-4 * (patch_logit(images) - 1)))


def test_a_true_map_is_better_than_chance_and_chance_than_its_opposite():
    noise = np.random.default_rng(1).uniform(size=(SIDE, SIDE))
    deleted = [scores.deletion(probability, IMAGE, heat) for heat in (RIGHT, noise, WRONG)]
    inserted = [scores.insertion(probability, IMAGE, heat) for heat in (RIGHT, noise, WRONG)]
    assert deleted[0] < deleted[1] < deleted[2]
    assert inserted[0] > inserted[1] > inserted[2]
    found = [scores.sensitivity_n(patch_logit, IMAGE, heat) for heat in (RIGHT, noise, WRONG)]
    assert found[0] > 0.9 and abs(found[1]) < 0.5 and found[2] < -0.9


@pytest.mark.parametrize("points", [1, 7, 256])
def test_deletion_is_the_area_of_a_curve_drawn_by_hand(points):
    heat = np.random.default_rng(2).permutation(SIDE * SIDE).reshape(SIDE, SIDE) / 256.0
    ranked = sorted((-heat[y, x], y, x) for y in range(SIDE) for x in range(SIDE))
    curve = []
    for point in range(points + 1):
        image = IMAGE.copy()
        for _, y, x in ranked[: round(point * SIDE * SIDE / points)]:
            image[y, x] = 0
        curve.append(float(probability(image[None])[0]))
    area = sum((a + b) / 2 for a, b in zip(curve[:-1], curve[1:], strict=True)) / points
    assert scores.deletion(probability, IMAGE, heat, points=points) == pytest.approx(area, rel=1e-6)


def test_curves_begin_and_end_as_they_should():
    ends = []

    def watched(images):
        ends.append((images[0], images[-1]))
        return probability(images)

    scores.deletion(watched, IMAGE, RIGHT)
    scores.insertion(watched, IMAGE, RIGHT)
    np.testing.assert_array_equal(ends[0][0], IMAGE)
    assert not ends[0][1].any()
    assert not np.allclose(ends[1][0], IMAGE)  # blurred
    np.testing.assert_array_equal(ends[1][1], IMAGE)


def test_equal_heat_is_not_read_from_top_to_bottom():
    first = scores.order(np.zeros((SIDE, SIDE)))
    assert sorted(first) == list(range(SIDE * SIDE))
    assert abs(np.corrcoef(first, np.arange(SIDE * SIDE))[0, 1]) < 0.3
    np.testing.assert_array_equal(first, scores.order(np.ones((SIDE, SIDE))))
    assert scores.order(RIGHT)[:16].tolist() != np.flatnonzero(PATCH).tolist()
    assert set(scores.order(RIGHT)[:16]) == set(np.flatnonzero(PATCH))


def test_a_constant_map_correlates_with_nothing():
    assert scores.sensitivity_n(patch_logit, IMAGE, np.full((SIDE, SIDE), 0.3)) == 0


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
    nowhere = scores.heat_by_region(0 * RIGHT, {"lesion": PATCH})
    assert nowhere["lesion"] == pytest.approx((1 / 16, 1 / 16))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="1 of 256 values of a map are not finite"):
        scores.deletion(
            probability, IMAGE, np.where(np.arange(256).reshape(16, 16) == 3, np.nan, 1)
        )
    with pytest.raises(ValueError, match="points = 0"):
        scores.insertion(probability, IMAGE, RIGHT, points=0)
    with pytest.raises(ValueError, match=r"a map \(4, 4\) is not of an image"):
        scores.deletion(probability, IMAGE, RIGHT[:4, :4])
    with pytest.raises(ValueError, match="masks = 2 must be at least 3"):
        scores.sensitivity_n(patch_logit, IMAGE, RIGHT, masks=2)


def test_a_decile_that_is_a_pixel_s_heat_counts_that_pixel():
    heat, place = np.linspace(0.1, 1, 31)[None], np.arange(31)[None]
    lesion = (place % 3 == 0) & (place > 0)  # the decile q is the pixel 30 q
    ratios = [(heat * lesion)[place >= 3 * q].sum() / (31 - 3 * q) for q in range(11)]
    wanted = np.trapezoid(ratios, dx=0.1)
    assert scores.effective_heat_ratio(heat, lesion) == pytest.approx(wanted, rel=1e-9)
