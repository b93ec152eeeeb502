"""Who is photographed: ten diseases, their long tail, patients and the plan of photographs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dermjax.data.synthetic.textures import stream

CLASSES = (
    "acne_vulgaris",
    "atopic_dermatitis",
    "erysipelas",
    "furuncle",
    "granuloma_anulare",
    "herpes_zoster",
    "larva_migrans",
    "psoriasis_vulgaris",
    "rosacea",
    "urticaria",
)
# Psoriasis, furuncle and the total (34,665) are printed in the paper; the others are inferred
# from its Table 1 and approximate.
PAPER_COUNTS = (2820, 4470, 330, 192, 1230, 1180, 216, 17487, 5150, 1590)
LESIONS_FLOOR = 9  # of a class: enough for training, validation and test
PATIENTS_FLOOR = 6  # of a class, for the same reason
MIN_LESIONS = LESIONS_FLOOR * len(CLASSES)
MIN_SIDE = 96  # px of a photograph: less leaves nothing of a papule

SITES = ("face", "cheek", "scalp", "neck", "trunk", "arm", "fold", "hand", "leg", "foot")
# P(site | class) in percent: the site helps, but decides nothing.
SITE_PERCENT = {
    "acne_vulgaris": (30, 30, 0, 6, 30, 4, 0, 0, 0, 0),
    "atopic_dermatitis": (6, 10, 2, 12, 12, 16, 24, 8, 8, 2),
    "erysipelas": (10, 20, 0, 2, 4, 10, 0, 2, 50, 2),
    "furuncle": (8, 10, 2, 18, 28, 12, 4, 0, 18, 0),
    "granuloma_anulare": (0, 2, 0, 2, 8, 22, 2, 34, 12, 18),
    "herpes_zoster": (10, 8, 2, 8, 54, 8, 2, 2, 6, 0),
    "larva_migrans": (0, 0, 0, 0, 14, 6, 2, 8, 14, 56),
    "psoriasis_vulgaris": (3, 3, 10, 2, 26, 22, 3, 8, 18, 5),
    "rosacea": (46, 54, 0, 0, 0, 0, 0, 0, 0, 0),
    "urticaria": (4, 5, 0, 6, 40, 18, 3, 4, 18, 2),
}
# P(1, 2, 3 lesion boxes in a photograph); a furuncle and an erysipelas stand alone.
BOXES = {"furuncle": (1.0,), "erysipelas": (1.0,), "larva_migrans": (0.8, 0.2)}
BOXES_OTHERS = (0.55, 0.28, 0.17)
AGES = {  # years: mean and deviation
    "acne_vulgaris": (19, 6),
    "atopic_dermatitis": (26, 18),
    "erysipelas": (62, 15),
    "furuncle": (36, 15),
    "granuloma_anulare": (44, 17),
    "herpes_zoster": (61, 16),
    "larva_migrans": (34, 14),
    "psoriasis_vulgaris": (47, 16),
    "rosacea": (50, 13),
    "urticaria": (38, 16),
}
BACKGROUNDS = (  # linear red, green, blue of what lies behind the patient
    (0.04, 0.04, 0.05),
    (0.08, 0.20, 0.38),
    (0.16, 0.34, 0.27),
    (0.48, 0.48, 0.50),
    (0.78, 0.78, 0.76),
)
TYPE_BOUNDS = (0.07, 0.14, 0.24, 0.38, 0.58)  # melanin that parts Fitzpatrick types 1 to 6


@dataclass(frozen=True)
class SyntheticSettings:
    """What to draw.

    Attributes:
        lesions: lesion boxes in all, at least 90 (9 a class).
        seed: of everything, at least 0.
        width: of a photograph, px, at least 96.
        height: of a photograph, px, at least 96.
        images_per_patient: mean number of a patient's lesion images (boxes), at least 1.
        tail: power to which the paper's counts of its classes are raised, 0 to 1: 1 gives the
            paper's long tail, 0 as many lesions to each class.
    """

    lesions: int
    seed: int
    width: int = 960
    height: int = 540
    images_per_patient: float = 4.0
    tail: float = 1.0

    def __post_init__(self):
        if self.lesions < MIN_LESIONS:
            raise ValueError(
                f"lesions {self.lesions} is below {MIN_LESIONS} ({LESIONS_FLOOR} for each of "
                f"{len(CLASSES)} classes); ask for at least {MIN_LESIONS}"
            )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is below 0; take 0 or a positive number")
        for name, side in (("width", self.width), ("height", self.height)):
            if side < MIN_SIDE:
                raise ValueError(
                    f"{name} {side} px is below {MIN_SIDE} px, where lesions dissolve; "
                    f"take at least {MIN_SIDE}, for instance 480 x 270"
                )
        if not self.images_per_patient >= 1:
            raise ValueError(
                f"images_per_patient {self.images_per_patient} is below 1; take 1 or more"
            )
        if not 0 <= self.tail <= 1:
            raise ValueError(
                f"tail {self.tail} is not between 0 (classes of one size) and 1 (the paper's)"
            )


@dataclass(frozen=True)
class Patient:
    """What all photographs of a patient share: a split by image leaks it, by design."""

    melanin: float  # 0 to 1
    blood: float  # haemoglobin of healthy skin
    severity: float  # 0.15 to 1
    phenotype: tuple[float, ...]  # 4 numbers in [0, 1]; each disease reads them its own way
    moles: float
    hair: float  # body hair, 0 to 1
    hair_darkness: float  # 0.5 to 1
    texture: float  # coarseness of the skin
    shine: float  # greasiness of the skin
    light: float  # direction the light comes from, radians
    grazing: float  # how flat the light falls: cotangent of its elevation
    falloff: float
    balance: tuple[float, ...]  # the camera's gains of red, green, blue
    exposure: float  # natural logarithm of the camera's gain
    noise: float  # deviation of the sensor's noise
    background: tuple[float, ...]
    sex: str
    age: int

    @property
    def skin_type(self) -> int:
        """Fitzpatrick's skin type, 1 to 6."""
        return 1 + sum(self.melanin >= bound for bound in TYPE_BOUNDS)


