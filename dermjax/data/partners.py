"""Other photographs of the same lesion or patient: where contrastive positives come from.

Multi-instance contrastive learning (MICLe, Azizi et al. 2021) takes both views of a positive pair
from different photographs of one case, MedAug (Vu et al. 2021) from different images of one patient
and study. Who is who is what the manifest says; labels are not looked at.

Letters: N rows of the table, b images of a batch.
"""

import dataclasses
import hashlib

import numpy as np
import pandas as pd

from dermjax.data import links, subgroup_values

KINDS = ("image", "lesion", "patient")
_FIELD = "config.pretrain.positives"


@dataclasses.dataclass(frozen=True)
class Partners:
    """The rows that the positive of each training row may come from.

    They lie next to each other in `members`, sorted by photograph, so that those of the row's own
    photograph are one run that a draw leaps over.

    Attributes:
      kind: `lesion` or `patient`.
      subjects: `[N]` int32, the lesion or patient that a row shows; a number of its own where it is
        not known. Keys of one subject are no negatives of each other.
      members: int32 rows, those of one lesion, patient or patient's site together.
      first: `[N]` int32, where in `members` those of a row's own lesion, patient or site begin.
      choices: `[N]` int32, how many of them show another photograph: its partners.
      before: `[N]` int32, how many of them come before the row's own photograph.
      own: `[N]` int32, how many of them show the row's own photograph.
      images: training rows.
    """

    kind: str
    subjects: np.ndarray
    members: np.ndarray
    first: np.ndarray
    choices: np.ndarray
    before: np.ndarray
    own: np.ndarray
    images: int

    @property
    def paired(self) -> int:
        """How many training rows have a partner."""
        return int((self.choices > 0).sum())

    def counted(self) -> dict[str, str | int]:
        """What stands in the records of a run."""
        return {"kind": self.kind, "images": self.images, "with_partner": self.paired}

    def draw(self, rows: np.ndarray, luck: np.ndarray) -> np.ndarray:
        """A partner of each row, each with the same probability; the row itself if it has none.

        Args:
          rows: `[b]` training rows.
          luck: `[b]` uniform numbers in [0, 1), which decide.

        Returns:
          `[b]` int32 rows.
        """
        choices = self.choices[rows]
        place = (luck * choices).astype(np.int64)
        place += np.where(place >= self.before[rows], self.own[rows], 0)
        place = np.where(choices > 0, self.first[rows] + place, 0)
        return np.where(choices > 0, self.members[place], rows).astype(np.int32)

    def key(self) -> str:
        """16 hex digits that tell pairs apart; a data set's fingerprint holds no lesion ids."""
        digest = hashlib.sha256(self.kind.encode())
        for array in (self.subjects, self.members, self.first, self.choices, self.before, self.own):
            digest.update(array.astype("<i4").tobytes())
        return digest.hexdigest()[:16]


def find(frame: pd.DataFrame, rows: np.ndarray, kind: str) -> Partners:
    """The partners of the training rows among themselves.

    Of `lesion`: other photographs of the same lesion. Of `patient`: the same; where there are none,
    other photographs of the same patient at the same site of the body, as one patient can have two
    diseases; an image whose site is not known has any other photograph of its patient. An image at
    a known site without another photograph there has no partner: of PAD-UFES-20's pairs 94 % have
    one diagnosis with this rule, 81 % with those of other sites. Copies and near duplicates are no
    other photographs.

    Args:
      frame: `name`, `patient` and `group` as `Dataset.frame` has them; as far as known, `lesion`,
        `site`, `path`, `content` and `near`.
      rows: of the training images.
      kind: `lesion` or `patient`.

    Raises:
      ValueError: no training image has a lesion (patient), or a partner; or all have the same one.
    """
    rows = np.asarray(rows)
    patient, lesion = _patients(frame), frame.get("lesion", pd.Series("", frame.index))
    _check_known(kind, patient.iloc[rows], lesion.iloc[rows])
    lesions = _codes(lesion)
    if kind == "lesion":
        subjects, tiers = lesions, [(lesions, lesions >= 0)]
    else:
        table = pd.DataFrame({"patient": patient, "lesion": lesion, "image": frame["name"]})
        subjects = _codes(links.merge_groups(table))  # who has a lesion in common is one patient
        sites = _sites(frame)
        at_site = np.where(sites < 0, -1, subjects * (sites.max(initial=0) + 1) + sites)
        tiers = [(lesions, lesions >= 0), (at_site, at_site >= 0), (subjects, sites < 0)]
    alone = len(frame) + np.arange(len(frame))
    subjects = np.where(subjects < 0, alone, subjects).astype(np.int32)
    found = _in_tiers(tiers, _codes(_photographs(frame)), rows)
    partners = Partners(kind, subjects, **found, images=len(rows))
    _check_pairs(partners, len(np.unique(subjects[rows])))
    return partners


