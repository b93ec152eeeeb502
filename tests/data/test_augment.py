"""The augmentation as a whole: padding, devices, keys, settings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from dermjax.data import augment
from dermjax.data.augment import Augmentation
from tests.data.views import GEOMETRY, apply, noise

_FULL = Augmentation(16, rotation=180, flip_vertical=0.5)


@pytest.mark.parametrize("size", [20, 40])
def test_padding_never_leaks(size):
    """Also at strong reductions, where several samples are averaged (buffer 40, output 16)."""
    images, sizes = noise((4, size, size, 3)), np.array([(size, 9), (7, size), (11, 13), (1, 2)])
    inside = np.arange(size)[:, None] < sizes[:, None, None, 0]
    inside = inside & (np.arange(size) < sizes[:, None, None, 1])
    views = [
        apply(_FULL, np.where(inside[..., None], images, filler), sizes)
        for filler in (0, 255, noise((4, size, size, 3), seed=9))
    ]
    np.testing.assert_array_equal(views[0], views[1])
    np.testing.assert_array_equal(views[0], views[2])


def test_an_image_draws_by_its_position_in_the_global_batch():
    images = noise((8, 20, 20, 3))
    whole = apply(_FULL, images)
    halves = [apply(_FULL, images[i : i + 4], positions=range(i, i + 4)) for i in (0, 4)]
    np.testing.assert_allclose(np.concatenate(halves), whole, atol=1e-4)
    repeated = apply(_FULL, np.repeat(images[:1], 8, axis=0))
    assert all((repeated[0] != other).any() for other in repeated[1:])


def test_eight_devices_draw_what_one_draws():
    images = noise((8, 20, 20, 3))
    batch = np.arange(8), images, np.full((8, 2), 20)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("batch")
    spread = jax.shard_map(
        _FULL, mesh=mesh, in_specs=(PartitionSpec(), split, split, split), out_specs=split
    )
    got = jax.jit(spread)(jax.random.key(3), *batch)
    np.testing.assert_allclose(got, apply(_FULL, images, key=3), atol=1e-4)


def test_the_key_decides():
    images = noise((4, 20, 20, 3))
    np.testing.assert_array_equal(apply(_FULL, images, key=1), apply(_FULL, images, key=1))
    assert (apply(_FULL, images, key=1) != apply(_FULL, images, key=2)).any((1, 2, 3)).all()


def test_what_is_off_is_not_in_the_program():
    def program(**options):
        batch = jnp.arange(2), jnp.zeros((2, 20, 20, 3), jnp.uint8), jnp.full((2, 2), 20)
        return str(jax.make_jaxpr(Augmentation(16, **options))(jax.random.key(0), *batch))

    assert " cond[" in program() and " sort[" in program()
    for off in (
        GEOMETRY,
        GEOMETRY
        | dict(jitter_probability=1)
        | dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0),
    ):
        lean = program(**off)
        assert " cond[" not in lean and " sort[" not in lean and " cos" not in lean
        assert len(lean) < 0.6 * len(program())
    assert " cos" in program(rotation=10, **GEOMETRY)


def test_empty_examples_stay_finite():
    views = apply(_FULL, noise((4, 20, 20, 3)), sizes=[(0, 0), (1, 1), (1, 20), (20, 1)])
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
    images = noise((2, 4, 5, 3))
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
