"""The monitor of pretraining: honest about the sets, right in its figures, heard in time."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from sklearn.neighbors import KNeighborsClassifier

from dermjax import models
from dermjax.configs import common
from dermjax.experiment import dataset as prepare
from dermjax.experiment import knn_monitor, networks, pretrain
from dermjax.experiment.context import RunContext
from dermjax.settings import MonitorSettings, RunSettings
from dermjax.steps import moco
from dermjax.training.parallel import all_devices
from dermjax.training.writer import Writer
from tests.experiment.clinic import tiny_settings


class Heard(Writer):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(active=False)
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def watched(base):
    """A run at work, and a fresh state."""
    settings = tiny_settings("SS", base / "photos.csv", pretrain__monitor__k=3)
    quiet, devices = Writer(active=False), all_devices()
    dataset, beginning = prepare.prepare(settings, quiet), networks.begin(settings, quiet)
    run = RunContext(settings, dataset, devices, beginning, None, quiet)
    state = moco.create_state(
        models.initialize(networks.make_projected_encoder(settings, devices), 0),
        optax.sgd(0.1),
        queue_size=24,
        dim=8,
        keys_per_step=16,
        seed=0,
    )
    return run, state.replace(queue_ids=np.arange(24), step=np.int32(6))


def with_pretraining(run, **fields):
    """The run with other settings of pretraining."""
    stage = dataclasses.replace(run.settings.pretraining, **fields)
    return dataclasses.replace(run, settings=dataclasses.replace(run.settings, pretrain=stage))


def make(run, writer, queue_size=24):
    run = dataclasses.replace(run, writer=writer)
    return knn_monitor.Monitor(run, knn_monitor.Features(run), queue_size=queue_size)


def test_it_reads_labelled_training_and_validation_images_and_nothing_else(watched):
    run, state = watched
    dataset, read = run.dataset, []
    source = dataset.source
    spy = type("Spy", (), {
        "__len__": lambda self: len(source),
        "__getitem__": lambda self, row: (read.append(row), source[row])[1],
    })()  # fmt: skip
    object.__setattr__(dataset, "source", spy)
    try:
        make(run, Heard())(state)
    finally:
        object.__setattr__(dataset, "source", source)
    assert set(dataset.split[read]) == {"train", "validation"}
    assert dataset.labelled[read].all()
    assert (
        len(read)
        == len(set(read))
        == len(dataset.rows("train", labelled=True))
        + len(dataset.rows("validation", labelled=True))
    )


def test_its_figures_are_scikit_learns(watched):
    run, state = watched
    dataset, look = run.dataset, make(run, Heard())
    scalars, score = look(state)
    assert score is None  # no checkpoint is chosen by it
    features = knn_monitor.Features(run)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    bank, queries = (np.asarray(features(variables, rows)) for rows in (look.bank, look.queries))
    labels, asked = dataset.labels[look.bank], dataset.labels[look.queries]
    for count, name in ((3, "knn_accuracy"), (1, "nearest_accuracy")):
        oracle = KNeighborsClassifier(
            count,
            metric="cosine",
            algorithm="brute",
            weights=lambda distance: np.exp((1 - distance) / 0.1),
        )
        assert scalars[name] == pytest.approx(oracle.fit(bank, labels).score(queries, asked))
    assert scalars["majority_accuracy"] == pytest.approx(1 / 3)
    assert (scalars["knn_bank"], scalars["knn_queries"]) == (len(labels), len(asked))
    assert scalars["queue_filled"] == 1


@pytest.mark.parametrize(("labels", "asked", "k"), [(25, 0, 5), (60_000, 0, 200), (25, 7, 7)])
def test_the_neighbours_fit_the_labels(labels, asked, k):
    """200 of 245, as in CIFAR-10's notebook, would name the commonest class to every query."""
    settings = MonitorSettings(every=0, k=asked, temperature=0.1, features="encoder")
    bank = np.tile(np.eye(2, dtype=np.float32)[:1], (labels, 1))
    found = knn_monitor.classify_by_neighbours(
        bank[:1], bank, np.zeros(1, int), np.zeros(labels, int), settings, 2
    )
    assert found["knn_k"] == k


def test_features_are_the_encoders_or_those_behind_the_head(watched):
    run, state = watched
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    widths = {}
    for what in ("encoder", "embedding"):
        monitor = dataclasses.replace(run.settings.pretraining.monitor, features=what)
        watching = with_pretraining(run, monitor=monitor)
        features = knn_monitor.Features(watching)(variables, np.arange(3))
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
        widths[what] = features.shape[1]
    assert widths["embedding"] == 8 and widths["encoder"] > 8


def test_a_collapse_is_said_in_words_and_once(watched):
    run, state = watched
    point = np.tile(np.eye(8, dtype=np.float32)[:1], (24, 1))
    heard = Heard()
    look = make(run, heard)
    for _ in range(2):
        look(state.replace(queue=point))
    said = [line for line in heard.lines if "collapsed" in line]
    assert len(said) == 1 and said[0].startswith("warning: ")


def test_a_young_encoder_is_not_judged(watched):
    run, state = watched
    point = np.tile(np.eye(8, dtype=np.float32)[:1], (24, 1))
    heard = Heard()
    make(run, heard)(state.replace(queue=point, step=np.int32(0)))
    assert not [line for line in heard.lines if "collapsed" in line]


@pytest.mark.parametrize(
    ("batch", "symmetric", "keys"), [(10, False, 20), (5, True, 20), (16, False, 16), (8, True, 16)]
)
def test_an_automatic_queue_holds_two_steps_below_the_data(watched, batch, symmetric, keys):
    run, _ = watched  # 30 training images
    fields = dict(batch_size=batch, symmetric=symmetric, bn_groups=1)
    assert pretrain.queue_size(with_pretraining(run, queue_size=0, **fields)) == keys
    assert pretrain.queue_size(with_pretraining(run, queue_size=77, **fields)) == 77


def test_a_queue_longer_than_the_data_is_said_before_the_training(watched):
    run, _ = watched
    run = with_pretraining(run, mask_same_image=False)
    heard = Heard()
    make(run, heard)
    assert not heard.lines
    make(run, heard, queue_size=30)
    assert "queue of 30 keys is longer than the 30 training images" in heard.lines[0]


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_automatic_interval_keeps_its_work_below_three_percent(symmetric):
    config = common.make_config("SS", None)
    config.pretrain.symmetric = symmetric
    stage = RunSettings.from_config(config).pretraining
    images = 20_926 + 6_829  # all of the paper's labels
    every = knn_monitor.interval(stage, images)
    passes_of_training = every * stage.batch_size * 4 * (2 if symmetric else 1)
    assert 0.01 < images / passes_of_training < 0.03
    assert every % stage.report_every == 0
    config.pretrain.monitor.every = 700
    assert knn_monitor.interval(RunSettings.from_config(config).pretraining, images) == 700


def test_no_labels_no_neighbours_but_health(watched):
    run, state = watched
    nobody = np.zeros_like(run.dataset.labelled)
    unlabelled = dataclasses.replace(run.dataset, labelled=nobody)
    heard = Heard()
    scalars, _ = make(dataclasses.replace(run, dataset=unlabelled), heard)(state)
    assert "knn_accuracy" not in scalars and scalars["queue_std"] > 0
    assert any("0 labelled training and 0 labelled" in line for line in heard.lines)
    assert jax.tree.all(jax.tree.map(np.isfinite, scalars))
