"""A smaller learning rate for encoders that were trained before, in whole runs."""

import json

import jax
import numpy as np
import pytest

from dermjax.cli import task
from tests.experiment.clinic import tiny_config, write_weights
from tests.experiment.ends import final_params


def trained(strategy, base, folder, **fields):
    """The losses of a run's fine-tuning, step by step."""
    config = tiny_config(strategy, base / "photos.csv", finetune__weight_decay=0.0, **fields)
    assert task.start(config, str(folder)) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["stage"] == "finetune"]


def moved(a, b):
    """The largest change of a parameter."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in leaves)


@pytest.mark.slow
def test_the_encoder_keeps_what_it_knows_and_the_classifier_learns(base, tmp_path):
    import dermjax

    path = write_weights(base)
    _, variables = dermjax.create_model("efficientnet_tiny", 0, path)
    fields = dict(init__weights=str(path), finetune__learning_rate=0.01)
    for rate, least, most in ((1.0, 1e-3, 1.0), (1e-4, 1e-8, 1e-5)):
        folder = tmp_path / f"in{rate}"
        trained("IN", base, folder, finetune__encoder_rate=rate, **fields)
        bias = {"classifier": {"bias": np.zeros(3, np.float32)}}  # zero at first
        params = final_params(folder, "finetune", 6, **variables["params"], **bias)
        classifier = params.pop("classifier")
        assert least < moved(params, variables["params"]) < most
        assert np.abs(classifier["bias"]).max() > 1e-3


@pytest.mark.slow
def test_a_random_encoder_has_the_full_rate(base, tmp_path):
    assert trained("FS", base, tmp_path / "a") == trained(
        "FS", base, tmp_path / "b", finetune__encoder_rate=0.1
    )


def test_a_run_from_before_the_field_goes_on(base, tmp_path):
    """Its folder lacks the field: it had the full rate."""
    config = tiny_config("FS", base / "photos.csv")
    folder = tmp_path / "run"
    folder.mkdir()
    older = config.to_dict()
    del older["finetune"]["encoder_rate"]
    (folder / "config.json").write_text(json.dumps(older))
    assert task.start(config, str(folder)) == 0
    config.finetune.encoder_rate = 0.1
    with pytest.raises(ValueError, match="finetune.encoder_rate: 1.0 there, 0.1 here"):
        task.start(config, str(folder))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5])
def test_rates_out_of_bounds_are_refused(rate, base, tmp_path):
    config = tiny_config("FS", base / "photos.csv", finetune__encoder_rate=rate)
    with pytest.raises(ValueError, match="encoder_rate = .* above 0 and at most 1"):
        task.start(config, str(tmp_path))
