"""The augmentation against plain NumPy, Pillow, SciPy and colorsys, and its distributions."""

import colorsys
import functools
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from dermjax.data import augment, color
from dermjax.data.augment import Augmentation

_GEOMETRY = dict(jitter_probability=0, grayscale_probability=0, blur_probability=0)
_RAW = dict(mean=(0, 0, 0), std=(1, 1, 1))  # no normalisation: outputs stay in [0, 1]


def _noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _planes(batch=3, size=20, seed=0):
    return np.random.default_rng(seed).random((3, batch, size, size), np.float32)


# Compiling is what takes the time here: unoptimised code, and one compilation per configuration.
_QUICK = dict(compiler_options={"xla_backend_optimization_level": 0})
_jit = functools.cache(functools.partial(jax.jit, **_QUICK))


def _apply(augmentation, images, sizes=None, key=0, positions=None):
    batch, side = images.shape[:2]
    sizes = np.full((batch, 2), side) if sizes is None else np.asarray(sizes)
    positions = np.arange(batch) if positions is None else np.asarray(positions)
    return np.asarray(_jit(augmentation)(jax.random.key(key), positions, images, sizes))


_jit_warp = jax.jit(augment.warp, static_argnames=("size", "samples"), **_QUICK)


def _warp(images, sizes, crops, size, samples=1, **pose):
    """`warp` with NumPy in and channels last out, in [0, 255]."""
    given = map(np.asarray, (images, sizes, crops))
    planes = _jit_warp(*given, size=size, pose=augment.Pose(**pose), samples=samples)
    return 255 * np.moveaxis(np.asarray(planes), 0, -1)


def _bilinear(image, valid, crop, size):
    """One pixel after the other, by the definition: half-pixel centres, mirrored outside."""
    image = np.pad(
        image[: valid[0], : valid[1]].astype(float), ((1, 1), (1, 1), (0, 0)), "symmetric"
    )
    top, left, height, width = crop
    out = np.empty((size, size, 3))
    for i in range(size):
        for j in range(size):
            y = top + (i + 0.5) * height / size - 0.5
            x = left + (j + 0.5) * width / size - 0.5
            r, c = math.floor(y), math.floor(x)
            square = image[r + 1 : r + 3, c + 1 : c + 3]
            rows = square[0] * (1 - (y - r)) + square[1] * (y - r)
            out[i, j] = rows[0] * (1 - (x - c)) + rows[1] * (x - c)
    return out


def test_crop_and_resize_equal_the_definition():
    images = _noise((3, 24, 24, 3))
    sizes = [(24, 24), (17, 23), (24, 11)]
    crops = [(0, 0, 24, 24), (4, 2, 13, 9), (1, 0, 23, 11)]
    for size in (7, 16, 31):
        expected = [_bilinear(*each, size) for each in zip(images, sizes, crops, strict=True)]
        np.testing.assert_allclose(_warp(images, sizes, crops, size), expected, atol=5e-3)


def test_flips_mirror_the_view_they_belong_to():
    images, sizes = _noise((4, 20, 20, 3)), [(20, 17)] * 4
    crops = [(1, 3, 16, 12)] * 4
    mirror, upend = jnp.array([0, 1, 0, 1], bool), jnp.array([0, 0, 1, 1], bool)
    plain = _warp(images, sizes, crops, 13)
    got = _warp(images, sizes, crops, 13, mirror=mirror, upend=upend)
    expected = [plain[0], plain[1][:, ::-1], plain[2][::-1], plain[3][::-1, ::-1]]
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_quarter_turns_are_exact_and_counter_clockwise():
    images, sizes = _noise((4, 16, 16, 3)), [(16, 16)] * 4
    angles = jnp.arange(4) * jnp.pi / 2
    got = _warp(images, sizes, [(0, 0, 16, 16)] * 4, 16, angles=angles)
    expected = [np.rot90(image, turns) for turns, image in enumerate(images)]
    np.testing.assert_allclose(got, expected, atol=2e-2)


