"""Random views of photographs, drawn on the device: MoCo-v2's augmentation and fine-tuning's.

MoCo-v2 (Chen et al. 2020, arXiv:2003.04297): random resized crop, colour jitter, grayscale, blur,
flip. Crop, flip and rotation are one bilinear warp, so pixels are read once, and what is switched
off costs nothing. Randomness belongs to an image's index in the GLOBAL batch, so a batch that is
divided over devices draws what it draws on one device.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dermjax.data.color import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    color_jitter,
    gaussian_blur,
    grayscale,
    normalize,
)

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Augmentation", "normalize", "sample_crops", "warp"]

_TRIES = 10  # torchvision's number of attempts at a crop that fits

# Every random number of an image has a fixed place, so that switching one operation off leaves
# the draws of the others as they were.
_DRAWS = (
    *("top", "left", "flip_horizontal", "flip_vertical", "rotation"),
    *("jitter", "brightness", "contrast", "saturation", "hue"),
    *("grayscale", "blur", "sigma"),
)
_JITTERS = ("brightness", "contrast", "saturation", "hue")


class Pose(NamedTuple):
    """How crops are turned and mirrored; None: none ever is."""

    mirror: jax.Array | None = None  # bool [B], left and right
    upend: jax.Array | None = None  # bool [B], top and bottom
    angles: jax.Array | None = None  # [B] in radians, counter-clockwise, before the flips


UPRIGHT = Pose()


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random view of every image of a batch; the defaults are MoCo-v2's.

    Frozen and hashable, so it can be closed over by a jitted step or be a static argument.

    Raises:
        ValueError: when it is built with a value out of range; the message names the bound.
    """

    # Side of the square output in px. MoCo-v2: 224 (the paper's authors: 380).
    image_size: int
    # Share of the image's area that a crop covers. MoCo-v2: .2 to 1.
    crop_scale: tuple[float, float] = (0.2, 1.0)
    # Width over height of a crop, log-uniform. MoCo-v2: 3/4 to 4/3.
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    # Probability of mirroring left and right. MoCo-v2: .5.
    flip_horizontal: float = 0.5
    # Probability of mirroring top and bottom. MoCo-v2: 0; lesions have no upright, so .5 is sound.
    flip_vertical: float = 0.0
    # Degrees; a crop is turned about its centre by an angle uniform in +-rotation. MoCo-v2: 0.
    rotation: float = 0.0
    # Brightness factor is uniform in [max(0, 1 - b), 1 + b]. MoCo-v2: .4.
    brightness: float = 0.4
    # Contrast factor, likewise. MoCo-v2: .4.
    contrast: float = 0.4
    # Saturation factor, likewise. MoCo-v2: .4.
    saturation: float = 0.4
    # Turns of the colour circle, uniform in +-hue. MoCo-v2: .1.
    hue: float = 0.1
    # Probability that an image gets the four adjustments above. MoCo-v2: .8.
    jitter_probability: float = 0.8
    # Probability that an image loses its colour. MoCo-v2: .2.
    grayscale_probability: float = 0.2
    # Probability of a Gaussian blur. MoCo-v2: .5.
    blur_probability: float = 0.5
    # Standard deviation of that blur in px of the OUTPUT, uniform. MoCo-v2: .1 to 2 at 224 px.
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    # Channel means of the normalisation, of pixels in [0, 1]. MoCo-v2: ImageNet's.
    mean: tuple[float, float, float] = IMAGENET_MEAN
    # Channel standard deviations, of pixels in [0, 1]. MoCo-v2: ImageNet's.
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self):
        for name, length in dict(crop_scale=2, crop_ratio=2, blur_sigma=2, mean=3, std=3).items():
            _freeze_tuple(self, name, length)
        if not (isinstance(self.image_size, int) and self.image_size >= 1):
            raise ValueError(f"image_size {self.image_size!r} must be an integer of at least 1 px")
        for name in ("flip_horizontal", "flip_vertical"):
            _check_number(self, name, 0, 1, "a probability")
        for name in ("jitter", "grayscale", "blur"):
            _check_number(self, f"{name}_probability", 0, 1, "a probability")
        for name in ("brightness", "contrast", "saturation"):
            _check_number(self, name, 0, math.inf, "0 switches it off")
        _check_number(self, "hue", 0, 0.5, "in turns, so .5 already covers the whole circle")
        _check_number(self, "rotation", 0, 180, "in degrees, to either side")
        _check_range(self, "crop_scale", 1, "shares of the image's area")
        _check_range(self, "crop_ratio", math.inf, "width over height")
        _check_range(self, "blur_sigma", math.inf, "in px; blur_probability=0 switches blur off")
        if not all(value > 0 and math.isfinite(value) for value in self.std):
            raise ValueError(f"std {self.std} must be above 0; use 1.0 to leave a channel unscaled")
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"mean {self.mean} must be finite; 0.0 leaves a channel as it is")
        if self.blur_probability > 0 and self._blur_radius >= self.image_size:
            raise ValueError(
                f"blur_sigma {self.blur_sigma} reaches {self._blur_radius} px, which must be below"
                f" image_size {self.image_size}; lower blur_sigma or set blur_probability=0"
            )

    @property
    def _blur_radius(self):
        """Three sigma in px: the 13 taps of MoCo-v2's sigma 2."""
        return math.ceil(3 * self.blur_sigma[1])

    def __call__(self, key, positions, images, sizes):
        """Draws one view of every image. Pure, and free to be jitted, vmapped or sharded.

        Args:
            key: one key for the whole global batch; two views need two keys.
            positions: int32 `[B]`, the index of every image in the global batch.
            images: uint8 `[B, S, S, 3]`, each valid in its top left corner.
            sizes: int32 `[B, 2]`, height and width of the valid part in px, in [1, S]. The rest is
                never read into a view. A size below 1 counts as 1 (a padded example).

        Returns:
            `[B, image_size, image_size, 3]` float32, normalised with mean and std.

        Raises:
            ValueError: at trace time, if a shape or dtype does not fit.
        """
        _check_batch(positions, images, sizes)
        order_key, image_key = jax.random.split(key)
        tries, draws = _draw(image_key, positions)
        planes = self._geometry(tries, draws, images, sizes)
        planes = self._jitter(order_key, draws, planes)
        if self.grayscale_probability > 0:
            planes = grayscale(planes, draws["grayscale"] < self.grayscale_probability)
        if self.blur_probability > 0:
            low, high = self.blur_sigma
            sigma = low + (high - low) * draws["sigma"]
            sigma = jnp.where(draws["blur"] < self.blur_probability, sigma, 0)
            planes = gaussian_blur(planes, sigma, self._blur_radius)
        return normalize(jnp.moveaxis(planes, 0, -1), self.mean, self.std)

    def _geometry(self, tries, draws, images, sizes):
        """Crop, flips and rotation: `[3, B, image_size, image_size]` in [0, 1]."""
        places = draws["top"], draws["left"]
        crops = sample_crops(tries, *places, sizes, self.crop_scale, self.crop_ratio)
        angles = None
        if self.rotation > 0:
            angles = math.radians(self.rotation) * (2 * draws["rotation"] - 1)
        return warp(
            images,
            sizes,
            crops,
            self.image_size,
            Pose(
                mirror=self._chosen(draws, "flip_horizontal"),
                upend=self._chosen(draws, "flip_vertical"),
                angles=angles,
            ),
            samples=default_samples(images.shape[1], self.image_size),
        )

    def _chosen(self, draws, name):
        """Which images `[B]` get a flip, or None when none ever does."""
        probability = getattr(self, name)
        return draws[name] < probability if probability > 0 else None

    def _jitter(self, key, draws, planes):
        """The colour adjustments that are on, in one random order for the batch."""
        names = [name for name in _JITTERS if getattr(self, name) > 0]
        if not names or self.jitter_probability == 0:
            return planes
        chosen = draws["jitter"] < self.jitter_probability
        factors = {}
        for name in names:
            strength, neutral = getattr(self, name), 0.0 if name == "hue" else 1.0
            low = -strength if name == "hue" else max(0.0, 1 - strength)
            factor = low + (neutral + strength - low) * draws[name]
            factors[name] = jnp.where(chosen, factor, neutral)
        # Drawn from the batch's key alone, so all devices agree on the order.
        order = jnp.argsort(jax.random.uniform(key, (len(names),)))
        return color_jitter(planes, order, **factors)


