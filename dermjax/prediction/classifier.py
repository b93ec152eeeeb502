"""A trained classifier for notebooks: a photograph in, an answer out."""

import dataclasses
import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dermjax.data import crops, images, pipeline
from dermjax.experiment import reference
from dermjax.experiment.reference import Reference
from dermjax.models.preprocessing import resized
from dermjax.prediction.calibration import Answers, Calibration, same_images, with_distances
from dermjax.prediction.ensemble import Member, members
from dermjax.prediction.table import UNFAMILIAR
from dermjax.training import parallel

Photograph = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is said of one photograph.

    Attributes:
      predicted: The likeliest class.
      probabilities: Calibrated, by class, the likeliest first.
      set: The classes of the prediction set, the likeliest first.
      flags: `unfamiliar`, or nothing.
      distance: Of the photograph's features to the training photographs' (Mahalanobis,
        squared; cosine, of a handful of training images).
    """

    predicted: str
    probabilities: dict[str, float]
    set: tuple[str, ...]
    flags: tuple[str, ...]
    distance: float


class Classifier:
    """Networks that answer together, and what their answers are calibrated by.

    Attributes:
      classes: Names, in the order of the networks' logits.
      calibration: Fitted on the runs' validation images.
    """

    def __init__(
        self, networks: Sequence[Member], references: Sequence[Reference], calibration: Calibration
    ):
        self.classes = networks[0].classes
        self.calibration = calibration
        self._networks, self._references = networks, references
        self._devices = parallel.all_devices()
        nobody = pipeline.Images([], pipeline.Reading())  # it is given its batches
        self._predictors = [one.predictor(self._devices, nobody, batch_size=1) for one in networks]

    def __call__(self, photograph: Photograph, box: Sequence[float] | None = None) -> Answer:
        """The answer on a photograph, or on a lesion in it.

        A file is read as those of training were. Of a large JPEG that is opened before, more is
        decoded than of the file, and probabilities may differ by some hundredths.

        Args:
          photograph: a path, a Pillow image, or `[H, W, 3]` or `[H, W]` uint8.
          box: (x, y, w, h) in px of the upright photograph; None for all of it.

        Raises:
          ValueError: it cannot be read, or the box lies outside.
          FileNotFoundError: no such file.
        """
        return self.answers([photograph], None if box is None else [box])[0]

    def answers(
        self,
        photographs: Sequence[Photograph],
        boxes: Sequence[Sequence[float] | None] | None = None,
    ) -> list[Answer]:
        """The answers on several, in one batch: as many as fit the memory.

        Raises:
          ValueError, FileNotFoundError: as for one.
        """
        if isinstance(photographs, str | os.PathLike | Image.Image):
            raise ValueError(
                "answers() takes a list of photographs; of one: classifier(photograph)"
            )
        if not len(photographs):
            return []
        given = [None] * len(photographs) if boxes is None else list(boxes)
        if len(given) != len(photographs):
            raise ValueError(
                f"{len(given)} boxes of {len(photographs)} photographs; each needs one, or None"
            )
        pixels = [self._input(one, box) for one, box in zip(photographs, given, strict=True)]
        found = self._asked(np.stack(pixels))
        return [self._worded(found, row) for row in range(len(pixels))]

    def _input(self, photograph: Photograph, box: Sequence[float] | None) -> np.ndarray:
        """`[S, S, 3]` uint8, by the way that the training images went."""
        member = self._networks[0]
        data = member.settings.data
        if isinstance(photograph, str | os.PathLike):
            photograph = os.path.expanduser(photograph)
            with open(photograph, "rb") as file:
                content = file.read()
        else:
            content = _file(photograph)
        try:
            crop = images.read_crop(content, _checked(box), data.max_side)
        except ValueError as error:
            named = f"{photograph}: " if isinstance(photograph, str) else ""
            raise ValueError(f"{named}{error}") from None
        encoded = crops.ENCODERS[data.records](crop)
        return resized(
            pipeline.to_pixels(encoded), member.image_size, member.preprocessing.interpolation
        )

    def _asked(self, pixels: np.ndarray) -> Answers:
        """`[b, S, S, 3]` -> answers."""
        filled = -len(pixels) % self._devices.count
        batch = {
            "image": np.concatenate([pixels, np.zeros((filled, *pixels.shape[1:]), np.uint8)]),
            "id": np.array([*range(len(pixels)), *[pipeline.PADDING_ID] * filled], np.int32),
        }
        outputs = [predictor.of_batch(batch) for predictor in self._predictors]
        return self.calibration.answers(*with_distances(self._references, outputs))

    def _worded(self, found: Answers, row: int) -> Answer:
        shares = found.probabilities[row]
        order = np.argsort(-shares, kind="stable").tolist()
        return Answer(
            predicted=self.classes[order[0]],
            probabilities={self.classes[c]: float(shares[c]) for c in order},
            set=tuple(self.classes[c] for c in order if found.sets[row, c]),
            flags=(UNFAMILIAR,) if found.unfamiliar[row] else (),
            distance=float(found.distances[row]),
        )


def load(
    folder: str | os.PathLike,
    *,
    coverage: float = 0.9,
    unfamiliar: float = 0.05,
    sensitivity: float = 0.9,
) -> Classifier:
    """The classifier in the folder of a finished run, or in one that was exported.

    Args:
      folder: of a run or an export; or what the folders of a study's trials begin with, whose
        answers are averaged.
      coverage: share of new patients whose disease is to be in the prediction set, in (0, 1).
      unfamiliar: share of new patients like those of validation that may be flagged, in (0, 1).
      sensitivity: of each class, that `calibration.points` are for, in (0, 1).

    Raises:
      ValueError: there is no finished run with a classifier, or it is older than calibration.
    """
    networks = members(os.fspath(folder))
    references = []
    for member in networks:
        found = reference.read(member.folder)
        if found is None and member.is_export:
            raise ValueError(
                f"the export in {member.folder} is damaged: {member.folder.reference().name} "
                "cannot be read; copy the folder again"
            )
        if found is None:
            raise ValueError(
                f"the run in {member.folder} was made before answers were calibrated: it has no "
                f"{member.folder.reference().name}; predict with it once, which makes it: "
                f"--config=configs/predict.py:run={member.folder},images=..."
            )
        references.append(found)
    if not same_images(references):
        raise ValueError("the runs' validation images differ: name trials of one study")
    calibration = Calibration.fit(
        references, coverage=coverage, unfamiliar=unfamiliar, sensitivity=sensitivity
    )
    return Classifier(networks, references, calibration)


def _file(photograph: Image.Image | np.ndarray) -> bytes:
    """An image in memory as a file without loss, which is then read by the same rules as others.

    Raises:
      ValueError: it is no image of 8 or 16 bits.
    """
    if not isinstance(photograph, Image.Image):
        pixels = np.asarray(photograph)
        if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
            raise ValueError(
                f"an array of {pixels.dtype} {list(pixels.shape)} is no photograph: give "
                "[H, W, 3] uint8, or a path"
            )
        photograph = Image.fromarray(pixels)
    if photograph.mode in ("F", "I"):
        raise ValueError(f"pixels of mode {photograph.mode} have no known range: save it as RGB")
    if photograph.mode.startswith("I;16"):
        photograph = Image.fromarray(np.asarray(photograph).astype(np.uint16))
    elif photograph.mode not in _PNG_MODES:
        has_alpha = photograph.mode in ("RGBa", "La", "PA")
        photograph = photograph.convert("RGBA" if has_alpha else "RGB")
    file = io.BytesIO()
    photograph.save(file, "PNG", exif=photograph.getexif(), compress_level=0)
    return file.getvalue()


def _checked(box: Sequence[float] | None) -> images.Box | None:
    """A box that lies in its photograph.

    Raises:
      ValueError: it does not, or is no box.
    """
    if box is None:
        return None
    sides = tuple(float(side) for side in box)
    if len(sides) != 4 or not np.isfinite(sides).all() or min(sides[2:]) <= 0:
        raise ValueError(f"box {sides} must be x, y, w, h in px, finite, with w and h above 0")
    x, y, w, h = sides
    if x + w <= 0 or y + h <= 0:
        raise ValueError(f"box x={x:g} y={y:g} w={w:g} h={h:g} lies outside the image")
    return x, y, w, h


_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
