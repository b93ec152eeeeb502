"""Random crops have torchvision's distribution."""

import math
import random

import jax
import numpy as np
import pytest
from scipy import stats

from dermjax.data import augment
from tests.data.views import QUICK


def _torchvision_crop(rng, height, width, scale, ratio):
    """RandomResizedCrop.get_params, written from its description for one image."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = round(w / ratio[0])
    elif width / height > ratio[1]:
        w = round(h * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


_jit_crops = jax.jit(augment.sample_crops, static_argnames=("scale", "ratio"), **QUICK)


def _sample(size, scale, ratio, count):
    rng = np.random.default_rng(1)
    shares = (rng.random(shape, np.float32) for shape in ((count, 2, 10), count, count))
    return np.asarray(_jit_crops(*shares, np.tile(size, (count, 1)), scale=scale, ratio=ratio))


@pytest.mark.parametrize("size", [(96, 96), (200, 130), (60, 150)])
def test_crops_have_torchvisions_distribution(size):
    scale, ratio, count = (0.2, 1.0), (3 / 4, 4 / 3), 8000
    rng = random.Random(0)
    expected = np.array([_torchvision_crop(rng, *size, scale, ratio) for _ in range(count)])
    got = _sample(size, scale, ratio, count)
    assert (got[:, :2] >= 0).all() and (got[:, :2] + got[:, 2:] <= size).all()

    def traits(crops):
        top, left, h, w = crops.T
        return dict(area=h * w, ratio=w / h, height=h, width=w, top=top, left=left)

    bound = 1.95 * math.sqrt(2 / count)  # a true match exceeds it once in a thousand
    for name, values in traits(got).items():
        distance = stats.ks_2samp(values, traits(expected)[name]).statistic
        assert distance < bound, f"{name}: KS distance {distance:.4f}, bound {bound:.4f}"


def test_crop_corners_reach_both_ends_of_their_range():
    crops = _sample((10, 10), (0.49, 0.49), (1, 1), 2000)  # 7 x 7: corners 0 to 3
    for column in (0, 1):
        values, counts = np.unique(crops[:, column], return_counts=True)
        assert values.tolist() == [0, 1, 2, 3]
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size", [(10, 400), (400, 11), (37, 37)])
def test_crops_that_never_fit_fall_back_to_the_centre(size):
    scale, ratio = ((1.0, 1.0), (3 / 4, 4 / 3)) if size[0] != size[1] else ((1, 1), (1, 1))
    expected = _torchvision_crop(random.Random(0), *size, scale, ratio)
    np.testing.assert_array_equal(_sample(size, scale, ratio, 3), [expected] * 3)