@dataclass(frozen=True)
class PhotoPlan:
    """A photograph before it is drawn."""

    name: str  # of its files, without a suffix
    patient: str
    label: str
    member: int  # the patient's number within the class
    photo: int  # the photograph's number within the patient
    boxes: int
    site: str


def draw_patient(seed: int, label: str, member: int) -> Patient:
    """The patient `member` of class `label`, the same for ever."""
    random = stream(seed, "patient", label, member)
    # Munich: mostly fair; one patient in five from anywhere on the scale.
    fair = random.rand() < 0.8
    melanin = random.beta(1.8, 9) * 1.1 if fair else random.uniform(0.2, 0.95)
    mean, deviation = AGES[label]
    return Patient(
        melanin=float(np.clip(melanin, 0.01, 1)),
        blood=random.uniform(0.12, 0.30),
        severity=random.uniform(0.15, 1.0),
        phenotype=tuple(random.uniform(0, 1, 4).tolist()),
        moles=random.exponential(1.0),
        hair=random.rand(),
        hair_darkness=random.uniform(0.5, 1.0),
        texture=random.uniform(0.4, 1.5),
        shine=random.rand(),
        light=random.uniform(0, 2 * math.pi),
        grazing=random.uniform(0.45, 0.95),
        falloff=random.uniform(0, 0.5),
        balance=tuple((1 + 0.035 * random.standard_normal(3)).tolist()),
        exposure=0.10 * random.standard_normal(),
        noise=random.uniform(0.004, 0.018),
        background=BACKGROUNDS[random.randint(len(BACKGROUNDS))],
        sex="female" if random.rand() < 0.5 else "male",
        age=int(np.clip(round(mean + deviation * random.standard_normal()), 1, 95)),
    )


def class_counts(lesions: int, tail: float = 1.0) -> dict[str, int]:
    """Lesions of each class: as the paper's counts ** `tail`, `lesions` in all, with a floor."""
    counts = dict.fromkeys(CLASSES, LESIONS_FLOOR)
    weights = {name: count**tail for name, count in zip(CLASSES, PAPER_COUNTS, strict=True)}
    rest = lesions
    # A class whose share lies under the floor gets the floor and leaves; the others share anew.
    while True:
        total = sum(weights.values())
        poor = [name for name in weights if rest * weights[name] / total < LESIONS_FLOOR]
        if not poor:
            break
        for name in poor:
            del weights[name]
        rest -= LESIONS_FLOOR * len(poor)
        if not weights:
            return counts
    shares = {name: rest * weight / total for name, weight in weights.items()}
    counts.update({name: int(share) for name, share in shares.items()})
    missing = lesions - sum(counts.values())
    by_remainder = sorted(shares, key=lambda name: int(shares[name]) - shares[name])
    for name in by_remainder[:missing]:
        counts[name] += 1
    return counts


def plan_photos(settings: SyntheticSettings) -> list[PhotoPlan]:
    """All photographs in the order of the table; their boxes add up to `settings.lesions`."""
    photos = []
    patients = 0
    for label, left in class_counts(settings.lesions, settings.tail).items():
        random = stream(settings.seed, "plan", label)
        member = 0
        while left:
            extra = random.gamma(1.2, (settings.images_per_patient - 1) / 1.2)
            # The first patients leave enough lesions for the floor of patients.
            most = max(1, left // max(1, PATIENTS_FLOOR - member))
            lesions = min(1 + round(extra), most)
            patients += 1
            photos += _photos_of(settings.seed, label, member, f"P{patients:05d}", lesions)
            left -= lesions
            member += 1
    return photos


def _photos_of(seed: int, label: str, member: int, patient: str, lesions: int) -> list[PhotoPlan]:
    """The photographs on which a patient's lesions are shared out."""
    photos: list[PhotoPlan] = []
    while lesions:
        number = len(photos)
        random = stream(seed, "photo", label, member, number)
        odds = BOXES.get(label, BOXES_OTHERS)
        boxes = min(lesions, 1 + _pick(random, odds))
        site = SITES[_pick(random, SITE_PERCENT[label])]
        name = f"{patient}_{number:02d}"
        photos.append(PhotoPlan(name, patient, label, member, number, boxes, site))
        lesions -= boxes
    return photos


def _pick(random, weights) -> int:
    """An index with odds `weights`; RandomState.choice would take most of a plan's time."""
    total = np.cumsum(weights)
    return int(np.searchsorted(total, random.rand() * total[-1], side="right"))