def test_any_rotation_equals_scipy_with_mirrored_borders():
    image, (height, width), angle, size = _noise((1, 30, 30, 3)), (30, 22), 0.7, 15
    top, left, h, w = crop = (3, 5, 24, 15)
    v = ((np.arange(size) + 0.5) / size - 0.5)[:, None] * h
    u = ((np.arange(size) + 0.5) / size - 0.5)[None] * w
    y = top + h / 2 + math.sin(angle) * u + math.cos(angle) * v - 0.5
    x = left + w / 2 + math.cos(angle) * u - math.sin(angle) * v - 0.5
    assert x.min() < 0 and x.max() > width - 1  # the mirror is needed
    valid = image[0, :height, :width].astype(float)
    expected = [
        ndimage.map_coordinates(valid[..., c], [y, x], order=1, mode="reflect") for c in range(3)
    ]
    got = _warp(image, [(height, width)], [crop], size, angles=jnp.array([angle]))[0]
    np.testing.assert_allclose(got, np.moveaxis(expected, 0, -1), atol=2e-2)


def test_supersampling_comes_closer_to_the_area_average():
    image = _noise((1, 48, 48, 3))
    area = image.reshape(16, 3, 16, 3, 3).mean((1, 3))
    assert augment.default_samples(48, 16) == 2
    assert augment.default_samples(160, 128) == augment.default_samples(32, 16) == 1
    assert augment.default_samples(512, 96) == 3
    whole = [(0, 0, 48, 48)]
    error = [np.abs(_warp(image, [(48, 48)], whole, 16, samples=n) - area).mean() for n in (1, 2)]
    assert error[1] < 0.4 * error[0]


def test_without_randomness_it_is_a_plain_resize_and_normalisation():
    images = _noise((2, 20, 20, 3))
    still = dict(crop_scale=(1, 1), crop_ratio=(1, 1), flip_horizontal=0)
    for size in (20, 33):
        got = _apply(Augmentation(size, **still, **_GEOMETRY), images)
        expected = np.empty((2, size, size, 3))
        for i, c in np.ndindex(2, 3):
            plane = Image.fromarray(images[i, ..., c].astype(np.float32))
            expected[i, ..., c] = plane.resize((size, size), Image.Resampling.BILINEAR)
        expected = (expected / 255 - augment.IMAGENET_MEAN) / augment.IMAGENET_STD
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=2e-4)


@pytest.mark.parametrize(
    "adjust, enhance",
    [
        (color.adjust_brightness, ImageEnhance.Brightness),
        (color.adjust_contrast, ImageEnhance.Contrast),
        (color.adjust_saturation, ImageEnhance.Color),
    ],
)
def test_blends_equal_pillow_to_its_rounding(adjust, enhance):
    images, factors = _noise((4, 16, 16, 3)), [0.3, 0.8, 1.0, 1.7]
    planes = jnp.moveaxis(jnp.asarray(images, jnp.float32) / 255, -1, 0)
    got = jax.jit(adjust)(planes, jnp.array(factors))
    for i, factor in enumerate(factors):
        expected = np.asarray(enhance(Image.fromarray(images[i])).enhance(factor), float)
        np.testing.assert_allclose(255 * np.moveaxis(got[:, i], 0, -1), expected, atol=1.6)
    np.testing.assert_array_equal(got[:, 2], planes[:, 2])


def test_contrast_and_saturation_to_float_accuracy():
    planes, factors = _planes(), np.array([0.4, 1.3, 1.0], np.float32)[:, None, None]
    gray = 0.2989 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    for adjust, other in (
        (color.adjust_contrast, gray.mean((1, 2), keepdims=True)),
        (color.adjust_saturation, gray),
    ):
        expected = np.clip(factors * planes + (1 - factors) * other, 0, 1)
        got = adjust(jnp.asarray(planes), jnp.asarray(factors[:, 0, 0]))
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_hue_equals_colorsys():
    planes, shifts = _planes(batch=5, size=8), [-0.5, -0.1, 0.0, 0.07, 0.5]
    planes[:, :, 0, 0] = 0.3  # gray has no hue
    planes[:, :, 0, 1] = 0  # nor has black
    planes[:2, :, 0, 2] = planes[:2, :, 0, 2].max()  # two channels tie
    got = np.asarray(jax.jit(color.adjust_hue)(jnp.asarray(planes), jnp.array(shifts)))
    for i, y, x in np.ndindex(5, 8, 8):
        h, s, v = colorsys.rgb_to_hsv(*planes[:, i, y, x].tolist())
        expected = colorsys.hsv_to_rgb((h + shifts[i]) % 1, s, v)
        np.testing.assert_allclose(got[:, i, y, x], expected, atol=2e-6)
    np.testing.assert_array_equal(got[:, 2], planes[:, 2])


