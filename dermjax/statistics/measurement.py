"""A measure of several trained networks on one test set, and what each test patient adds to it.

Two things move a measure: other test patients, and other trainings of the same strategy (another
labelled subset, another seed). A statement about THESE networks needs the first alone; a statement
about the STRATEGY needs both, as in studies of several readers who read the same cases, trainings
being the readers and patients the cases: the variance of Obuchowski & Rockette (1995), with the
degrees of freedom of Satterthwaite (Hillis 2007). Of a difference of two strategies each one's own
variance over trainings is taken, as in Welch's test: with three trials the two have more degrees of
freedom than their differences have, and what the strategies share by sharing labelled subsets makes
the test careful, not bold.

The variance over patients is that of the jackknife: a patient's influence is what the measure
loses without the patient (Davison & Hinkley 1997, section 2.7.3), so that every class stays in the
measure and nothing is drawn: the same test set always gives the same interval.

Letters: T trials, G patients, N classes.
"""

import dataclasses

import numpy as np
from scipy import special

from dermjax.statistics import intervals
from dermjax.statistics.intervals import Estimate

# Degrees of freedom that the classes together lend to the variance of each one.
_PRIOR = 2.0
# Standard deviations below it, of a value of 1, are rounding errors.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number for each of T trials.

    `networks` and `strategy` give the mean over trials with its interval; the first is of the T
    networks as they are, the second of all networks that the strategy could train.
    """

    values: np.ndarray  # [T]
    influences: np.ndarray  # [T, G]; the sum of squares over patients is the variance
    images: float  # how many it rests on; of weighted ones the number that weighs as much
    patients: float  # the same of patients
    freedom: float  # degrees of freedom of the variance over patients, at least 1
    extra: float = 0.0  # variance over patients that the influences cannot show
    others: tuple[np.ndarray, ...] = ()  # values [T] of those that were subtracted
    bounded: bool = True  # whether it lies in [0, 1], or is a difference of two that do
    least: float = -np.inf  # of one that is not bounded so
    limited: bool = True  # whether an image is worth one observation at most, as of a proportion

    @property
    def value(self) -> float:
        """The mean over trials; NaN where the measure is not defined."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """The standard deviation over trials; NaN for a single one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else float("nan")

    def networks(self, level: float = 0.95) -> Estimate:
        """The mean over these T networks; the interval says how far other patients move it.

        There is no interval where the measure rests on fewer than two patients.
        """
        return self._estimate(*self._over_patients(), level)

    def strategy(self, level: float = 0.95) -> Estimate:
        """The mean over trainings; the interval says how far other patients AND trainings move it.

        It holds that of the networks: of few patients the two variances together have so many more
        degrees of freedom than theirs alone that it would be the narrower one.
        There is no interval of a single trial, which cannot show how trainings differ, nor where
        the measure rests on fewer than two patients.
        """
        if len(self.values) < 2:
            return Estimate(self.value, np.nan, np.nan)
        networks, found = self.networks(level), self._estimate(*self._over_both(), level)
        low, high = np.fmin(networks.low, found.low), np.fmax(networks.high, found.high)
        return Estimate(self.value, float(low), float(high))

    def p_networks(self) -> float:
        """Two-sided p that the mean over these networks is 0; for differences."""
        return self._p(*self._over_patients())

    def p_strategy(self) -> float:
        """Two-sided p that the mean over trainings is 0, at least that of the networks.

        NaN of a single trial.
        """
        if len(self.values) < 2:
            return float("nan")
        return max(self._p(*self._over_both()), self.p_networks())

    def minus(self, other: "Measurement") -> "Measurement":
        """The difference of two strategies, trial by trial and patient by patient."""
        return dataclasses.replace(
            self,
            values=self.values - other.values,
            influences=self.influences - other.influences,
            images=min(self.images, other.images),
            patients=min(self.patients, other.patients),
            freedom=min(self.freedom, other.freedom),
            extra=self.extra + other.extra,
            others=(*self.others, other.values),
        )

    def _over_patients(self) -> tuple[float, float]:
        """Variance of the mean over these networks, and its degrees of freedom."""
        mean = self.influences.mean(0)
        return self._rounded(float(mean @ mean) + self.extra), self.freedom

    def _over_both(self) -> tuple[float, float]:
        """The same over patients and trainings."""
        trials, (patients, freedom) = len(self.values), self._over_patients()
        covariance = self.influences @ self.influences.T
        shared = (covariance.sum() - np.trace(covariance)) / (trials * (trials - 1))
        shared = max(max(float(shared), 0.0) + self.extra, 0.0)
        moved = [values.var(ddof=1) / trials for values in (self._own(), *self.others)]
        variance = self._rounded(float(sum(moved)) + shared)
        if variance <= patients:  # trials agree by chance more than their patients allow
            return patients, freedom
        spread = sum(part**2 for part in moved) / (trials - 1) + shared**2 / freedom
        return variance, float(variance**2 / spread)

    def _p(self, variance: float, freedom: float) -> float:
        """p by Student's t; by the sign test where all patients differ by the same."""
        if np.isnan(self.value) or self.patients < 2:
            return float("nan")
        if variance <= 0:
            return 1.0 if self.value == 0 else float(2 * 0.5**self.patients)
        return float(2 * special.stdtr(max(freedom, 1), -abs(self.value) / variance**0.5))

    def _rounded(self, variance: float) -> float:
        """The variance; 0 where it is but what rounding left."""
        scale = max(1.0, float(np.abs(self._own()).max()))
        return variance if variance > (_ROUNDING * scale) ** 2 else 0.0

    def _own(self) -> np.ndarray:
        """The values `[T]` of what others were subtracted from."""
        return self.values + sum(self.others)

    def _worth(self) -> float:
        """How many observations an image is worth: 1 of networks that err alike, up to T ** .5.

        Networks that err independently would make it T; near 0 and 1 their likeness is known too
        badly to take the whole of it (simulated: then 84 to 91 % of the intervals were right).
        """
        alone, together = (self.influences**2).sum(1).mean(), (self.influences.mean(0) ** 2).sum()
        return float(alone / together) ** 0.5 if together > 0 else 1.0

    def _estimate(self, variance: float, freedom: float, level: float) -> Estimate:
        value = self.value
        if self.patients < 2 or np.isnan(value):
            return Estimate(value, np.nan, np.nan)
        if not self.bounded:
            found = intervals.student(value, variance, freedom, level)
            return dataclasses.replace(found, low=max(found.low, self.least))
        if self.others:
            return intervals.difference(value, variance, freedom, self.patients, level)
        whole = float(round(value))
        return intervals.bounded(
            whole if abs(value - whole) < _ROUNDING else value,
            variance,
            freedom,
            images=self.images,
            patients=self.patients,
            limit=self._worth() if self.limited else np.inf,
            level=level,
        )


