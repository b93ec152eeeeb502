"""Colour operations on batches of images in JAX: jitter, grayscale, blur, normalisation.

Images are planar here, `[3, B, H, W]` float32 in [0, 1]: red, green and blue are then whole arrays,
so that every operation is one elementwise loop over contiguous memory (HSV on `[..., 3]` is 3x
slower). Factors are per image, `[B]`; a neutral factor returns its image bit for bit.
"""

import jax
import jax.numpy as jnp

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# ITU-R 601 luma with torchvision's digits; they add up to .9999, and are kept for comparability.
_LUMA = (0.2989, 0.587, 0.114)


def normalize(images, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Subtracts the mean and divides by the standard deviation of every channel.

    Args:
        images: `[B, H, W, 3]`, uint8 in [0, 255] or floating point in [0, 1].
        mean: three channel means, in units of [0, 1].
        std: three channel standard deviations, in units of [0, 1], above 0.

    Returns:
        `[B, H, W, 3]` float32, about zero mean and unit variance on natural images.

    Raises:
        ValueError: if the images are neither uint8 nor floating point, or have no three channels.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images have shape {images.shape}; expected [B, H, W, 3]")
    if images.dtype == jnp.uint8:
        images = images.astype(jnp.float32) / 255
    elif not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images are {images.dtype}; pass uint8 in [0, 255] or floats in [0, 1]")
    mean, std = jnp.array(mean, jnp.float32), jnp.array(std, jnp.float32)
    return (images.astype(jnp.float32) - mean) / std


def luma(planes):
    """Returns the brightness `[B, H, W]` of `[3, B, H, W]` planes (ITU-R 601 weights)."""
    red, green, blue = planes
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _per_image(values):
    """Makes `[B]` values broadcast against `[B, H, W]`."""
    return values[:, None, None]


def _blend(planes, other, factor):
    """Mixes factor * planes + (1 - factor) * other, clipped to [0, 1]."""
    factor = _per_image(factor)
    return jnp.clip(factor * planes + (1 - factor) * other, 0, 1)


def adjust_brightness(planes, factor):
    """Scales the pixels, clipped to [0, 1] (torchvision's `adjust_brightness`).

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        factor: `[B]`, 0 black, 1 unchanged.

    Returns:
        `[3, B, H, W]` in [0, 1].
    """
    return jnp.clip(_per_image(factor) * planes, 0, 1)


def adjust_contrast(planes, factor):
    """Blends with the mean luma of the image (torchvision's `adjust_contrast` on floats).

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        factor: `[B]`, 0 uniform gray, 1 unchanged.

    Returns:
        `[3, B, H, W]` in [0, 1].
    """
    return _blend(planes, _per_image(luma(planes).mean((1, 2))), factor)


def adjust_saturation(planes, factor):
    """Blends with the luma of every pixel (torchvision's `adjust_saturation`).

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        factor: `[B]`, 0 grayscale, 1 unchanged.

    Returns:
        `[3, B, H, W]` in [0, 1].
    """
    return _blend(planes, luma(planes), factor)


def adjust_hue(planes, shift):
    """Turns the hue in HSV space, equal to torchvision's `adjust_hue` on floats.

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        shift: `[B]` in turns, [-0.5, 0.5]; 0 unchanged, 1/3 takes red to green.

    Returns:
        `[3, B, H, W]` in [0, 1].
    """
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1 / jnp.where(chroma == 0, 1, chroma)
    sixths = jnp.where(
        value == red,
        (green - blue) * scale,
        jnp.where(value == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    sixths = sixths + 6 * _per_image(shift)

    def channel(offset):
        # Smith's hexcone: a channel falls from value to value - chroma with its distance from
        # its own hue. floor, not %: float remainder is a slow library call on CPU.
        k = sixths + offset
        k = k - 6 * jnp.floor(k / 6)
        return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)

    turned = jnp.stack([channel(5), channel(3), channel(1)])
    return jnp.where(_per_image(shift) == 0, planes, turned)  # the round trip costs 1e-7


def color_jitter(planes, order, brightness=None, contrast=None, saturation=None, hue=None):
    """Applies the given adjustments one after the other in a given order.

    One order serves the whole batch: an order per image would compute every adjustment at every
    place, four times the work.

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        order: int32 `[n]`, a permutation of the n adjustments that are not None, counted in the
            sequence of the arguments.
        brightness: factors `[B]` or None to leave the adjustment out.
        contrast: factors `[B]` or None.
        saturation: factors `[B]` or None.
        hue: shifts `[B]` in turns or None.

    Returns:
        `[3, B, H, W]` in [0, 1].

    Raises:
        ValueError: if the order has not as many entries as there are adjustments.
    """
    given = [
        (adjust_brightness, brightness),
        (adjust_contrast, contrast),
        (adjust_saturation, saturation),
        (adjust_hue, hue),
    ]
    branches = [lambda x, f=f, v=v: f(x, v) for f, v in given if v is not None]
    if order.shape != (len(branches),):
        raise ValueError(f"order has shape {order.shape}; {len(branches)} adjustments are given")
    for place in range(len(branches)):
        planes = jax.lax.switch(order[place], branches, planes)
    return planes


def grayscale(planes, chosen):
    """Replaces the chosen images by their luma in all three channels.

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        chosen: bool `[B]`.

    Returns:
        `[3, B, H, W]` in [0, 1].
    """
    return jnp.where(_per_image(chosen), luma(planes), planes)


def gaussian_blur(planes, sigma, radius=6):
    """Blurs with a Gaussian per image, cut off at `radius` and renormalised; edges are mirrored.

    Equals torchvision's `gaussian_blur` with kernel_size = 2 * radius + 1. The two passes are sums
    of shifted images: on CPU 15x faster than a convolution, and one fused kernel each on a GPU.

    Args:
        planes: `[3, B, H, W]` in [0, 1].
        sigma: `[B]` in px; 0 leaves an image exactly as it is.
        radius: px, below H and W; three sigma keep 99.7 % of the Gaussian.

    Returns:
        `[3, B, H, W]` in [0, 1].

    Raises:
        ValueError: if the radius does not fit into the image.
    """
    if not 0 <= radius < min(planes.shape[2:]):
        raise ValueError(
            f"radius {radius} px must lie in [0, {min(planes.shape[2:])}) of images of shape"
            f" {planes.shape[2:]}; blur less or use larger images"
        )
    taps = jnp.arange(1, radius + 1, dtype=jnp.float32)
    safe = jnp.where(sigma > 0, sigma, 1)[:, None]
    side = jnp.where(sigma[:, None] > 0, jnp.exp(-0.5 * (taps / safe) ** 2), 0)
    total = 1 + 2 * side.sum(1, keepdims=True)
    centre, side = 1 / total, side / total
    for axis in (2, 3):
        size = planes.shape[axis]
        pads = [(radius, radius) if a == axis else (0, 0) for a in range(4)]
        padded = jnp.pad(planes, pads, mode="reflect")

        def shifted(offset, padded=padded, axis=axis, size=size):
            return jax.lax.slice_in_dim(padded, radius + offset, radius + offset + size, axis=axis)

        planes = _per_image(centre[:, 0]) * planes
        for k in range(1, radius + 1):
            pair = shifted(-k) + shifted(k)  # the kernel is symmetric: half the multiplications
            planes = planes + _per_image(side[:, k - 1]) * pair
    return planes