def sample_crops(tries, top, left, sizes, scale, ratio):
    """Turns uniform numbers into random resized crops with torchvision's distribution.

    `RandomResizedCrop.get_params`: the first of the tries that fits into the image, otherwise the
    largest centred crop whose ratio is within bounds.

    Args:
        tries: `[B, 2, T]` uniform in [0, 1): areas and log-ratios of T attempts.
        top: `[B]` uniform in [0, 1), the vertical place.
        left: `[B]` uniform in [0, 1), the horizontal place.
        sizes: int32 `[B, 2]`, height and width of the valid part in px.
        scale: (low, high) share of the area.
        ratio: (low, high) width over height.

    Returns:
        int32 `[B, 4]`: top, left, height, width in px, all within the valid part.
    """
    sizes = jnp.maximum(sizes, 1).astype(jnp.float32)
    height, width = sizes[:, 0], sizes[:, 1]
    area = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * tries[:, 0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = jnp.exp(low + (high - low) * tries[:, 1])
    widths = jnp.round(jnp.sqrt(area * aspect))
    heights = jnp.round(jnp.sqrt(area / aspect))
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])
    first = jnp.argmax(fits, axis=1)[:, None]

    found = fits.any(1)
    fallback_height = jnp.where(width < ratio[0] * height, jnp.round(width / ratio[0]), height)
    fallback_width = jnp.where(width > ratio[1] * height, jnp.round(height * ratio[1]), width)
    crop_height = jnp.take_along_axis(heights, first, axis=1)[:, 0]
    crop_width = jnp.take_along_axis(widths, first, axis=1)[:, 0]
    # At least 1 px: an extreme ratio of a tiny image rounds its fallback to nothing.
    crop_height = jnp.maximum(jnp.where(found, crop_height, fallback_height), 1)
    crop_width = jnp.maximum(jnp.where(found, crop_width, fallback_width), 1)

    def place(share, room):
        spread = jnp.minimum(jnp.floor(share * (room + 1)), room)  # torch.randint(0, room + 1)
        return jnp.where(found, spread, jnp.floor(room / 2))

    corners = [place(top, height - crop_height), place(left, width - crop_width)]
    return jnp.stack([*corners, crop_height, crop_width], axis=1).astype(jnp.int32)


