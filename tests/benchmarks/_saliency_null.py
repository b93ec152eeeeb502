"""How often the saliency page is wrong by chance, and how often its intervals hold, by simulation.

    python tests/benchmarks/_saliency_null.py [studies]

Patients have one to three images each, which resemble each other. Where maps say nothing (`null`),
whatever a page finds is false; it should find something on at most 5 % of pages. `before` is, for
comparison, what percentiles of resampled patients do, without a correction over scores.
"""

import pathlib
import sys
import time

import numpy as np
from scipy import special

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one

from _report import Report  # noqa: E402

from dermjax.statistics.clustered_mean import adjusted_p, clustered_mean  # noqa: E402

PATIENTS = (6, 10, 20, 50)
SCORES = ("insertion", "deletion", "sensitivity_n", "effective_heat_ratio", "heat_share")
_RESAMPLES = 400  # of `before`; more change nothing here
_MILLION = 1_000_000


def measure(report: Report, studies: int = 400, seed: int = 0) -> None:
    """Adds rows of false findings, and of the coverage of means, at 6 to 50 patients.

    Args:
      studies: simulated pages of each row.
    """
    for name, draw in (("same maps", _same_maps), ("other maps", _other_maps)):
        for patients in PATIENTS:
            rng = np.random.default_rng([seed, patients])
            pages = [draw(rng, _patients(rng, patients)) for _ in range(studies)]
            now = np.mean([_finds(*page) for page in pages])
            before = np.mean([_found_before(rng, *page) for page in pages])
            hint = f"pages of {patients} patients on which any of 5 scores differs; {name}, null; "
            hint += f"before {100 * before:.0f} %"
            report.add(f"saliency/false {name} {patients}", 100 * now, "%", hint, before=before)
    for name, draw in _VALUES.items():
        truth = draw(np.random.default_rng(seed), np.arange(_MILLION)).mean()
        for patients in PATIENTS:
            rng = np.random.default_rng([seed, patients])
            found, before = [], []
            for _ in range(studies):
                owners = _patients(rng, patients)
                values = draw(rng, owners)
                found.append(clustered_mean(values, owners, bounds=(0, np.inf)))
                before.append(_percentiles(rng, values, owners))
            given = [one for one in found if one.has_interval]
            held = np.mean([one.low <= truth <= one.high for one in given])
            before = np.mean([low <= truth <= high for low, high in before])
            hint = f"95 % intervals of a mean over {patients} patients that hold it: {name}; "
            hint += f"{studies - len(given)} of {studies} without; before {100 * before:.0f} %"
            report.add(f"saliency/coverage {name} {patients}", 100 * held, "%", hint, before=before)


def _patients(rng, count: int) -> np.ndarray:
    """Of each image: every patient has one to three."""
    return np.repeat(np.arange(count), rng.choice([1, 1, 1, 2, 3], count))


def _mixed(rng, owners, own: float, image: float, size: tuple = ()) -> np.ndarray:
    """Normal values of which a part is the patient's, `[*size, B]`."""
    patients = rng.normal(size=(*size, owners.max() + 1))[..., owners]
    return own * patients + image * rng.normal(size=(*size, len(owners)))


def _answers(rng, owners) -> list[np.ndarray]:
    """Differences of insertion, deletion and sensitivity-n of two maps that both say nothing."""
    case, maps = _mixed(rng, owners, 1, 0), _mixed(rng, owners, 0.5, 0.6, (2,))

    def difference(function, weight, rest):
        first, second = (function(weight * m + _mixed(rng, owners, 0, rest)) for m in maps)
        return first - second

    return [
        difference(lambda x: special.expit(case + x), 0.8, 0.4),
        difference(lambda x: special.expit(case + x), -0.8, 0.4),
        difference(np.tanh, 0.3, 0.2),
    ]


def _same_maps(rng, owners):
    """Both maps are alike: what they have in lesions of a tenth to a half is drawn twice."""
    area, images = rng.beta(2, 6, owners.max() + 1)[owners], len(owners)
    ratios = rng.beta(0.5, 2, (2, images)) * (rng.random((2, images)) < 0.4)  # most are 0
    shares = rng.beta(2 * area, 2 * (1 - area), (2, images))
    return [*_answers(rng, owners), ratios[0] - ratios[1], shares[0] - shares[1]], owners


def _other_maps(rng, owners):
    """A map of few spots against one that is even: as much in the lesion, but seldom the same."""
    area = rng.beta(2, 6, owners.max() + 1)[owners]
    spots = rng.beta(4 * area, 4 * (1 - area), (2, len(owners)))
    even = rng.beta(100 * area, 100 * (1 - area))
    ratio = spots[0] - even
    return [*_answers(rng, owners), ratio, 0.7 * ratio + 0.3 * (spots[1] - area)], owners


def _sparse(rng, owners):
    """Shares of which half are 0."""
    some = _mixed(rng, owners, 0.7, 0.7) > 0
    return rng.beta(0.8, 2, len(owners)) * some


# What scores and losses look like, `(rng, owners) -> [B]`, at least 0.
_VALUES = {
    "areas under curves": lambda rng, of: special.expit(_mixed(rng, of, 1, 0.9) - 1),
    "shares, half are 0": _sparse,
    "losses": lambda rng, of: np.logaddexp(0, -1 - _mixed(rng, of, 0.7, 1.3)),
}


def _finds(differences, owners) -> bool:
    """As the page decides."""
    family = dict(zip(SCORES, (clustered_mean(d, owners) for d in differences), strict=True))
    return any(p <= 0.05 for p in adjusted_p(family).values())


def _found_before(rng, differences, owners) -> bool:
    low, high = _percentiles(rng, differences, owners)
    return bool((low > 0).any() or (high < 0).any())


def _percentiles(rng, values, owners) -> np.ndarray:
    """Of means `[..., B]` over resampled patients: `[2, ...]`."""
    images = np.bincount(owners)
    sums = np.add.reduceat(values, np.cumsum(images) - images, axis=-1)  # owners are in order
    drawn = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), _RESAMPLES)
    return np.quantile((sums @ drawn.T) / (drawn @ images), [0.025, 0.975], axis=-1)


def main() -> None:
    """Prints all rows."""
    begun = time.perf_counter()
    report = Report(None, {}, budget=float("inf"))
    measure(report, *map(int, sys.argv[1:2]))
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