def test_blur_equals_scipy_and_spares_the_rest():
    planes, sigmas = _planes(batch=4), [0.0, 0.1, 1.0, 2.0]
    got = np.asarray(jax.jit(color.gaussian_blur)(jnp.asarray(planes), jnp.array(sigmas)))
    np.testing.assert_array_equal(got[:, 0], planes[:, 0])
    for i, sigma in enumerate(sigmas[1:], 1):
        expected = ndimage.gaussian_filter(
            planes[:, i].astype(float), sigma, axes=(1, 2), mode="mirror", radius=6
        )
        np.testing.assert_allclose(got[:, i], expected, atol=1e-6)
    with pytest.raises(ValueError, match="radius 20 px"):
        color.gaussian_blur(jnp.asarray(planes), jnp.array(sigmas), radius=20)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_jitter_applies_its_parts_in_the_given_order(order):
    planes, factors = jnp.asarray(_planes()), jnp.array([0.6, 1.0, 1.4])
    parts = [
        (color.adjust_brightness, factors),
        (color.adjust_contrast, factors[::-1]),
        (color.adjust_saturation, factors),
        (color.adjust_hue, jnp.array([-0.1, 0.0, 0.1])),
    ]
    expected = planes
    for index in order:
        adjust, value = parts[index]
        expected = _jit(adjust)(expected, value)
    got = _jit(color.color_jitter)(planes, jnp.array(order), *(value for _, value in parts))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    two = color.color_jitter(planes, jnp.array([1, 0]), contrast=factors, hue=0 * factors)
    np.testing.assert_allclose(two, color.adjust_contrast(planes, factors), atol=1e-6)
    with pytest.raises(ValueError, match="3 adjustments"):
        color.color_jitter(planes, jnp.arange(4), *(value for _, value in parts[:3]))


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


_jit_crops = jax.jit(augment.sample_crops, static_argnames=("scale", "ratio"), **_QUICK)


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


def _share_within(share, probability, count):
    return abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def test_every_operation_happens_as_often_as_asked():
    """Draws have fixed places, so a run with the operation off tells which images had it."""
    count, images = 2000, np.repeat(_noise((1, 8, 8, 3)), 2000, axis=0)
    off = dict(crop_scale=(1, 1), crop_ratio=(1, 1), flip_horizontal=0, **_GEOMETRY, **_RAW)
    plain = _apply(Augmentation(8, **off), images)
    for change, probability in (
        (dict(blur_probability=0.5, blur_sigma=(1, 2)), 0.5),
        (dict(jitter_probability=0.8), 0.8),
        (dict(grayscale_probability=0.2), 0.2),
    ):
        changed = (_apply(Augmentation(8, **(off | change)), images) != plain).any((1, 2, 3))
        assert _share_within(changed.mean(), probability, count), (change, changed.mean())
        # Those left out are bit for bit what they were, or all would have changed.


def test_flips_are_independent_and_as_frequent_as_asked():
    count, images = 2000, np.repeat(_noise((1, 4, 4, 3)), 2000, axis=0)
    still = dict(crop_scale=(1, 1), crop_ratio=(1, 1), **_GEOMETRY, **_RAW)
    views = _apply(Augmentation(4, flip_horizontal=0.5, flip_vertical=0.3, **still), images)
    whole = images[0] / 255
    forms = [whole, whole[:, ::-1], whole[::-1], whole[::-1, ::-1]]
    equal = np.array([np.isclose(views, form, atol=1e-5).all((1, 2, 3)) for form in forms])
    assert (equal.sum(0) == 1).all()
    for form, probability in zip(equal, (0.35, 0.35, 0.15, 0.15), strict=True):
        assert _share_within(form.mean(), probability, count)