def default_samples(source, target):
    """Number of bilinear samples per output pixel and axis, for buffers of side `source` px.

    One sample reads a stretch of two source pixels, so up to a reduction by two none is skipped;
    n samples keep that up to 2 n, at n * n times the cost of the warp. Measured on skin photographs
    against an area-weighted resize: root mean square error of 1 gray level (of 255) at a reduction
    by two; at three 2.5 with one sample and .8 with two.

    Args:
        source: side S of the image buffer in px; real crops are smaller.
        target: side of the output in px.

    Returns:
        n >= 1.
    """
    return max(1, math.ceil(source / target / 2))


def warp(images, sizes, crops, size, pose=UPRIGHT, samples=1):
    """Reads rotated and mirrored crops out of images, resized bilinearly, in one pass.

    Pixel centres are at half-integers (align_corners=False). A crop is turned about its centre;
    what lies outside the valid part is its mirror image (d c b a | a b c d), so a crop of the whole
    image equals a plain resize. At an inner edge of a crop the real neighbour is read, where
    cropping before resizing would repeat the last pixel.

    Args:
        images: uint8 `[B, S, S, 3]`.
        sizes: int32 `[B, 2]`, height and width of the valid part in px.
        crops: int32 `[B, 4]`: top, left, height, width in px.
        size: side of the output in px.
        pose: how each crop is turned and mirrored.
        samples: bilinear samples per output pixel and axis, averaged (see `default_samples`).

    Returns:
        `[3, B, size, size]` float32 in [0, 1], the colour planes.
    """
    packed = _pack_neighbours(images)
    sizes = jnp.maximum(sizes, 1).astype(jnp.float32)
    crops = crops.astype(jnp.float32)
    total = 0
    for row in range(samples):
        for column in range(samples):
            down = _offsets(size, (row + 0.5) / samples, crops[:, 2], pose.upend)[:, :, None]
            right = _offsets(size, (column + 0.5) / samples, crops[:, 3], pose.mirror)[:, None, :]
            if pose.angles is not None:
                cos = jnp.cos(pose.angles)[:, None, None]
                sin = jnp.sin(pose.angles)[:, None, None]
                down, right = sin * right + cos * down, cos * right - sin * down
            # Without rotation these stay [B, size, 1] and [B, 1, size]: nearly free.
            y = down + (crops[:, 0] + crops[:, 2] / 2)[:, None, None]
            x = right + (crops[:, 1] + crops[:, 3] / 2)[:, None, None]
            y, x = _reflect(y, sizes[:, 0]), _reflect(x, sizes[:, 1])
            total += _read(packed, images.shape[1], y, x)
    return total / (255 * samples**2)


