"""Links between chips, as stated by their makers, and what they make of a step's collectives."""

import dataclasses
import math
import re

import numpy as np
from _collectives import Collective

PIXELS, BATCH_NORM, MEANS, REST = "pixels", "batch norm", "means", "keys, ids"
RINGS = ("all_gather", "all_reduce", "reduce_scatter")  # where each device talks to its neighbours
ROLES = (PIXELS, BATCH_NORM, MEANS, REST)


@dataclasses.dataclass(frozen=True)
class Link:
    """A chip and what joins it to others; speeds are of one direction and without overhead."""

    name: str
    tflops: float  # peak of the chip in bfloat16
    bandwidth: float  # GB/s that a device can send where a collective uses all of its links
    latency: float  # us that a collective takes however small it is [assumed]
    source: str
    axes: int = 0  # of a torus; 0: a switch
    torus_from: int = 1  # devices; below, rings do not close: half the bandwidth
    host: int = 1  # devices that share this link; up to so many are joined by NVLink instead

    def seconds(self, collective) -> float:
        """Of its bytes alone."""
        n, crossings = collective.devices, 1.0
        if collective.kind not in RINGS and self.axes:
            # From each to each, a torus is bound by the middle of its longest axis, a quarter of
            # which is the mean way along it.
            crossings = max(1.0, self.axes * 2 ** math.ceil(math.log2(n) / self.axes) / 4)
        elif collective.kind not in RINGS:
            crossings = self.host  # a ring crosses a host's link once, these for each device
        speed = 1e9 * self.bandwidth / (1 if n >= self.torus_from else 2)
        return crossings * collective.network_bytes / speed

    def between(self, devices: int) -> "Link":
        """What joins so many devices."""
        return NVLINK if devices <= self.host else self