def test_strengths_span_torchvisions_intervals():
    count, images = 1000, np.full((1000, 2, 2, 3), 100, np.uint8)
    off = _GEOMETRY | dict(jitter_probability=1, contrast=0, saturation=0, hue=0) | _RAW
    for strength, low, high in ((0.4, 0.6, 1.4), (1.5, 0.0, 2.5)):
        views = _apply(Augmentation(2, brightness=strength, **off), images)
        factors = views[:, 0, 0, 0] / (100 / 255)
        assert stats.kstest(factors, stats.uniform(low, high - low).cdf).pvalue > 1e-3, count
    images[:] = (200, 100, 100)  # hue 0, so that the shift is the new hue
    off = off | dict(brightness=0, hue=0.1)
    pixels = _apply(Augmentation(2, **off), images)[:, 0, 0].tolist()
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels])
    hues = (hues + 0.5) % 1 - 0.5
    assert stats.kstest(hues, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3


def test_rotation_spans_its_interval():
    ramp = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[None, :, None], 40, axis=0)
    images = np.tile(ramp[None], (500, 1, 1, 3))
    still = dict(crop_scale=(0.05, 0.05), crop_ratio=(1, 1), flip_horizontal=0)
    views = _apply(Augmentation(4, rotation=30, **still, **_GEOMETRY, **_RAW), images)[..., 0]
    right = (views[:, :, 3] - views[:, :, 0]).mean(1)
    down = (views[:, 3] - views[:, 0]).mean(1)
    angles = np.degrees(np.arctan2(down, right))
    assert abs(angles).max() < 31 and angles.min() < -25 and angles.max() > 25
    assert abs(angles.mean()) < 4 * 30 / math.sqrt(3 * 500)


_FULL = Augmentation(16, rotation=180, flip_vertical=0.5)


@pytest.mark.parametrize("size", [20, 40])
def test_padding_never_leaks(size):
    """Also at strong reductions, where several samples are averaged (buffer 40, output 16)."""
    images, sizes = _noise((4, size, size, 3)), np.array([(size, 9), (7, size), (11, 13), (1, 2)])
    inside = np.arange(size)[:, None] < sizes[:, None, None, 0]
    inside = inside & (np.arange(size) < sizes[:, None, None, 1])
    views = [
        _apply(_FULL, np.where(inside[..., None], images, filler), sizes)
        for filler in (0, 255, _noise((4, size, size, 3), seed=9))
    ]
    np.testing.assert_array_equal(views[0], views[1])
    np.testing.assert_array_equal(views[0], views[2])


def test_an_image_draws_by_its_position_in_the_global_batch():
    images = _noise((8, 20, 20, 3))
    whole = _apply(_FULL, images)
    halves = [_apply(_FULL, images[i : i + 4], positions=range(i, i + 4)) for i in (0, 4)]
    np.testing.assert_allclose(np.concatenate(halves), whole, atol=1e-4)
    repeated = _apply(_FULL, np.repeat(images[:1], 8, axis=0))
    assert all((repeated[0] != other).any() for other in repeated[1:])


def test_eight_devices_draw_what_one_draws():
    images = _noise((8, 20, 20, 3))
    batch = np.arange(8), images, np.full((8, 2), 20)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("batch")
    spread = jax.shard_map(
        _FULL, mesh=mesh, in_specs=(PartitionSpec(), split, split, split), out_specs=split
    )
    got = jax.jit(spread)(jax.random.key(3), *batch)
    np.testing.assert_allclose(got, _apply(_FULL, images, key=3), atol=1e-4)


def test_the_key_decides():
    images = _noise((4, 20, 20, 3))
    np.testing.assert_array_equal(_apply(_FULL, images, key=1), _apply(_FULL, images, key=1))
    assert (_apply(_FULL, images, key=1) != _apply(_FULL, images, key=2)).any((1, 2, 3)).all()


