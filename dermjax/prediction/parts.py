"""What the networks have made so far of many images: a killed prediction goes on from it.

Letters: B images in all, b of a batch, N classes, T networks.
"""

import numpy as np
from etils import epath

from dermjax.runs.files import read_arrays, write_arrays

_FOLDER = "parts"
_PART = 512  # images after which what is done is kept


class Parts:
    """Files with what the networks made of runs of images, kept until all is done."""

    def __init__(self, directory: epath.Path, key: str, count: int):
        """Args:
        directory: of the predictions.
        key: of these images and networks.
        count: B, images in all.
        """
        self._folder, self._count = directory / _FOLDER / key, count
        self._folder.mkdir(parents=True, exist_ok=True)
        self._firsts = range(0, count, _PART)
        self.missing = [first for first in self._firsts if self._read(first) is None]
        self._logits: list[np.ndarray] = []  # of what is not kept yet, [T, b, N] each
        self._distances: list[np.ndarray] = []  # [T, b] each

    @property
    def rows(self) -> np.ndarray:
        """The images that are still to be predicted, in the order in which `add` wants them."""
        runs = [np.arange(first, self._end(first)) for first in self.missing]
        return np.concatenate([np.array([], int), *runs])

    def add(self, logits: np.ndarray, distances: np.ndarray) -> None:
        """Takes the next images' outputs, and keeps the parts that are whole."""
        self._logits.append(logits)
        self._distances.append(distances)
        held = sum(one.shape[1] for one in self._distances)
        while self.missing and held >= self._end(self.missing[0]) - self.missing[0]:
            first = self.missing.pop(0)
            size = self._end(first) - first
            logits = np.concatenate(self._logits, axis=1)
            distances = np.concatenate(self._distances, axis=1)
            write_arrays(self._path(first), logits=logits[:, :size], distances=distances[:, :size])
            self._logits, self._distances = [logits[:, size:]], [distances[:, size:]]
            held -= size

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[T, B, N]` and distances `[T, B]` of all images.

        Raises:
          ValueError: a part is missing.
        """
        found = [self._read(first) for first in self._firsts]
        whole = [one for one in found if one is not None]
        if len(whole) < len(found):
            raise ValueError(f"a part in {self._folder} cannot be read: start the command again")
        logits, distances = ([one[name] for one in whole] for name in ("logits", "distances"))
        return np.concatenate(logits, axis=1), np.concatenate(distances, axis=1)

    def _end(self, first: int) -> int:
        return min(first + _PART, self._count)

    def _path(self, first: int) -> epath.Path:
        return self._folder / f"{first:08d}.npz"

    def _read(self, first: int) -> dict[str, np.ndarray] | None:
        return read_arrays(self._path(first))


def remove_all(directory: epath.Path) -> None:
    """Removes all parts, also those of other images that were never finished."""
    folder = directory / _FOLDER
    if folder.exists():
        folder.rmtree()
