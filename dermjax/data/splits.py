"""Who trains, who validates, who tests, and who keeps a label (the paper's section Data)."""

import hashlib
import itertools

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from dermjax.data import links
from dermjax.data.problems import at_rows, quoted

SETS = links.SETS
_UNSET = -1
_COVER_TRIES = 200


def split_by_group(
    labels, groups, *, fractions=(0.6, 0.2, 0.2), seed: int, testable=None
) -> np.ndarray:
    """Splits rows so that no group is in two sets and every class is in every set.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over groups: the rarest class
    first; one group of a class for each set, then its largest groups first, each to the set that
    wants most of the class. Of several seeded rounds the one closest to `fractions` is kept. The
    answer depends on the ids and the seed, not on the order of the rows.

    Args:
        labels: `[N]` class names, '' = unlabelled.
        groups: `[N]` group ids, none blank.
        fractions: Shares of train, validation and test.
        seed: Non-negative integer.
        testable: `[N]` bool: rows that stay if they come to the test set; None: all.

    Returns:
        `[N]` array of 'train', 'validation', 'test'; groups without any label are in train.

    Raises:
        ValueError: Fractions that are no shares, a missing group, or a class that cannot be in
            all three sets.
    """
    shares = np.asarray(fractions, float)
    if shares.shape != (3,) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"fractions {tuple(fractions)} must be three positive shares that sum "
            "to 1; try (0.6, 0.2, 0.2)"
        )
    group, names = pd.factorize(np.asarray(groups, object), sort=True)
    if (group < 0).any():
        raise ValueError(f"{(group < 0).sum()} rows have no group: give each photo its own")
    counts, testing, classes = _count(labels, group, len(names), testable)
    if not classes:
        return np.full(len(group), SETS[0], dtype=object)
    _need_three(counts, testing, classes, names)
    rounds = int(np.clip(200_000 // len(names), 2, 10))
    rngs = (np.random.default_rng([seed, index]) for index in itertools.count())
    tries = (_one_round(counts, testing, classes, shares, rngs) for _ in range(rounds))
    best = min(tries, key=lambda sets: _deviation(counts, sets, shares))
    # Groups without labels only serve pretraining.
    return np.array(SETS, dtype=object)[np.where(best == _UNSET, 0, best)][group]


def add_validation(split, labels, groups, *, share: float = 0.25, seed: int) -> np.ndarray:
    """Takes a validation set out of the training groups of a split that has none.

    Args:
        split: `[N]` 'train' and 'test'.
        labels: `[N]` class names, '' = unlabelled.
        groups: `[N]` group ids.
        share: Of the training rows.
        seed: Non-negative integer.

    Returns:
        `[N]` array of 'train', 'validation', 'test'.

    Raises:
        ValueError: As `split_by_group`.
    """
    split = np.array(split, object)
    train = split == "train"
    rest = (1 - share) / 2
    made = split_by_group(
        np.asarray(labels, object)[train],
        np.asarray(groups, object)[train],
        fractions=(rest, share, rest),
        seed=seed,
    )
    split[train] = np.where(made == "validation", "validation", "train")
    return split


def _count(labels, group, n_groups, testable):
    """Labelled rows per group and class `[G, K]`, the same over testable rows, and the classes."""
    label, classes = pd.factorize(pd.Series(labels, dtype=object).fillna("").to_numpy(), sort=True)
    classes = list(classes)
    counts = csr_array(
        (np.ones(len(label), np.int64), (group, label)), shape=(n_groups, len(classes))
    )
    stay = np.ones(len(label), bool) if testable is None else np.asarray(testable, bool)
    testing = csr_array((stay.astype(np.int64), (group, label)), shape=counts.shape)
    keep = [index for index, name in enumerate(classes) if name != ""]
    counts, testing = counts[:, keep], testing[:, keep]
    for table in (counts, testing):
        table.sum_duplicates()
        table.eliminate_zeros()
    return counts, testing, [classes[index] for index in keep]


def _need_three(counts, testing, classes, names) -> None:
    """Refuses classes that cannot be in three sets whatever the rest does."""
    by_class, for_test = counts.tocsc(), testing.tocsc()
    for index, name in enumerate(classes):
        held = by_class.indices[by_class.indptr[index] : by_class.indptr[index + 1]]
        ids = ", ".join(repr(str(names[g])) for g in held[:5])
        if len(held) < 3:
            raise ValueError(
                f"class {name!r} has {len(held)} group{'s' * (len(held) != 1)} ({ids})"
                ": train, validation and test need one each; add patients, "
                "merge the "
                "class into another or leave it out"
            )
        if for_test.indptr[index] == for_test.indptr[index + 1]:
            raise ValueError(
                f"class {name!r}: all its images are left out of the test set "
                f"(groups {ids}, ...): keep at least one"
            )


def _one_round(counts, testing, classes, shares, rngs) -> np.ndarray:
    """One seeded assignment `[G]` of set numbers (`_UNSET` where nothing is labelled)."""
    columns = counts.tocsc()
    members = np.diff(columns.indptr)
    order = sorted(range(len(classes)), key=lambda k: (members[k], classes[k]))
    for attempt in range(_COVER_TRIES):
        rng = next(rngs)
        luck = rng.random(counts.shape[0])
        sets, failed = _cover(counts, testing, columns, order, shares, luck, greedy=attempt == 0)
        if failed is None:
            return _fill(counts, columns, sets, shares, luck)
        # What could not be covered goes first in the next attempt.
        order.remove(failed)
        order.insert(0, failed)
    raise ValueError(
        f"class {classes[failed]!r} has {members[failed]} groups, but they are needed "
        "for other classes: no assignment puts every class into train, validation "
        "and test; add patients or merge classes"
    )


def _cover(counts, testing, columns, order, shares, luck, *, greedy):
    """One group of every class in every set; returns (sets, the class that failed or None)."""
    sets = np.full(counts.shape[0], _UNSET)
    total = counts.sum(axis=0)
    test_columns = testing.tocsc()
    for k in order:
        groups = columns.indices[columns.indptr[k] : columns.indptr[k + 1]]
        sizes = columns.data[columns.indptr[k] : columns.indptr[k + 1]]
        tests = test_columns.indices[test_columns.indptr[k] : test_columns.indptr[k + 1]]
        # The test set first, for not every group may be testable; train, the largest, last.
        for s in (2, 1, 0):
            allowed = np.isin(groups, tests) if s == 2 else np.ones(len(groups), bool)
            if (sets[groups[allowed]] == s).any():
                continue
            free = np.flatnonzero(allowed & (sets[groups] == _UNSET))
            if not len(free):
                return sets, k
            # The largest that does not overshoot the set's share, else the smallest; once that
            # has failed, at random.
            size, wanted = sizes[free], max(shares[s] * total[k], 1)
            fit = np.where(size <= wanted, -size, size) if greedy else np.zeros(len(free))
            over = (size > wanted) if greedy else fit
            sets[groups[free[np.lexsort((luck[groups[free]], fit, over))[0]]]] = s
    return sets, None


def _fill(counts, columns, sets, shares, luck) -> np.ndarray:
    """Assigns the remaining groups, class by class from the rarest on."""
    total = counts.sum(axis=0)
    taken = np.stack([counts[sets == s].sum(axis=0) for s in range(3)])
    # Plain lists: the loop below touches single numbers, where they are ten times faster.
    wanted = (shares[:, None] * total - taken).tolist()
    room = (shares * total.sum() - taken.sum(axis=1)).tolist()
    start, class_of, size_of = counts.indptr.tolist(), counts.indices.tolist(), counts.data.tolist()
    whole = np.asarray(counts.sum(axis=1))
    for k in np.argsort(np.diff(columns.indptr), kind="stable"):
        groups = columns.indices[columns.indptr[k] : columns.indptr[k + 1]]
        groups = groups[sets[groups] == _UNSET]
        groups = groups[np.lexsort((luck[groups], -whole[groups]))]
        chosen = []
        for g in groups.tolist():
            s = max((0, 1, 2), key=lambda s: (wanted[s][k], room[s]))  # noqa: B023
            chosen.append(s)
            for at in range(start[g], start[g + 1]):
                wanted[s][class_of[at]] -= size_of[at]
                room[s] -= size_of[at]
        sets[groups] = chosen
    return sets


def _deviation(counts, sets, shares) -> float:
    """Mean over the classes of the largest distance between a set's share and the wanted one."""
    taken = np.stack([counts[sets == s].sum(axis=0) for s in range(3)])
    off = np.abs(taken / taken.sum(axis=0) - shares[:, None]).max(axis=0)
    return float(off.mean() + np.abs(taken.sum(axis=1) / taken.sum() - shares).max())


def group_problems(frame: pd.DataFrame, allow=(), *, labelled: bool = True) -> list[str]:
    """What only classes and groups together show.

    Args:
        frame: A manifest's table.
        allow: What the given split may tear apart, as `links.excepted` reads it.
        labelled: Labels are needed; where they are not, nothing is said of classes.

    Returns:
        One line per problem: too few classes or groups, a given split that leaks or lacks a class.
    """
    kept = frame[frame["exclude"] != "all"]
    labelled_rows = kept[kept["label"] != ""]
    classes = sorted(set(labelled_rows["label"]))
    problems = _joined(kept)
    if labelled and len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no label at all"
        problems.append(f"the table has {has}: at least two classes are needed")
    if (kept["split"] != "").any():
        return problems + _split_problems(frame, allow, labelled)
    for name, part in labelled_rows.groupby("label") if labelled else ():
        groups = part["group"].unique()
        if len(groups) < 3:
            problems.append(
                at_rows(
                    part["row"],
                    f"class {name!r} has {len(groups)} of the 3 patients it needs, one "
                    f"each for train, validation and test ({quoted(groups)}): add patients, "
                    "merge the "
                    "class into another or exclude it",
                    part["image"],
                )
            )
        elif (part["exclude"] == "test").all():
            problems.append(
                at_rows(
                    part["row"],
                    f"class {name!r} has no image that may be tested: "
                    "clear 'exclude' on one patient at least",
                    part["image"],
                )
            )
    return problems


def _joined(frame) -> list[str]:
    """Ids numbered anew within each patient would join everything into one group."""
    whole = frame.loc[frame["patient"] != ""].groupby("group")["patient"].nunique()
    count = frame["patient"].nunique()
    if whole.empty or whole.max() < 10 or whole.max() <= count / 2:
        return []
    return [
        f"shared lesions or identical files join {whole.max()} of {count} patients into one "
        "group: write lesion ids that are unique over all patients, such as patient_lesion"
    ]


def _split_problems(frame, allow, labelled: bool) -> list[str]:
    """Leaks and gaps of a split that the user gave."""
    problems, everything = [], frame
    frame = frame[frame["exclude"] != "all"]
    blank = frame["split"] == ""
    if blank.any():
        problems.append(
            at_rows(
                frame.loc[blank, "row"],
                "split is blank here but filled on other "
                "rows: fill it everywhere or leave the column out",
                frame.loc[blank, "image"],
            )
        )
    problems += links.problems(everything, allow)
    if not labelled:
        return problems
    used = frame[~((frame["split"] == "test") & (frame["exclude"] == "test"))]
    with_label = used[used["label"] != ""]
    classes = set(frame["label"]) - {""}
    validated = "validation" in set(frame["split"])
    if not validated:
        trained = with_label[with_label["split"] == "train"].groupby("label")["group"].nunique()
        if few := sorted(name for name in classes if 0 < trained.get(name, 0) < 3):
            problems.append(
                "the given split has no validation set, and too few training patients of "
                f"{quoted(few, 10)} to make one (3 are needed): move a patient there"
            )
    for name in SETS if validated else ("train", "test"):
        if missing := sorted(classes - set(with_label.loc[with_label["split"] == name, "label"])):
            problems.append(
                f"the given split has no {name} image of {quoted(missing, 10)}: "
                "move a patient there or leave the column out"
            )
    return problems


def keep_labels(labels, eligible, alpha: float, *, seed: int, trial: int) -> np.ndarray:
    """Chooses the images whose label is used: a share alpha of each class.

    A class keeps max(1, round(alpha n)) of its n images; a smaller alpha keeps a subset of what a
    larger one keeps; every trial draws anew.

    Args:
        labels: `[N]` class names, '' = unlabelled (never kept).
        eligible: `[N]` bool, the training rows.
        alpha: Share in (0, 1].
        seed: Integer.
        trial: Integer.

    Returns:
        `[N]` bool.

    Raises:
        ValueError: alpha outside (0, 1].
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha {alpha} must be above 0 and at most 1; try 0.1")
    labels = np.asarray(labels, object)
    keep = np.zeros(len(labels), bool)
    eligible = np.asarray(eligible, bool)
    for name in sorted(set(labels[eligible]) - {""}):
        rows = np.flatnonzero(eligible & (labels == name))
        digest = hashlib.sha256(f"{seed}\x1f{trial}\x1f{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
        order = np.argsort(rng.random(len(rows)), kind="stable")
        # Half up: Python's round(2.5) is 2, which would surprise a reader of the paper.
        count = max(1, int(np.floor(alpha * len(rows) + 0.5)))
        keep[rows[order[:count]]] = True
    return keep


def make_split(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """A table's own sets if it has some, otherwise new ones by patient.

    Of a split into training and test images a quarter of the training groups is for validation.

    Raises:
      ValueError: too few groups of a class.
    """
    labels, groups = frame["label"].to_numpy(), frame["group"].to_numpy()
    given = frame["split"].to_numpy(dtype=object).astype(str)
    if (given == "").all():
        testable = (frame["exclude"] != "test").to_numpy()
        return split_by_group(labels, groups, seed=seed, testable=testable)
    if (given == "validation").any():
        return given
    return add_validation(given, labels, groups, seed=seed).astype(str)
