"""Runs that start from weights of a file."""

import hashlib
import json

import jax
import numpy as np
import pytest
from PIL import Image

from dermjax import models
from dermjax.cli import task
from dermjax.experiment import export
from tests.experiment.clinic import CLASSES, write_weights
from tests.experiment.ends import final_params
from tests.experiment.run_files import config_of, read_csv


def test_in_starts_from_the_weights_and_normalises_as_they_expect(base, capsys):
    import dermjax

    path = write_weights(base)
    _, variables = dermjax.create_model("efficientnet_tiny", 0, path)
    fields = dict(finetune__learning_rate=1e-9, finetune__weight_decay=0.0)
    config = config_of(base, "IN", init__weights=str(path), **fields)
    folder = base / "runs" / "in"
    assert task.start(config, str(folder)) == 0
    assert f"weights: {path}" in capsys.readouterr().out
    restored = final_params(folder, "finetune", 6, **variables["params"])
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(variables["params"]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    recorded = json.loads((folder / "weights.json").read_text())
    assert recorded["mean"] == [0.1, 0.9, 0.2] and recorded["interpolation"] == "bilinear"
    assert recorded["source"] == str(path)
    assert recorded["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    results = json.loads((folder / "results.json").read_text())
    assert results["weights"] == recorded

    # The predictions are those of the network on images normalised as the file says.
    predicted = {
        row["image"]: [float(row[f"p_{name}"]) for name in sorted(CLASSES)]
        for row in read_csv(folder / "predictions.csv")
    }
    how = models.Preprocessing(recorded["mean"], recorded["std"], recorded["interpolation"])
    by_hand = predict_by_hand(folder, base, predicted, how)
    otherwise = predict_by_hand(folder, base, predicted, models.Preprocessing())
    error, other = [np.abs(list(predicted.values()) - p).max() for p in (by_hand, otherwise)]
    assert error < 1e-3 and other > 5 * error  # a prepared crop is a JPEG, hence the difference


def predict_by_hand(folder, base, images, how):
    """Softmax of every image, by Pillow and the exported classifier alone."""
    import dermjax

    path = folder / "exported.safetensors"
    export.export(str(folder), str(path), "finetune")
    model, variables = dermjax.create_model("efficientnet_tiny", len(CLASSES), path)
    batch = []
    for name in images:
        image = Image.open(base / name)
        image.thumbnail((32, 32), Image.Resampling.LANCZOS)
        squeezed = image.resize((16, 16), Image.Resampling[how.interpolation.upper()])
        batch.append((np.asarray(squeezed, np.float32) / 255 - how.mean) / how.std)
    logits = model.apply(variables, np.stack(batch).astype(np.float32), train=False)
    return np.asarray(jax.nn.softmax(logits))


@pytest.mark.slow
def test_weights_that_changed_under_a_run_are_noticed(base):
    folder, path = base / "runs" / "changed", write_weights(base, seed=11)
    config = config_of(base, "IN", init__weights=str(path))
    assert task.start(config, str(folder)) == 0
    (folder / "results.json").unlink()
    write_weights(base, seed=12).rename(path)
    with pytest.raises(ValueError, match="has changed since this run began"):
        task.start(config, str(folder))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda data: data[:5000], "is damaged or not what its name says"),
        (lambda data: data.replace(b"conv_head", b"conv_hand"), "1 missing: conv_head.weight"),
    ],
)
def test_broken_weights_stop_a_run_before_it_claims_anything(base, tmp_path, broken, message):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(broken(write_weights(base).read_bytes()))
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base, "IN", init__weights=str(path)), str(folder))
    assert not folder.exists()
