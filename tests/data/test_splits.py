"""No group in two sets, every class in every set, shares as wanted; labels kept nested."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from dermjax.data import links, splits
from dermjax.data.splits import SETS

SHARES = (0.6, 0.2, 0.2)
CLASSES = "abcd"


@st.composite
def one_class_groups(draw):
    """Rows whose groups have one class each, at least three groups per class, some unlabelled."""
    labels, groups = [], []
    for name in CLASSES[: draw(st.integers(1, 4))]:
        for index, size in enumerate(draw(st.lists(st.integers(1, 9), min_size=3, max_size=25))):
            labels += [name] * size
            groups += [f"{name}{index}"] * size
    blank = draw(st.integers(0, 5))
    return labels + [""] * blank, groups + [f"u{i}" for i in range(blank)]


rows = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["", *CLASSES[:3]])), min_size=1, max_size=25
)


def _ours(labels, groups, **options):
    return splits.split_by_group(labels, groups, **{"seed": 0, **options})


def _whole(sets, groups):
    return len(set(zip(groups, sets, strict=True))) == len(set(groups))


def _covered(labels, sets):
    return {(name, s) for name, s in zip(labels, sets, strict=True) if name}


@settings(max_examples=60, deadline=None)
@given(one_class_groups(), st.integers(0, 2**31))
def test_groups_whole_and_classes_everywhere(data, seed):
    labels, groups = data
    sets = _ours(labels, groups, seed=seed)
    assert _whole(sets, groups)
    assert _covered(labels, sets) == set(itertools.product(set(labels) - {""}, SETS))
    assert all(s == "train" for s, name in zip(sets, labels, strict=True) if not name)
    np.testing.assert_array_equal(sets, _ours(labels, groups, seed=seed))


@settings(max_examples=150, deadline=None)
@given(rows)
def test_a_cover_is_found_whenever_there_is_one(data):
    groups, labels = map(list, zip(*data, strict=True))
    names = sorted(set(groups))
    wanted = set(itertools.product(set(labels) - {""}, SETS))
    possible = any(
        _covered(labels, [choice[names.index(g)] for g in groups]) == wanted
        for choice in itertools.product(SETS, repeat=len(names))
    )
    if possible:
        sets = _ours(labels, groups)
        assert _covered(labels, sets) == wanted
        assert _whole(sets, groups)
    else:
        with pytest.raises(ValueError, match="class '.' has [0-9]+ group"):
            _ours(labels, groups)


@settings(max_examples=40, deadline=None)
@given(one_class_groups(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(data, random):
    labels, groups = data
    order = list(range(len(labels)))
    random.shuffle(order)
    sets = _ours(labels, groups)
    moved = _ours([labels[i] for i in order], [groups[i] for i in order])
    assert moved.tolist() == [sets[i] for i in order]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_shares_with_many_groups(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 1500, 5000)
    labels = np.array(list(CLASSES), object)[rng.choice(4, 5000, p=[0.7, 0.2, 0.08, 0.02])]
    sets = _ours(labels, groups, seed=seed)
    for name in CLASSES:
        count = (labels == name).sum()
        for share, s in zip(SHARES, SETS, strict=True):
            assert abs((sets[labels == name] == s).sum() - share * count) <= max(3, 0.02 * count)


@pytest.mark.parametrize("seed", range(4))
def test_not_worse_than_stratified_group_k_fold(seed):
    """An independent splitter: five folds, three of them for training."""
    rng = np.random.default_rng(seed)
    size = rng.geometric(0.3, 400)
    main = rng.choice(5, 400, p=[0.5, 0.3, 0.12, 0.05, 0.03])
    groups = np.repeat(np.arange(400), size)
    labels = np.where(rng.random(len(groups)) < 0.85, main[groups], rng.integers(0, 5, len(groups)))
    names = np.array(list("abcde"), object)[labels]
    fold = np.empty(len(groups), int)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for index, (_, held) in enumerate(folds.split(names, names, groups)):
        fold[held] = index
    theirs = np.array(["train", "train", "train", "validation", "test"], object)[fold]

    def worst(sets):
        table = pd.crosstab(names, sets, normalize="index")
        return (table[list(SETS)] - np.array(SHARES)).abs().to_numpy().max()

    assert worst(_ours(names, groups, seed=seed)) <= worst(theirs) + 0.01


def test_seed_changes_the_split():
    labels, groups = ["a", "b"] * 50, np.arange(100)
    assert (_ours(labels, groups, seed=1) != _ours(labels, groups, seed=2)).any()


def test_other_fractions():
    labels, groups = ["a", "b"] * 500, np.arange(1000)
    sets = _ours(labels, groups, fractions=(0.8, 0.1, 0.1))
    assert [(sets == s).sum() for s in SETS] == [800, 100, 100]


@pytest.mark.parametrize("bad", [(0.6, 0.4, 0.0), (0.6, 0.2, 0.3), (0.5, 0.5)])
def test_bad_fractions(bad):
    with pytest.raises(ValueError, match="must be three positive shares that sum to 1"):
        _ours(["a"] * 9, range(9), fractions=bad)


def test_too_few_groups_is_told():
    labels, groups = ["a"] * 6 + ["b"] * 3, [1, 1, 2, 2, 3, 4, 5, 5, 6]
    with pytest.raises(ValueError, match=r"class 'b' has 2 groups \('5', '6'\): train"):
        _ours(labels, groups)


def test_no_labels_at_all_is_training_only():
    assert set(_ours([""] * 4, range(4))) == {"train"}


@pytest.mark.parametrize("seed", range(10))
def test_rows_left_out_of_the_test_set_do_not_cover_it(seed):
    labels, groups = np.array(["a", "b"] * 20, object), np.arange(40)
    testable = np.isin(groups, [4, 5, 6, 7])
    sets = _ours(labels, groups, seed=seed, testable=testable)
    assert set(labels[(sets == "test") & testable]) == {"a", "b"}
    with pytest.raises(ValueError, match="class 'a': all its images are left out of the test set"):
        _ours(labels, groups, testable=labels == "b")


@settings(max_examples=40, deadline=None)
@given(one_class_groups(), st.integers(0, 99))
def test_a_validation_set_is_taken_out_of_the_training_groups(data, seed):
    labels, groups = data
    given_split = ["train"] * len(labels) + ["test", "test"]
    labels, groups = [*labels, "a", "b"], [*groups, "t1", "t2"]
    made = splits.add_validation(given_split, labels, groups, seed=seed)
    assert _whole(made, groups) and (made[-2:] == "test").all()
    assert set(made[:-2]) <= {"train", "validation"}
    sets = _covered(labels[:-2], made[:-2])
    assert sets == set(itertools.product(set(labels[:-2]) - {""}, ("train", "validation")))


def test_a_quarter_is_taken():
    labels, groups = ["a", "b"] * 200, np.repeat(np.arange(100), 4)
    made = splits.add_validation(["train"] * 400, labels, groups, seed=0)
    assert (made == "validation").sum() == pytest.approx(100, abs=8)


def table(sets, **columns):
    """A manifest's table with a given split; what is not given is blank, every image has its own
    file."""
    names = [f"{i}.jpg" for i in range(len(sets))]
    blank = dict.fromkeys(("patient", "lesion", "exclude"), [""] * len(sets))
    fields = {"image": names, "path": names, "content": names, "row": range(2, len(sets) + 2)}
    return pd.DataFrame({**blank, **fields, "split": sets, **columns})


def test_what_a_given_split_tears():
    sets = ["train", "test", "train", "", "validation", "test"]
    found = links.split_apart(table(sets, patient=list("abcadd"), lesion=list("xyzxvw")))
    assert list(found) == ["patients"] and found["patients"]["row"].tolist() == [6, 7]
    assert links.split_apart(table(sets, patient=list("abcdef"))) == {}
    files = links.split_apart(table(sets, content=list("abbadd")))
    assert files["files"]["shared"].tolist() == ["1.jpg", "1.jpg", "4.jpg", "4.jpg"]
    unscanned = table(sets, path=list("abbcde")).drop(columns="content")
    assert links.split_apart(unscanned)["files"]["row"].tolist() == [3, 4]
    curated = table(sets, patient=list("abcadd"), exclude=["", "", "", "", "", "test"])
    assert links.split_apart(curated) == {}


def test_a_row_that_is_left_out_ties_others_together():
    tied = table(
        ["train", "", "test"],
        patient=["", "p", "p"],
        lesion=["l", "l", ""],
        exclude=["", "all", ""],
        near=["", "", ""],
    )
    assert links.split_apart(tied)["chains"]["shared"].tolist() == ["patient:p"] * 2
    assert list(links.split_apart(tied.assign(patient="p"))) == ["patients"]
    near = tied.assign(lesion=["", "", ""], near=["h", "h", "h"])
    assert links.split_apart(near)["near_duplicates"]["shared"].tolist() == ["0.jpg"] * 2
    # Identical files are told as files, and by a name that no order of the rows changes.
    same = near.assign(content="c")[::-1]
    assert list(links.split_apart(same)) == ["files"]
    assert links.split_apart(same)["files"]["shared"].tolist() == ["0.jpg"] * 2


def test_exceptions_are_of_all_or_of_one():
    torn = pd.DataFrame({"shared": ["p1", "p2", "p1"], "image": ["a.jpg", "b.jpg", "c.jpg"]})
    assert links.excepted("patients", torn, ["patients"]).all()
    for written in ("p1", "P001", "p1\u200b"):
        allowed = links.excepted("patients", torn, [f"patient:{written}"])
        assert allowed.tolist() == [True, False, True]
    assert not links.excepted("patients", torn, ["lesions", "lesion:p1", "patient:p"]).any()
    torn = torn.assign(shared=["a.jpg", "b.jpg", "a.jpg"])
    for name in ("file", "near_duplicate"):  # by any of the names
        assert links.excepted(f"{name}s", torn, [f"{name}:c.jpg"]).tolist() == [True, False, True]
    links.check_allow(["patients", "lesion:a:b", "file:a b.jpg"])
    for entry in ("patient", "patients:p1", "lesion:", "photos", "near", ""):
        with pytest.raises(ValueError, match="names no exception: use patients, patient:ID, les"):
            links.check_allow([entry])


def test_merged_groups_are_transitive():
    frame = pd.DataFrame(
        {
            "patient": ["p1", "p2", "", "", "p9", "", "L1"],
            "lesion": ["L1", "L1", "L2", "L2", *"   "],
            "path": list("abcddef"),
            "image": list("abcddef"),
            "content": ["x", "y", "y", "z", "z", "w", "v"],
        }
    ).replace(" ", "")
    groups = links.merge_groups(frame).tolist()
    assert groups == ["patient:p1"] * 5 + ["photo:e", "patient:L1"]
    near = links.merge_groups(frame.assign(near=["", "", "", "", "", "h", "h"])).tolist()
    assert near == ["patient:p1"] * 5 + ["patient:L1"] * 2
    alone = links.merge_groups(frame.drop(columns="content")).tolist()
    assert alone == ["patient:p1"] * 2 + ["patient:p9"] * 3 + ["photo:e", "patient:L1"]


kept_rows = st.lists(st.tuples(st.sampled_from(["", *CLASSES]), st.booleans()), max_size=80)


@settings(max_examples=80, deadline=None)
@given(kept_rows, st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 99), st.integers(0, 2))
def test_kept_labels(data, one, two, seed, trial):
    assume(data)
    labels, eligible = (np.array(column) for column in zip(*data, strict=True))
    less, more = (
        splits.keep_labels(labels, eligible, alpha, seed=seed, trial=trial)
        for alpha in sorted((one, two))
    )
    assert not (less & ~more).any() and not (more & (~eligible | (labels == ""))).any()
    for name in set(labels[eligible]) - {""}:
        count = (eligible & (labels == name)).sum()
        kept = more[labels == name].sum()
        assert 1 <= kept and (abs(kept - max(one, two) * count) <= 0.5 or kept == 1)
    whole = splits.keep_labels(labels, eligible, 1, seed=seed, trial=trial)
    np.testing.assert_array_equal(whole, eligible & (labels != ""))


def test_trial_and_seed_choose_anew():
    labels, eligible = np.repeat(list("ab"), 100), np.ones(200, bool)
    chosen = [
        splits.keep_labels(labels, eligible, 0.3, seed=seed, trial=trial)
        for seed in range(2)
        for trial in range(3)
    ]
    for one, two in itertools.combinations(chosen, 2):
        assert (one != two).any() and one.sum() == two.sum() == 60
    # Classes draw apart: the same positions in each would mean one shared permutation.
    assert (chosen[0][:100] != chosen[0][100:]).any()


@pytest.mark.parametrize("alpha", [0, -0.1, 1.01, 10, float("nan")])
def test_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match="must be above 0 and at most 1; try 0.1"):
        splits.keep_labels(["a"], [True], alpha, seed=0, trial=0)


def test_time_grows_about_linearly():
    rng = np.random.default_rng(0)
    times = []
    for count in (20_000, 80_000):
        groups = rng.integers(0, count // 4, count)
        labels = np.array(list(CLASSES), object)[rng.integers(0, 4, count)]
        start = time.perf_counter()
        _ours(labels, groups)
        times.append(time.perf_counter() - start)
    assert times[1] < 12 * max(times[0], 0.1)


def test_missing_values():
    labels, groups = ["a", None, float("nan")] * 9, list(range(27))
    assert (_ours(labels, groups)[1::3] == "train").all()
    with pytest.raises(ValueError, match="1 rows have no group: give each photo its own"):
        _ours(labels, [None, *groups[1:]])


@pytest.mark.parametrize("seed", range(8))
def test_hidden_cover_of_classes_that_share_patients(seed):
    """Twelve classes of three groups each among 18: only covering the hardest first finds it."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(0, 3, 18)
    labels = np.repeat([f"c{k}" for k in range(12)], 3)
    groups = [rng.choice(np.flatnonzero(hidden == s)) for _ in range(12) for s in range(3)]
    sets = _ours(labels, groups)
    assert len(_covered(labels, sets)) == 36


def test_a_group_covers_the_test_set_with_testable_rows_only():
    # Group 0 must be in the test set for b, but its image of a is left out there.
    labels = ["b", "b", "b", "a", *"aaaaaaaa"]
    groups = [0, 1, 2, 0, *range(3, 11)]
    testable = np.array([True, False, False, False, True, *[False] * 7])
    for seed in range(5):
        sets = _ours(labels, groups, seed=seed, testable=testable)
        assert sets[0] == "test" and sets[4] == "test"
