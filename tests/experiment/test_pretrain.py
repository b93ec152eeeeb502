"""How a pretraining's fields become its parts."""

import types

import jax
import numpy as np
import pytest
from etils import epath

from dermjax.configs import common
from dermjax.experiment import pretrain
from dermjax.experiment.context import RunContext
from dermjax.runs.run_folder import RunFolder
from dermjax.settings import RunSettings

# A kernel and a bias; gradients of which the second kernel's is a hundred times the first's.
PARAMS = {"kernel": np.array([[2.0, -4.0]], np.float32), "bias": np.array([2.0], np.float32)}
GRADS = {"kernel": np.array([[0.01, 1.0]], np.float32), "bias": np.array([1.0], np.float32)}


@pytest.mark.parametrize(
    ("optimizer", "kernel", "bias"),
    [
        ("sgd", [0.01 + 0.2, 1.0 - 0.4], 1.0 + 0.2),  # gradient, and decay of everything
        ("adamw", [1.0 + 0.2, 1.0 - 0.4], 1.0),  # sign of the gradient, and decay of kernels
    ],
)
def test_the_optimizer_is_the_one_that_is_named(optimizer, kernel, bias):
    config = common.make_config("SS", "scale=paper")
    config.pretrain.update(
        dict(optimizer=optimizer, learning_rate=0.5, weight_decay=0.1, nesterov=False)
    )
    _, found = pretrain._optimizer(RunSettings.from_config(config).pretraining)
    updates, _ = found.update(GRADS, found.init(PARAMS), PARAMS)
    expected = {"kernel": [[-0.5 * value for value in kernel]], "bias": [-0.5 * bias]}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        updates,
        {name: np.array(value) for name, value in expected.items()},
    )


def identity(repeat):
    """Of a pretraining on data that are not there."""
    config = common.make_config("SS", "scale=demo")
    config.pretrain.repeat = repeat
    config.pretrain.head_norm = False
    assert config.pretrain.positives == "image"
    dataset = types.SimpleNamespace(fingerprint="data", split_key=lambda: "images")
    beginning = types.SimpleNamespace(record=lambda: {"source": "random", "sha256": ""})
    settings, folder = RunSettings.from_config(config), RunFolder(epath.Path("runs/run"))
    run = RunContext(settings, dataset, None, beginning, folder, None)
    return run, pretrain._identity(run)


def test_a_pretraining_made_before_there_were_repeats_is_found_again():
    """Its folder is named by what it depends on; the first one has no further field there."""
    run, found = identity(0)
    without = run.settings.pretraining.to_dict()
    for name in ("directory", "accumulate_steps", "report_every", "save_every", "monitor"):
        del without[name]
    later = ("repeat", "head_norm", "positives")
    assert found["pretrain"] == {k: v for k, v in without.items() if k not in later}
    assert found["seed"] == run.settings.seed
    assert set(found) == {
        *("pretrain", "model", "dtype", "max_side", "records", "data_fingerprint"),
        *("training_images", "seed", "weights"),
    }


def test_repeated_pretrainings_differ_in_their_seed_and_folder():
    folders, seeds = set(), set()
    for repeat in range(4):
        run, found = identity(repeat)
        folders.add(str(pretrain._folder(run, found)))
        seeds.add(found["seed"])
    trials = {run.settings.seed + 1000 * (trial + 1) for trial in range(1000)}
    assert len(folders) == len(seeds) == 4 and not seeds & trials
