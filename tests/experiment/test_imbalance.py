"""Options for rare classes in whole runs: each does something, none does by default."""

import json

import numpy as np
import pytest

from dermjax.cli import task
from dermjax.experiment import finetune
from dermjax.settings import RunSettings
from tests.experiment.clinic import tiny_config

OPTIONS = {
    "balanced": dict(sampling="balanced"),
    "weights": dict(class_weights="effective_number"),
    "adjusted": dict(logit_adjustment=1.0, label_smoothing=0.0),
    "focal": dict(loss="focal", label_smoothing=0.0),
}


def config_of(manifest, **options):
    fields = {f"finetune__{name}": value for name, value in options.items()}
    return tiny_config("FS", manifest, finetune__steps=4, data__alpha=1.0, **fields)


@pytest.fixture(scope="module")
def unequal(base):
    """The clinic without most labels of rosacea and some of eczema."""
    path = base / "unequal.csv"
    unlabelled = [f",rosacea,rosacea{i}" for i in range(4, 9)] + [",eczema,eczema8"]
    text = (base / "photos.csv").read_text()
    for cells in unlabelled:
        text = text.replace(cells, cells.replace(",rosacea,", ",,").replace(",eczema,", ",,"))
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def plain(unequal, base):
    return trained(unequal, base / "runs" / "plain")


def trained(manifest, folder, **options):
    """The losses of a run, and its results."""
    assert task.start(config_of(manifest, **options), str(folder)) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines], json.loads((folder / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_with_the_option_trains_otherwise(name, unequal, plain, tmp_path):
    losses, results = trained(unequal, tmp_path / "run", **OPTIONS[name])
    assert np.isfinite(losses).all() and losses[0] != pytest.approx(plain[0][0], abs=1e-4)
    assert results["n"] == plain[1]["n"] and 0 <= results["macro_sensitivity"] <= 1


def test_the_loss_is_of_the_configs_numbers():
    """Counts 6, 3, 1: weights and shift from them, where they are asked for."""
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    logits = np.array([[0.5, -1.0, 2.0]] * 3, np.float32)

    def loss_of(**options):
        config = config_of("photos.csv", label_smoothing=0.0, **options)
        stage = RunSettings.from_config(config).finetuning
        return np.asarray(finetune.make_loss(stage, labels, 3)(logits, np.arange(3)))

    plain = np.log(np.exp(logits[0]).sum()) - logits[0]
    np.testing.assert_allclose(loss_of(), plain, rtol=1e-5)
    shares = np.array([0.6, 0.3, 0.1])
    shifted = logits[0] + 2 * np.log(shares)
    expected = np.log(np.exp(shifted).sum()) - shifted
    np.testing.assert_allclose(loss_of(logit_adjustment=2.0), expected, rtol=1e-5)
    # 1 + .5 + ... of 6, 3 and 1 terms
    inverse = 1 / np.array([1.96875, 1.75, 1.0])
    weights = 3 * inverse / inverse.sum()
    found = loss_of(class_weights="effective_number", effective_number_beta=0.5)
    np.testing.assert_allclose(found, weights * plain, rtol=1e-5)
    expected = (1 - np.exp(-plain)) ** 3 * plain
    np.testing.assert_allclose(loss_of(loss="focal", focal_gamma=3.0), expected, rtol=1e-4)


def test_what_makes_no_sense_is_refused():
    smooth, plain = dict(label_smoothing=0.1), dict(label_smoothing=0.0)
    cases = {
        "sampling = 'stratified', but it must be one of uniform, balanced": dict(
            sampling="stratified"
        ),
        "loss = 'hinge', but it must be one of cross_entropy, focal": dict(loss="hinge"),
        "focal_gamma = -1.0, but it must be at least 0": dict(focal_gamma=-1.0),
        "class_weights = 'inverse'.* none, effective_number": dict(class_weights="inverse"),
        "effective_number_beta = 1.0.* below 1": dict(effective_number_beta=1.0),
        "logit_adjustment = -0.5, but it must be at least 0": dict(logit_adjustment=-0.5),
        "sampling = 'balanced' and finetune.class_weights = 'effective_number' both .* twice; "
        "set --config.finetune.class_weights=none": dict(
            sampling="balanced", class_weights="effective_number"
        ),
        "sampling = 'balanced' and finetune.logit_adjustment = 1.0 both": plain
        | dict(sampling="balanced", logit_adjustment=1.0),
        "class_weights = .* and finetune.logit_adjustment = 1.0 both": plain
        | dict(class_weights="effective_number", logit_adjustment=1.0),
        "loss = 'focal' needs finetune.label_smoothing = 0, not 0.1.*one true class.*=0$": smooth
        | dict(loss="focal"),
        "logit_adjustment = 1.0 needs finetune.label_smoothing = 0, not 0.1.*the rarest": smooth
        | dict(logit_adjustment=1.0),
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message) as error:
            RunSettings.from_config(config_of("photos.csv", **options))
        assert "\n" not in str(error.value)
    # Focal loss is for hard images, not for rare classes, and goes with what is for those.
    for options in OPTIONS.values():
        RunSettings.from_config(config_of("photos.csv", **options))
        RunSettings.from_config(config_of("photos.csv", **OPTIONS["focal"] | options | plain))
