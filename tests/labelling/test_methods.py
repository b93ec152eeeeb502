"""Every method: quotas, seeds, an order of its own, and its definition written anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from dermjax.labelling import classifier, clusters, coverage, methods, typicality, uncertainty
from dermjax.labelling.pool import Pool
from tests.labelling.pools import made_up, unit

ALL = sorted(methods.METHODS)


def rows_of(chosen):
    return [one.row for one in chosen]


@pytest.mark.parametrize("name", ALL)
def test_a_batch_has_its_size_and_asks_nobody_twice(name):
    pool, _ = made_up(labelled=20)
    chosen = methods.METHODS[name](pool, 15, 0)
    rows = rows_of(chosen)
    assert len(set(rows)) == len(rows) == 15
    assert pool.askable[rows].all()
    assert all(one.why for one in chosen)
    assert chosen == methods.METHODS[name](pool, 15, 0)
    assert rows != rows_of(methods.METHODS["random"](pool, 15, 1))


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(ALL), data=st.data())
def test_quotas_hold_whatever_the_groups(name, data):
    size = 60
    numbers = st.lists(st.integers(0, 20), min_size=size, max_size=size)
    patients, lesions = np.array(data.draw(numbers)), np.array(data.draw(numbers)) - 1
    bound, count = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 70))
    pool, _ = made_up(
        images=size,
        labelled=12,
        patients=patients,
        per_patient=bound,
        once=(lesions,),
    )
    rows = rows_of(methods.METHODS[name](pool, count, 3))
    assert len(rows) == len(set(rows)) <= count and pool.askable[rows].all()
    assert np.bincount(patients[rows], minlength=1).max(initial=0) <= bound
    known = lesions[rows][lesions[rows] >= 0]
    assert len(set(known.tolist())) == len(known)
    if len(rows) < count:  # nobody is left who could have been asked
        for row in np.flatnonzero(pool.askable):
            full = (patients[rows] == patients[row]).sum() >= bound
            assert row in rows or full or (lesions[row] >= 0 and lesions[row] in lesions[rows])


@pytest.mark.parametrize("name", [n for n in ALL if n not in methods.NEED_LABELS])
def test_a_cold_start_needs_no_label(name):
    pool, truth = made_up(images=200, kinds=4, spread=0.2)
    rows = rows_of(methods.METHODS[name](pool, 8, 0))
    assert len(rows) == 8
    if name in ("typicality", "handover"):
        assert set(truth[rows]) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", methods.NEED_LABELS)
def test_a_classifier_without_labels_is_refused(name):
    with pytest.raises(ValueError, match="needs labels, and there is none: take method=typicality"):
        methods.METHODS[name](made_up()[0], 5, 0)


def test_random_choice_gives_every_patient_the_same_chance():
    """A patient of 30 photographs and 30 of one each: one batch asks about 10 of 31 patients."""
    patients = np.concatenate([np.zeros(30, int), np.arange(1, 31)])
    pool, _ = made_up(images=60, patients=patients)
    hits = sum(
        (patients[rows_of(methods.METHODS["random"](pool, 10, seed))] == 0).any()
        for seed in range(400)
    )
    assert 400 * 10 / 31 * 0.75 < hits < 400 * 10 / 31 * 1.25


def test_the_handover_is_typicality_and_then_margin():
    few, _ = made_up(labelled=39)
    many, _ = made_up(labelled=40)
    assert few.known_classes == many.known_classes == 4 and methods.FEW == 10
    assert methods.handover(few, 9, 1) == typicality.choose(few, 9, 1)
    assert methods.handover(many, 9, 1) == uncertainty.choose_by_margin(many, 9, 1)
    one_class, _ = made_up(images=100, kinds=1, labelled=50)
    assert methods.handover(one_class, 9, 1) == typicality.choose(one_class, 9, 1)


# TypiClust


def typiclust_by_hand(pool, count, seed):
    """Section 3 of the paper in plain loops, on the same clusters."""
    found = clusters.assign(pool.features, int(pool.labelled.sum()) + count, seed)
    chosen = []
    for _ in range(count):
        best = None
        for k in sorted(set(found.tolist())):
            own = [i for i in range(len(found)) if found[i] == k]
            known = sum(pool.labels[i] >= 0 or i in chosen for i in own)
            free = [i for i in own if pool.askable[i] and i not in chosen]
            if len(own) >= 5 and free and (best is None or (known, -len(own)) < best[0]):
                best = ((known, -len(own)), own, free)
        _, own, free = best

        def mean_distance(i, own=own):
            x = pool.features.astype(float)
            far = sorted(np.linalg.norm(x[i] - x[j]) for j in own if j != i)
            return np.mean(far[:20])

        chosen.append(min(free, key=mean_distance))
    return chosen


@pytest.mark.parametrize(("labelled", "count"), [(0, 6), (10, 8), (25, 5)])
def test_typicality_is_the_papers(labelled, count):
    pool, _ = made_up(images=150, labelled=labelled)
    assert rows_of(typicality.choose(pool, count, 7)) == typiclust_by_hand(pool, count, 7)


def test_small_clusters_are_asked_about_last():
    """Forty of one kind, and four strangers."""
    rng = np.random.default_rng(0)
    crowd = unit([1, 0, 0] + rng.normal(scale=0.02, size=(40, 3)))
    pool = Pool(
        np.concatenate([crowd, unit([[0, 1, 0.01 * i] for i in range(4)])]),
        np.full(44, -1),
        np.ones(44, bool),
        np.arange(44),
    )
    rows = rows_of(typicality.choose(pool, 2, 0))
    assert max(rows) < 40
    assert sorted(rows_of(typicality.choose(pool, 44, 0))) == list(range(44))


def test_typicality_of_few_and_of_equal_photographs():
    assert typicality.typicality(unit([[1, 2]])).tolist() == [1]
    assert np.isinf(typicality.typicality(unit([[1, 0]] * 3))).all()
    blocks = made_up(images=300)[0].features
    whole = typicality.typicality(blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typicality, "_FLOATS", 900)  # three rows at a time
        np.testing.assert_allclose(typicality.typicality(blocks), whole, rtol=1e-4)


# ProbCover


def probcover_by_hand(features, known, count, delta):
    """Algorithm 1 of the paper: the graph, the largest out-degree, incoming edges removed."""
    x = features.astype(float)
    edges = np.linalg.norm(x[:, None] - x[None], axis=-1) < delta
    np.fill_diagonal(edges, True)
    chosen = []
    for i in np.flatnonzero(known):
        edges[:, edges[i].copy()] = False
    for _ in range(count):
        degrees = edges.sum(1).astype(float)
        degrees[known] = -1
        degrees[chosen] = -1
        best = int(degrees.argmax())
        if degrees[best] < 1:
            break
        chosen.append(best)
        edges[:, edges[best].copy()] = False
    return chosen


def purity(features, cluster, delta):
    """The share of balls all of whose photographs are of one cluster (section 3.3)."""
    x = features.astype(float)
    inside = np.linalg.norm(x[:, None] - x[None], axis=-1) < delta
    return np.mean([len(set(cluster[row])) == 1 for row in inside | np.eye(len(x), dtype=bool)])


@pytest.mark.parametrize("labelled", [0, 15])
@pytest.mark.parametrize("seed", range(3))
def test_coverage_is_the_papers(seed, labelled):
    pool, _ = made_up(seed, images=130, labelled=labelled, spread=0.7)
    kinds = pool.known_classes or 10
    cluster = clusters.assign(pool.features, kinds, seed)
    above = coverage.threshold(pool.features, cluster, seed)
    delta = np.sqrt(2 - 2 * above)
    assert purity(pool.features, cluster, delta * (1 - 1e-6)) >= 0.95
    assert purity(pool.features, cluster, delta * (1 + 1e-4)) < 0.95
    expected = probcover_by_hand(pool.features, pool.labelled, 12, delta * (1 - 1e-6))
    assert rows_of(coverage.choose(pool, 12, seed))[: len(expected)] == expected


def test_balls_in_blocks_are_the_same(monkeypatch):
    features = made_up(images=333)[0].features
    inside = features @ features.T > 0.6
    np.fill_diagonal(inside, True)
    monkeypatch.setattr(coverage, "_BLOCK", 64)
    monkeypatch.setattr(coverage, "_ROWS", 5)
    balls = coverage.Balls(features, 0.6)
    assert balls.degrees.tolist() == inside.sum(1).tolist()
    assert (np.array([balls.held(row) for row in range(333)]) == inside).all()
    balls.cover(np.array([4, 9]))
    left = ~(inside[4] | inside[9])
    assert balls.degrees.tolist() == (inside & left).sum(1).tolist()


def test_when_all_are_covered_the_rest_is_drawn():
    pool, _ = made_up(images=40, kinds=2, labelled=10, spread=0.01)
    chosen = coverage.choose(pool, 10, 0)
    assert len(chosen) == 10 and chosen[-1].why == "drawn at random: all are covered"


def test_more_photographs_than_coverage_can_hold_are_refused(monkeypatch):
    monkeypatch.setattr(coverage, "MOST", 50)
    with pytest.raises(ValueError, match="of 50 photographs at most, and there are 120: take"):
        coverage.choose(made_up()[0], 5, 0)


# Margin and entropy


def test_margin_and_entropy_by_hand():
    told = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(uncertainty.margins(told), [0.2, 0, 1])
    by_hand = -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))
    np.testing.assert_allclose(uncertainty.entropies(told)[[0, 2]], [by_hand, 0])


def test_uncertain_photographs_lie_between_the_classes():
    """Two classes at the ends of an arc, whose middle is labelled by nobody."""
    angles = np.linspace(0, np.pi / 2, 91)
    features = unit(np.stack([np.cos(angles), np.sin(angles)], 1))
    labels = np.full(91, -1)
    labels[:10], labels[-10:] = 0, 1
    pool = Pool(features, labels, labels < 0, np.arange(91))
    for method in (uncertainty.choose_by_margin, uncertainty.choose_by_entropy):
        assert np.abs(np.array(rows_of(method(pool, 5, 0))) - 45).max() <= 4


def test_the_classifier_is_balanced_and_chooses_c_among_its_own_patients():
    pool, truth = made_up(images=300, kinds=3, spread=1.2, size=5)
    fitted = classifier.fit(pool.features, truth, pool.patients // 2)
    assert fitted.c in classifier.CS and fitted.classes.tolist() == [0, 1, 2]
    assert fitted.regression.class_weight == "balanced"
    told = fitted.probabilities(pool.features)
    np.testing.assert_allclose(told.sum(1), 1, rtol=1e-6)
    # Labels that say nothing are best met by the strongest penalty.
    noise = np.random.default_rng(0).integers(3, size=300)
    assert classifier.fit(pool.features, noise, pool.patients).c == min(classifier.CS)


@pytest.mark.parametrize("images", [30, 200])
def test_the_classifier_is_a_logistic_regression_on_standardised_features(images):
    """Of fewer images than features, too, where it is fitted in fewer directions."""
    pool, truth = made_up(images=images + 50, size=60, kinds=3, spread=1.0)
    features = pool.features.astype(float)
    fitted = classifier.fit(features[:images], truth[:images], pool.patients[:images], cs=(0.01,))
    mean, std = features[:images].mean(0), features[:images].std(0)
    plain = LogisticRegression(C=0.01, class_weight="balanced", tol=1e-8, max_iter=5000)
    plain.fit((features[:images] - mean) / std, truth[:images])
    expected = plain.predict_proba((features[images:] - mean) / std)
    np.testing.assert_allclose(fitted.probabilities(features[images:]), expected, atol=2e-3)


def test_a_classifier_of_one_class_or_one_patient():
    pool, truth = made_up(images=20)
    same = classifier.fit(pool.features, np.full(20, 3), pool.patients)
    assert same.classes.tolist() == [3] and (same.probabilities(pool.features) == 1).all()
    one = classifier.fit(pool.features, truth, np.zeros(20, int))
    assert one.c == min(classifier.CS)


def test_a_pool_that_contradicts_itself_is_refused():
    pool, _ = made_up(labelled=3)
    with pytest.raises(ValueError, match="have a label are not to be asked"):
        Pool(pool.features, pool.labels, np.ones(120, bool), pool.patients)
    with pytest.raises(ValueError, match="rows must have 120 each"):
        Pool(pool.features, pool.labels[:5], pool.askable, pool.patients)
    with pytest.raises(ValueError, match="per_patient = 0 must be at least 1"):
        Pool(pool.features, pool.labels, pool.askable, pool.patients, per_patient=0)