def test_what_is_off_is_not_in_the_program():
    def program(**options):
        batch = jnp.arange(2), jnp.zeros((2, 20, 20, 3), jnp.uint8), jnp.full((2, 2), 20)
        return str(jax.make_jaxpr(Augmentation(16, **options))(jax.random.key(0), *batch))

    assert " cond[" in program() and " sort[" in program()
    for off in (
        _GEOMETRY,
        _GEOMETRY
        | dict(jitter_probability=1)
        | dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0),
    ):
        lean = program(**off)
        assert " cond[" not in lean and " sort[" not in lean and " cos" not in lean
        assert len(lean) < 0.6 * len(program())
    assert " cos" in program(rotation=10, **_GEOMETRY)


def test_empty_examples_stay_finite():
    views = _apply(_FULL, _noise((4, 20, 20, 3)), sizes=[(0, 0), (1, 1), (1, 20), (20, 1)])
    assert np.isfinite(views).all()


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("image_size", 0, "image_size 0"),
        ("image_size", 1.5, "image_size 1.5"),
        ("crop_scale", (0.0, 1.0), r"crop_scale \(0.0, 1.0\)"),
        ("crop_scale", (0.2, 1.2), r"\(0, 1\]"),
        ("crop_scale", (0.9, 0.2), "low before high"),
        ("crop_scale", 0.5, "crop_scale 0.5 must have 2 numbers"),
        ("crop_ratio", (0, 1), r"crop_ratio \(0, 1\)"),
        ("crop_ratio", (1, math.inf), "crop_ratio"),
        ("flip_horizontal", 1.1, "flip_horizontal 1.1"),
        ("flip_vertical", -0.1, "flip_vertical -0.1"),
        ("rotation", 181, "rotation 181"),
        ("rotation", -5, "rotation -5"),
        ("brightness", -1, "brightness -1"),
        ("contrast", math.nan, "contrast nan"),
        ("saturation", math.inf, "saturation inf"),
        ("hue", 0.6, "hue 0.6"),
        ("jitter_probability", 2, "jitter_probability 2"),
        ("grayscale_probability", -1, "grayscale_probability -1"),
        ("blur_probability", 1.5, "blur_probability 1.5"),
        ("blur_sigma", (0, 2), r"blur_sigma \(0, 2\)"),
        ("blur_sigma", (0.1, 9.0), "reaches 27 px.*image_size 16"),
        ("mean", (0.5, 0.5), "3 numbers"),
        ("mean", (0.5, 0.5, math.nan), "mean .*nan"),
        ("std", (0.2, 0, 0.2), r"std \(0.2, 0, 0.2\)"),
    ],
)
def test_invalid_settings_name_the_value_and_the_bound(field, value, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**(dict(image_size=16) | {field: value}))


def test_lists_of_a_config_file_become_tuples():
    built = Augmentation(16, crop_scale=[0.2, 1.0], mean=list(augment.IMAGENET_MEAN))
    assert built == Augmentation(16) and hash(built) == hash(Augmentation(16))


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(images=jnp.zeros((2, 20, 20, 3))), "images are float32"),
        (dict(images=jnp.zeros((2, 20, 18, 3), jnp.uint8)), "images have shape"),
        (dict(sizes=jnp.ones((2,), int)), "sizes have shape"),
        (dict(positions=jnp.arange(3)), "positions have shape"),
    ],
)
def test_batches_that_do_not_fit_are_refused(change, words):
    batch = dict(
        positions=jnp.arange(2),
        images=jnp.zeros((2, 20, 20, 3), jnp.uint8),
        sizes=jnp.full((2, 2), 20),
    )
    with pytest.raises(ValueError, match=words):
        Augmentation(16)(jax.random.key(0), **(batch | change))


def test_normalize():
    images = _noise((2, 4, 5, 3))
    expected = (images / 255 - np.array(augment.IMAGENET_MEAN)) / np.array(augment.IMAGENET_STD)
    for given in (images, (images / 255).astype(np.float32)):
        got = augment.normalize(given)
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, atol=1e-6)
    half = augment.normalize(jnp.asarray(images / 255, jnp.bfloat16))
    assert half.dtype == jnp.float32
    with pytest.raises(ValueError, match="int32"):
        augment.normalize(images.astype(np.int32))
    with pytest.raises(ValueError, match="shape"):
        augment.normalize(images[0])
