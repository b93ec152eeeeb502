"""Intervals of a value whose sampling variance is known: bounded measures, and others by Student.

A measure in [0, 1] is treated as a proportion among an EFFECTIVE number of images: as many
independent ones as would give its variance (Korn & Graubard 1998; Dean & Pagano 2015 compare such
intervals for clustered data). At that number the modified Jeffreys interval is taken (Brown, Cai &
DasGupta 2001, section 4.1), which at 0 and 1 has the end of Clopper and Pearson's: fifteen of
fifteen patients right are 1 [.78, 1], not 1 [1, 1].
"""

import dataclasses

import numpy as np
from scipy import special

# Below as many right or wrong images the variance itself is hardly known: then no image counts for
# more than one, however well several trials agree on it.
_FEW = 5


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value and the ends of its interval, which are NaN where there is no interval."""

    value: float
    low: float
    high: float


def check_level(level: float) -> None:
    """Checks the level of an interval.

    Raises:
      ValueError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level} must lie in (0, 1); .95 is usual")


def proportion(value: float, size: float, level: float = 0.95) -> Estimate:
    """The modified Jeffreys interval of a proportion (Brown, Cai & DasGupta 2001, section 4.1).

    Args:
      value: in [0, 1].
      size: independent images that it is the proportion of, above 0; need not be whole.
      level: in (0, 1).

    Raises:
      ValueError: the value is outside [0, 1], the size not above 0, or the level outside (0, 1).
    """
    check_level(level)
    if not 0 <= value <= 1 or not size > 0:
        raise ValueError(f"a proportion of {value} among {size} must lie in [0, 1], among above 0")
    tail, hits = (1 - level) / 2, value * size
    low, high = special.betaincinv(hits + 0.5, size - hits + 0.5, [tail, 1 - tail])
    low = 0.0 if hits <= 1 else low
    high = 1.0 if size - hits <= 1 else high
    if value == 0:
        high = 1 - tail ** (1 / size)
    if value == 1:
        low = tail ** (1 / size)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def bounded(
    value: float,
    variance: float,
    freedom: float,
    *,
    images: float,
    patients: float,
    limit: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """The interval of a measure in [0, 1].

    Args:
      value: in [0, 1].
      variance: of the value.
      freedom: degrees of freedom of the variance; few make the interval wider.
      images: how many the value rests on; of weighted ones the number that weighs as much.
      patients: the same of patients, the number of independent observations at 0 and 1, where no
        variance can be seen.
      limit: observations that an image can be worth where the value is near 0 or 1: 1 of one
        network; more of a mean over several; infinity for areas under curves.
      level: in (0, 1).
    """
    if value in (0, 1):
        return proportion(value, patients, level)
    tail = (1 + level) / 2
    quantile = special.stdtrit(max(freedom, 1), tail)
    usual = special.stdtrit(max(images - 1, 1) if np.isfinite(limit) else np.inf, tail)
    # With no variance at all, every patient is partly right to the same degree.
    size = images if variance <= 0 else value * (1 - value) / variance
    # As many images of one patient each have the variance value * (1 - value) / (images - 1).
    size *= min(1.0, (usual / quantile) ** 2) * images / max(images - 1, 1)
    if min(value, 1 - value) * images < _FEW:
        size = min(size, limit * images)
    return proportion(value, size, level)


def student(value: float, variance: float, freedom: float, level: float = 0.95) -> Estimate:
    """Student's interval of a value that is not bounded.

    Args:
      value: any number.
      variance: of the value; 0 gives no interval, for then the data show no variance at all.
      freedom: degrees of freedom of the variance, at least 1.
      level: in (0, 1).
    """
    check_level(level)
    if not variance > 0:
        return Estimate(float(value), np.nan, np.nan)
    half = special.stdtrit(max(freedom, 1), (1 + level) / 2) * variance**0.5
    return Estimate(float(value), float(value - half), float(value + half))


def difference(
    value: float, variance: float, freedom: float, patients: float, level: float = 0.95
) -> Estimate:
    """The interval of a difference of two measures in [0, 1]: Student's, within [-1, 1].

    Where no variance is seen, all patients differ by the same. Those unlike them, who may differ by
    anything from -1 to 1, are as few as Clopper and Pearson's interval of none among all allows.

    Args:
      value: in [-1, 1].
      variance: of the value.
      freedom: degrees of freedom of the variance, at least 1.
      patients: how many the value rests on, above 0.
      level: in (0, 1).
    """
    if variance > 0:
        found = student(value, variance, freedom, level)
        return Estimate(found.value, max(found.low, -1.0), min(found.high, 1.0))
    unlike = proportion(0.0, patients, level).high
    alike = (1 - unlike) * value
    return Estimate(float(value), float(alike - unlike), float(alike + unlike))