def _offsets(size, phase, extent, flip):
    """Distances `[B, size]` in source px of the samples from the centre of the crop."""
    steps = jnp.arange(size, dtype=jnp.float32) + (phase - size / 2)
    extent = extent / size
    if flip is not None:
        extent = jnp.where(flip, -extent, extent)
    return steps * extent[:, None]


def _reflect(place, size):
    """Folds places in px into [0, size]; returns the pixel before and the share of the next."""
    size = size[:, None, None]
    place = place - 2 * size * jnp.floor(place / (2 * size))
    place = size - jnp.abs(size - place)
    place = jnp.clip(place - 0.5, 0, size - 1)
    pixel = jnp.floor(place)
    return pixel.astype(jnp.int32), place - pixel


def _pack_neighbours(images):
    """Packs every pixel with its right, lower and diagonal neighbour: uint32 `[3, B, S * S]`.

    A bilinear tap is then one read per channel instead of four: 1.4 to 2x faster than
    gathering pixels, although this pass touches the whole buffer.
    """
    # Neighbours past the end are zero. They are never used: the last pixel's next has share 0.
    p = jnp.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0))).astype(jnp.uint32)
    p = jnp.moveaxis(p, -1, 0)
    here, right = p[..., :-1, :-1], p[..., :-1, 1:]
    below, diagonal = p[..., 1:, :-1], p[..., 1:, 1:]
    packed = here | right << 8 | below << 16 | diagonal << 24
    return packed.reshape(*packed.shape[:2], -1)


def _read(packed, stride, y, x):
    """Bilinear values `[3, B, H, W]` in [0, 255] at the (pixel, share) pairs y and x."""
    (row, down), (column, right) = y, x
    index = row * stride + column
    shape, index = index.shape, index.reshape(index.shape[0], -1)
    four = jnp.stack(
        [jnp.take_along_axis(p, index, axis=1, mode="promise_in_bounds") for p in packed]
    ).reshape(3, *shape)
    a, b, c, d = ((four >> shift & 255).astype(jnp.float32) for shift in (0, 8, 16, 24))
    upper, lower = a + (b - a) * right, c + (d - c) * right
    return upper + (lower - upper) * down


def _draw(key, positions):
    """Uniform numbers of every image: tries `[B, 2, T]` and a dict of name -> `[B]`."""
    count = 2 * _TRIES + len(_DRAWS)

    def of_image(position):
        return jax.random.uniform(jax.random.fold_in(key, position), (count,))

    numbers = jax.vmap(of_image)(positions)
    tries = numbers[:, : 2 * _TRIES].reshape(-1, 2, _TRIES)
    return tries, dict(zip(_DRAWS, numbers[:, 2 * _TRIES :].T, strict=True))


def _check_batch(positions, images, sizes):
    """Raises if the shapes or the dtype of a batch do not fit together."""
    if images.dtype != jnp.uint8:
        raise ValueError(f"images are {images.dtype}; pass uint8 in [0, 255]")
    batch, side = images.shape[:2]
    if images.shape != (batch, side, side, 3):
        raise ValueError(f"images have shape {images.shape}; pad them to [B, S, S, 3]")
    if sizes.shape != (batch, 2):
        raise ValueError(f"sizes have shape {sizes.shape}; expected ({batch}, 2), height and width")
    if positions.shape != (batch,):
        raise ValueError(
            f"positions have shape {positions.shape}; expected ({batch},), one index per image"
        )


def _freeze_tuple(config, name, length):
    """Turns a list of a config file into a tuple, so that the dataclass stays hashable."""
    value = getattr(config, name)
    if not isinstance(value, (tuple, list)) or len(value) != length:
        raise ValueError(f"{name} {value!r} must have {length} numbers")
    object.__setattr__(config, name, tuple(value))


def _check_number(config, name, low, high, remedy):
    """Raises unless low <= value <= high (NaN raises too)."""
    value = getattr(config, name)
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(f"{name} {value} must lie in [{low}, {high}]: {remedy}")


def _check_range(config, name, high, remedy):
    """Raises unless 0 < first <= second <= high (NaN raises too)."""
    first, second = getattr(config, name)
    if not (0 < first <= second <= high and math.isfinite(second)):
        raise ValueError(
            f"{name} ({first}, {second}) must rise within (0, {high}], low before high: {remedy}"
        )