def _patients(frame: pd.DataFrame) -> pd.Series:
    """The patient of each row, '' where none is known: there, the group stands in its place."""
    return frame["patient"].where(frame["patient"] != frame["group"], "")


def _codes(values: pd.Series) -> np.ndarray:
    """`[N]` int64, equal where the values are; -1 where they are blank."""
    return pd.factorize(values.where(values != ""))[0].astype(np.int64)


def _sites(frame: pd.DataFrame) -> np.ndarray:
    """`[N]` int64, a number for each site of the body; -1 where it is not known."""
    if "site" not in frame:
        return np.full(len(frame), -1)
    names = pd.Series(subgroup_values.group(frame["site"]).names)
    return _codes(names.mask(names == subgroup_values.UNKNOWN, ""))


def _photographs(frame: pd.DataFrame) -> pd.Series:
    """What is one photograph: several boxes on it, copies of its file, and near duplicates."""
    found = frame["name"]
    for column in ("path", "content", "near"):
        if column in frame:
            found = found.where(frame[column] == "", frame[column])
    return found


def _in_tiers(tiers, photographs: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Members and places of each row in the first tier that has a partner for it.

    Args:
      tiers: `[N]` int64 codes, -1 for none, and `[N]` bool, which rows ask there.
      photographs: `[N]` int64 codes.
    """
    names = ("first", "choices", "before", "own")
    found = {name: np.zeros(len(photographs), np.int32) for name in names}
    members, start = [], 0
    for codes, asks in tiers:
        used = rows[codes[rows] >= 0]
        used = used[np.lexsort((used, photographs[used], codes[used]))]
        first, size = _runs(codes[used])
        begins, own = _runs(codes[used], photographs[used])
        new = asks[used] & (found["choices"][used] == 0) & (size > own)
        places = (start + first, size - own, begins - first, own)
        for name, values in zip(names, places, strict=True):
            found[name][used[new]] = values[new]
        members.append(used)
        start += len(used)
    return {"members": np.concatenate(members).astype(np.int32), **found}


def _runs(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the run of equals of each entry of sorted columns begins, and how long it is."""
    count = len(columns[0])
    begins = np.zeros(count, bool)
    begins[:1] = True
    for column in columns:
        begins[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(begins)
    run = np.cumsum(begins) - 1
    return starts[run], np.diff(starts, append=count)[run]


def _check_known(kind: str, patient: pd.Series, lesion: pd.Series) -> None:
    """Whether the table says of anybody who it is."""
    known = {"patient": patient != "", "lesion": lesion != ""}
    if known[kind].any():
        return
    other = " or --config.pretrain.positives=lesion" * bool(known["lesion"].any())
    raise ValueError(
        f"{_FIELD} = {kind!r} needs at least 2 of the {len(patient)} training images to have a "
        f"{kind}, and 0 have one: give the table a column '{kind}', or set "
        f"--config.pretrain.positives=image{other}"
    )


def _check_pairs(partners: Partners, subjects: int) -> None:
    """Checks that there is a pair, and an image of another group to contrast it with."""
    kind, images = partners.kind, partners.images
    if not partners.paired:
        raise ValueError(
            f"{_FIELD} = {kind!r} needs at least 2 training images with another photograph of the "
            f"same {kind}, and 0 of {images} have one: look at the column '{kind}', or set "
            "--config.pretrain.positives=image"
        )
    if subjects < 2:
        raise ValueError(
            f"{_FIELD} = {kind!r} needs at least 2 {kind}s among the training images, as those of "
            f"one are no negatives of each other, and all {images} are of 1: look at the column "
            f"'{kind}', or set --config.pretrain.positives=image"
        )
