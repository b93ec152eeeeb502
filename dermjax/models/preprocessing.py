"""What a network expects of its input: size, crop, interpolation, normalisation."""

import dataclasses
import math

import numpy as np
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic")
CROP_MODES = ("center", "squash")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How the images were made that a network was trained and tested on (timm's `pretrained_cfg`).

    Attributes:
        mean: Channel means of pixels in [0, 1].
        std: Channel standard deviations of pixels in [0, 1].
        interpolation: Of resizing, `bilinear` or `bicubic`, both antialiased.
        train_size: Side of the square training images, px.
        train_crop: Share of the shorter side that a central crop of `train_size` keeps, in (0, 1].
        test_size: Side at which the weights are best tested, px.
        test_crop: The share that goes with it.
        crop_mode: `center`: the square at the centre of an image that keeps its proportions;
            `squash`: the whole image, squeezed to the square, as a run of this project does.

    Raises:
        ValueError: When it is built with a value out of range.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"
    train_size: int = 224
    train_crop: float = 0.875
    test_size: int = 224
    test_crop: float = 0.875
    crop_mode: str = "center"

    def __post_init__(self):
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} {values} must be three finite numbers, one per channel")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be above 0; use 1.0 to leave a channel unscaled")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation {self.interpolation!r} is not one of {', '.join(INTERPOLATIONS)}"
            )
        if self.crop_mode not in CROP_MODES:
            raise ValueError(f"crop_mode {self.crop_mode!r} is not one of {', '.join(CROP_MODES)}")
        for name in ("train", "test"):
            size, crop = getattr(self, f"{name}_size"), getattr(self, f"{name}_crop")
            if size < 1 or not 0 < crop <= 1:
                raise ValueError(
                    f"{name}_size {size} must be at least 1 px and {name}_crop {crop} in (0, 1]"
                )

    def __call__(self, image) -> np.ndarray:
        """A photograph as the network is tested on it: resized, cropped or squeezed, normalised.

        Args:
            image: A Pillow image, or `[H, W, 3]` uint8.

        Returns:
            `[test_size, test_size, 3]` float32.
        """
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.asarray(image))
        image, side = image.convert("RGB"), self.test_size
        if self.crop_mode == "squash":
            return self._normalised(resized(np.asarray(image), side, self.interpolation))
        shorter = math.floor(side / self.test_crop)
        size = [int(shorter * n / min(image.size)) for n in image.size]
        image = image.resize(size, Image.Resampling[self.interpolation.upper()])
        left, top = (round((n - side) / 2) for n in image.size)
        return self._normalised(np.asarray(image.crop((left, top, left + side, top + side))))

    def _normalised(self, image: np.ndarray) -> np.ndarray:
        pixels = image.astype(np.float32) / 255
        return (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


def resized(pixels: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """`[h, w, 3]` uint8 -> `[size, size, 3]` uint8, squeezed and antialiased.

    Args:
        interpolation: `bilinear` or `bicubic`.
    """
    method = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(pixels).resize((size, size), method))
