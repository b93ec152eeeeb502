"""Shifts and taps, by the definition of a convolution."""

import numpy as np

from dermjax.models.shifts import shifted, taps


def test_a_shifted_image_has_zeros_where_there_was_none():
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1)
    wanted = np.zeros((3, 4))
    wanted[1:, :2] = x[0, :2, 2:, 0]
    np.testing.assert_array_equal(shifted(x, (-1, 2))[0, :, :, 0], wanted)


def test_taps_read_what_the_kernels_positions_meet():
    """In a padded row, position i of the kernel meets pixel i - (zeros before) first."""
    found = dict(taps(3, ((1, 1), (0, 2))))
    assert len(found) == 9
    assert (found[0, 0], found[1, 1], found[2, 0]) == ((-1, 0), (0, 1), (1, 0))