NVLINK = Link(
    *("NVLink", 989, 450, 10),
    source="H100: 900 GB/s, both directions; more than 8 as if a switch joined them all",
)
LINKS = (
    Link(
        *("TPU v4", 275, 300, 10),
        source="6 links of 50 GB/s (Jouppi et al. 2023); half below a torus of 4x4x4",
        axes=3,
        torus_from=64,
    ),
    Link(
        *("TPU v5e", 197, 200, 10),
        source="1,600 Gb/s (Google Cloud); half below a torus of 16x16",
        axes=2,
        torus_from=256,
    ),
    NVLINK,
    Link(
        *("Ethernet", 989, 12.5, 50),
        source="100 Gb/s of a host of 8 H100, which a ring crosses once; NVLink within",
        host=8,
    ),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One device's share of a training step."""

    batch: int  # images of all devices together
    devices: int
    groups: int  # of batch norm, over the global batch
    collectives: list[Collective]
    flops: float
    statistics: tuple[int, ...]  # bytes of batch norm's means and variances, layer by layer

    @property
    def images(self) -> int:
        """On this device."""
        return self.batch // self.devices

    @property
    def gathered(self) -> int:
        """Bytes of the photographs of all devices that this one holds."""
        return sum(c.result for c in self.of(PIXELS))

    @property
    def series(self) -> int:
        """Collectives one after the other: each batch norm's; of the others one of each kind."""
        others = {(role_of(c), c.kind) for c in self.collectives if role_of(c) != BATCH_NORM}
        return len(self.of(BATCH_NORM)) + len(others)

    def of(self, role: str) -> list:
        """The collectives with one purpose."""
        return [c for c in self.collectives if role_of(c) == role]

    def sent(self, role: str) -> float:
        """Bytes of them on the network."""
        return sum(c.network_bytes for c in self.of(role))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds of a step, if nothing overlaps."""

    compute: float
    transfer: dict[str, float]  # role -> seconds
    latency: float

    @property
    def communication(self) -> float:
        return sum(self.transfer.values()) + self.latency

    @property
    def share(self) -> float:
        """Of communication in the step; 1 - it is the efficiency."""
        return self.communication / (self.compute + self.communication)

    @property
    def overlapped(self) -> float:
        """Efficiency if all communication ran beside arithmetic: no schedule does better."""
        return self.compute / max(self.compute, self.communication)


def role_of(collective) -> str:
    """What a collective of the two training steps is for."""
    if collective.dtype == "ui8":
        return PIXELS
    if re.search(r"/bn\d+/", collective.name):
        return BATCH_NORM
    return MEANS if collective.kind == "all_reduce" else REST


def predict(step: Step, link: Link, achieved: float) -> Prediction:
    """A step over a link, with `achieved` of the chip's peak as the speed of arithmetic."""
    compute = step.flops / (achieved * 1e12 * link.tflops)
    if step.devices == 1:
        return Prediction(compute, {}, 0.0)
    link = link.between(step.devices)
    transfer = {role: sum(map(link.seconds, step.of(role))) for role in ROLES}
    return Prediction(compute, transfer, step.series * link.latency / 1e6)


def other_forms(step: Step) -> dict[str, list[Collective]]:
    """What would give the same numbers, name -> its collectives.

    Of the key encoder's shuffle, its batch norms included: `gather` is what the step does; `moved
    once`, each image to the device that wants it (ragged_all_to_all, which neither XLA's CPU
    backend nor vmap has); `all-to-all`, few images from each device to each, again until all have
    arrived; `in place`, images stay and statistics are summed by permuted groups, mean and then
    variance. (A fifth needs no network: processes read what they want as well, decoding twice.)
    Of batch norm: `bn gather`, moments of all devices; `bn sums`, moments summed by group.
    """
    n, norms = step.devices, step.of(BATCH_NORM)
    photograph = step.gathered // step.batch
    key_norms = [c for c in norms if "jvp" not in c.name]  # it has no gradient

    def moved(images):
        return Collective("all_to_all", "ui8", images * photograph, images * photograph, n, "")

    sizes = [step.groups * layer // 2 for layer in step.statistics for _ in ("mean", "variance")]
    sums = [Collective("all_reduce", "f32", size, size, n, "bn") for size in sizes]
    forms = {"bn gather": norms, "bn sums": sums * (len(norms) // len(step.statistics))}
    if not photograph:
        return forms
    few = math.ceil(step.images / n / 4)  # a quarter of what goes from one to one other on average
    rounds = math.ceil(most_from_one_to_another(step.batch, n) / few)
    return {
        "gather": step.of(PIXELS) + key_norms,
        "moved once": [moved(step.images), *key_norms],
        "all-to-all": [moved(few * n)] * rounds + key_norms,
        "in place": sums,
        **forms,
    }


def most_from_one_to_another(batch: int, devices: int, draws: int = 20) -> float:
    """Images that a permutation of the batch sends from one device to one other, at most; mean."""
    draw, share = np.random.default_rng(0), batch // devices
    home = np.arange(batch) // share
    pairs = [np.bincount(home * devices + draw.permutation(batch) // share) for _ in range(draws)]
    return float(np.mean([counts.max() for counts in pairs]))


def changed(links, texts: list[str]) -> list[Link]:
    """Links with the numbers of `NAME=GB/s[,us]` in place of the stated ones.

    Raises:
      ValueError: no link of this name, or no numbers.
    """
    given = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        if name not in {link.name for link in links}:
            known = ", ".join(link.name for link in links)
            raise ValueError(f"--link={text}: {name!r} is not known; there are {known}")
        try:
            values = [float(number) for number in numbers.split(",")]
            fields = dict(zip(("bandwidth", "latency"), values, strict=len(values) > 2))
        except ValueError:
            raise ValueError(f"--link={text}: not of the form NAME=GB/s or NAME=GB/s,us") from None
        given[name] = {**fields, "torus_from": 1, "source": "as given"}
    return [dataclasses.replace(link, **given.get(link.name, {})) for link in links]