@dataclasses.dataclass(frozen=True)
class ByClass:
    """One number for each class and trial."""

    values: np.ndarray  # [T, N], NaN for a class without one
    influences: np.ndarray  # [T, G, N]
    images: np.ndarray  # [N], that each class's number rests on
    patients: np.ndarray  # [N]
    people: float = np.inf  # different patients behind all classes together
    extra: np.ndarray | float = 0.0  # [N] variance that the influences do not show
    freedom: float = 0.0  # degrees of freedom that stand behind `extra`
    others: tuple[np.ndarray, ...] = ()  # values [T, N] of those that were subtracted
    bounded: bool = True
    least: float = -np.inf
    limited: bool = True
    enough: int = 0  # patients of every class without whom the macro mean has no interval

    def of(self, index: int) -> Measurement:
        """The measure of one class."""
        patients = float(self.patients[index])
        return Measurement(
            self.values[:, index],
            self.influences[:, :, index],
            images=float(self.images[index]),
            patients=patients,
            freedom=max(patients - 1 + self.freedom, 1),
            extra=float(np.broadcast_to(self.extra, self.images.shape)[index]),
            others=tuple(values[:, index] for values in self.others),
            bounded=self.bounded,
            least=self.least,
            limited=self.limited,
        )

    def minus(self, other: "ByClass") -> "ByClass":
        """The difference of two strategies."""
        return dataclasses.replace(
            self,
            values=self.values - other.values,
            influences=self.influences - other.influences,
            images=np.minimum(self.images, other.images),
            patients=np.minimum(self.patients, other.patients),
            people=min(self.people, other.people),
            extra=self.extra + other.extra,
            others=(*self.others, other.values),
        )

    def macro(self) -> Measurement:
        """The unweighted mean over the classes that have a number.

        A class of few patients says little of its own variance, one of a single patient nothing:
        it is drawn towards what the variance of a patient is over all classes about the macro mean
        (variances are moderated so by Smyth 2004; a class of one patient is a stratum of one unit,
        Cochran 1977, section 5A.12). So neither is a rare class without variance, nor does the
        interval hang on the few patients that it happens to have.
        """
        known = np.flatnonzero(np.isfinite(self.values).all(0))
        trials, patients, _ = self.influences.shape
        if not len(known):
            nothing = np.full(trials, np.nan)
            return Measurement(nothing, np.zeros((trials, patients)), 0, 0, 1)
        values, n = self.values[:, known], np.maximum(self.patients[known], 1)
        influences = self.influences[:, :, known]
        shown = (influences.mean(0) ** 2).sum(0) * n  # [N] variance of one patient of the class
        # Half of it: simulated intervals with all of it held the truth in 97 to 99 %, with none of
        # it in 90 to 93 %.
        own = shown + np.broadcast_to(self.extra, self.images.shape)[known] * n / 2
        means = values.mean(0)
        prior = (own + (means - means.mean()) ** 2).mean()
        moderated = ((n - 1) * own + _PRIOR * prior) / (n - 1 + _PRIOR)
        part = np.maximum(moderated / n / len(known) ** 2, 1e-30)
        extra = ((moderated - shown) / n).sum() / len(known) ** 2
        freedom = part.sum() ** 2 / (part**2 / (n - 1 + _PRIOR)).sum()
        macro = influences.mean(2)
        # One patient may have images of many classes.
        people = min(_as_many(self.patients[known]), self.people)
        if (self.patients[known] < self.enough).any():
            people = 0
        # What is left out may not exceed what the patients show: a variance stays one.
        extra = max(extra, -0.5 * float((macro.mean(0) ** 2).sum()))
        return Measurement(
            values.mean(1),
            macro,
            images=_as_many(self.images[known]),
            patients=people,
            freedom=max(freedom, 1.0),
            extra=float(extra),
            others=tuple(values[:, known].mean(1) for values in self.others),
            bounded=self.bounded,
            least=self.least,
            limited=self.limited,
        )


def _as_many(counts: np.ndarray) -> float:
    """How many equal ones weigh as much as a mean over classes of these sizes (Kish 1965)."""
    return float(len(counts) ** 2 / (1 / np.maximum(counts, 1)).sum())
