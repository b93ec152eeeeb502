"""Photographs to ask about, for the tests of the page and of its browser."""

import numpy as np

from dermjax.labelling.page import Candidate, Neighbour

CLASSES = ("melanoma", "nevus", "basal cell carcinoma")


def pixels(number: int, size=(60, 80)) -> np.ndarray:
    """`[*size, 3]` uint8: a disc on skin, another one for each number."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    found = np.full((*size, 3), (214, 160, 140), np.uint8)
    radius = 6 + number % 9
    disc = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2 - number) ** 2 < radius**2
    found[disc] = (90 + number * 7 % 60, 50, 40)
    return found


def neighbour(number: int, label: str) -> Neighbour:
    return Neighbour(pixels(number, (30, 30)), label, f"old/{number}.jpg", 0.9 - number / 100)


def candidate(number: int, *, boxed: bool = False, neighbours=2, **fields) -> Candidate:
    """Number `number`, `images/NUMBER.jpg`."""
    box = (16.0, 12.5, 40.0, 30.0) if boxed else None
    given = dict(
        name=f"images/{number}.jpg",
        image=f"images/{number}.jpg",
        box=box,
        why="No labelled photograph is like it.",
        pixels=pixels(number),
        shown_box=box,
        neighbours=[neighbour(n, CLASSES[n % 3]) for n in range(neighbours)],
    )
    return Candidate(**given | fields)
